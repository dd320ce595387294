// Contract: a value is carried the same whatever settings and encoding its server, database and role have (invariant 4),
// by copy (a session of ours) and by stream (the walsender), and no setting of theirs ends a copy.
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { findProblems } from "../../../provider/postgres/preflight";
import { readSourceFacts } from "../../../provider/postgres/source-facts";
import { readDeltaRows } from "../../support/delta-reader";
import { Pipeline } from "../../support/pipeline";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

/** Settings that change a value's text or end a session, each other than PostgreSQL's default. */
const hostile: Record<string, string> = {
  datestyle: "German, DMY",
  intervalstyle: "sql_standard",
  timezone: "Asia/Kolkata",
  extra_float_digits: "-15",
  bytea_output: "escape",
  client_encoding: "LATIN1",
  search_path: "public",
  quote_all_identifiers: "on",
  standard_conforming_strings: "off",
  statement_timeout: "1ms",
  lock_timeout: "1ms",
  idle_in_transaction_session_timeout: "1ms",
  idle_session_timeout: "1ms",
  row_security: "on",
};
const locales = "/usr/share/i18n/locales/ja_JP";
const yen = existsSync(locales);

let postgres: TestPostgres;
let pipeline: Pipeline;
let localeFolder: string;

beforeAll(async () => {
  localeFolder = mkdtempSync(join(tmpdir(), "sluice-locale-"));
  execFileSync("chmod", ["755", localeFolder]);
  if (yen)
    execFileSync("localedef", ["-i", "ja_JP", "-f", "UTF-8", join(localeFolder, "ja_JP.UTF-8")], { stdio: "pipe" });
  postgres = await startPostgres({ environment: { LOCPATH: localeFolder } });
});
afterAll(async () => {
  await postgres?.stop();
  rmSync(localeFolder, { recursive: true, force: true });
});
beforeEach(() => async () => pipeline?.close());

const values = `now(), '2024-02-03', '1 year 2 mons -3 days 04:05:06.7', ARRAY['1 day'::interval], 0.1::float8 + 0.2,
  1e-30::float4, '\\x00ff5c'::bytea, ARRAY['\\x00ff5c'::bytea], '1234.56', ARRAY['-1234.56'::money], 'pg_class'::regclass,
  'wide'::regclass, tstzrange('2024-01-01 00:00+00', NULL), 'ünïcödé', ROW(1, '2024-02-03'::date, 0.1::float4)::text`;
const wide = `CREATE TABLE wide (id int PRIMARY KEY, at timestamptz, day date, span interval, spans interval[], f float8,
  f4 float4, raw bytea, raws bytea[], cash money, cashes money[], class regclass, own regclass, during tstzrange, body text,
  composite text);`;

describe("settings of server, database and role", () => {
  it("change no value and end no session", async () => {
    pipeline = await Pipeline.open(
      postgres,
      `${wide} INSERT INTO wide SELECT n, ${values} FROM generate_series(1, 20000) n`,
    );
    const { client, database } = pipeline;
    // Our client has its settings already. In any other session a query like these would be ended.
    await client.query(
      "SET TimeZone = 'UTC'; SET search_path = pg_catalog; SET statement_timeout = 0; SET lc_monetary = 'C'",
    );
    const { rows } = await client.query<{ version: number }>(
      "SELECT current_setting('server_version_num')::int AS version",
    );
    const settings = { ...hostile, ...(rows[0].version >= 170_000 ? { transaction_timeout: "200ms" } : {}) };
    for (const [name, value] of Object.entries(settings)) {
      await client.query(`ALTER DATABASE ${database} SET ${name} = '${value}'`);
      await client.query(`ALTER ROLE postgres IN DATABASE ${database} SET ${name} = '${value}'`);
    }
    await pipeline.start().settled();
    await client.query(
      `INSERT INTO public.wide SELECT n, ${values.replace("'wide'", "'public.wide'")} FROM generate_series(20001, 40000) n`,
    );
    const status = await pipeline.settled();
    expect(status.reconnects).toBe(0);
    expect(status.tables.map(({ snapshots }) => snapshots)).toEqual([1]);
    expect(await pipeline.differences("wide")).toEqual([]);
  });

  it.runIf(yen)("money is told in its currency's units: a yen has no hundredth", async () => {
    pipeline = await Pipeline.open(
      postgres,
      "SET lc_monetary = 'ja_JP.UTF-8'; CREATE TABLE till (id int PRIMARY KEY, cash money); INSERT INTO till VALUES (1, '￥1,234')",
    );
    await pipeline.client.query(`ALTER DATABASE ${pipeline.database} SET lc_monetary = 'ja_JP.UTF-8'`);
    await pipeline.start().settled();
    await pipeline.client.query("INSERT INTO till VALUES (2, '-5'), (3, '92233720368547758')");
    await pipeline.settled();
    expect(await pipeline.differences("till")).toEqual([]);
    expect(await readDeltaRows(pipeline.lakePath({ name: "till" }))).toContainEqual({ id: 1, cash: 1234 });
  });
});

describe("a database's encoding", () => {
  it.each(["LATIN1", "WIN1252", "EUC_JP"])("%s is converted", async (encoding) => {
    const text = encoding === "EUC_JP" ? "日本語 ｱ" : "ünïcödé ÿ";
    pipeline = await Pipeline.open(
      postgres,
      `CREATE TABLE "nämed" (id text PRIMARY KEY, "cölumn" text, j jsonb, x xml);
       INSERT INTO "nämed" VALUES ('${text}', '${text}', '{"a": "${text}"}', '<a>${text}</a>')`.replaceAll(
        /ä|ö(?=l)/g,
        (letter) => (encoding === "EUC_JP" ? "名" : letter),
      ),
      {},
      `ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
    );
    const name = encoding === "EUC_JP" ? "n名med" : "nämed";
    await pipeline.start().settled();
    await pipeline.client.query(`INSERT INTO "${name}" VALUES ('2${text}', '${text}', '"${text}"', '<b>${text}</b>')`);
    await pipeline.settled();
    expect(await pipeline.differences(name)).toEqual([]);
  });

  it("SQL_ASCII is refused with a reason, at preflight and by the gateway", async () => {
    pipeline = await Pipeline.open(
      postgres,
      "CREATE TABLE t (id int PRIMARY KEY)",
      {},
      "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    pipeline.gateway.start();
    expect((await pipeline.gateway.exited()).code).not.toBe(0);
    expect(pipeline.gateway.status()?.state).toMatchObject({
      kind: "failed",
      errorKind: "unsupported",
      message: "the database's encoding is SQL_ASCII: its texts can't be told as UTF-8",
    });
    const facts = await readSourceFacts(pipeline.client);
    const findings = findProblems(facts, { needsSlot: false, allowStandby: false });
    expect(findings.map(({ property, severity }) => `${property} ${severity}`)).toContain("database error");
  });
});

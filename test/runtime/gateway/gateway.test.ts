// Contract: staged records, replayed strictly, give exactly the source's rows: nothing lost, nothing twice, whatever is
// killed when (invariants 1 to 4). A workload writes during snapshots, stream, kill -9 at every failpoint and restarts.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { replayStaging } from "../../support/staging-replay";

let postgres: TestPostgres;
let gateway: GatewayUnderTest;
let client: Client;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

const setup = `
  CREATE TABLE item (id int PRIMARY KEY, name text, amount numeric(12,2), at timestamptz DEFAULT now());
  CREATE TABLE "Odd Name" ("Id" bigint PRIMARY KEY, body text);
  CREATE TABLE empty_one (id uuid PRIMARY KEY);
  ALTER TABLE "Odd Name" ALTER COLUMN body SET STORAGE EXTERNAL;
  INSERT INTO item SELECT n, 'item ' || n, n * 1.25 FROM generate_series(1, 20000) n;
  INSERT INTO "Odd Name" SELECT n, repeat(md5(n::text), 100) FROM generate_series(1, 300) n;
  CREATE PUBLICATION p FOR TABLE item, "Odd Name", empty_one;`;

beforeEach(async () => {
  gateway = await GatewayUnderTest.create(postgres, { setup });
  client = gateway.client;
  return () => gateway.close();
});

/** Random transactions on both tables until it is stopped, from a session of its own. */
function workload(): { stop(): Promise<number> } {
  let running = true;
  let transactions = 0;
  const done = (async () => {
    const session = await gateway.session();
    let next = 100_000;
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    while (running) {
      await session.query("BEGIN");
      for (let step = random(5); step >= 0; step--) {
        const id = 1 + random(20_000);
        switch (random(6)) {
          case 0:
            await session.query("INSERT INTO item VALUES ($1, 'new', 1)", [next++]);
            break;
          case 1:
            await session.query("UPDATE item SET amount = amount + 1, name = name || '!' WHERE id = $1", [id]);
            break;
          case 2:
            await session.query("DELETE FROM item WHERE id = $1", [id]);
            break;
          case 3:
            await session.query("UPDATE item SET id = $2 WHERE id = $1", [id, next++]);
            break;
          case 4:
            await session.query(`UPDATE "Odd Name" SET "Id" = "Id" + 1000 WHERE "Id" = $1`, [1 + random(300)]);
            break;
          default:
            await session.query(`INSERT INTO "Odd Name" VALUES ($1, $2)`, [next++, "x".repeat(random(4000))]);
        }
      }
      await session.query(random(5) === 0 ? "ROLLBACK" : "COMMIT");
      transactions++;
    }
    await session.end();
  })();
  return {
    async stop() {
      running = false;
      await done;
      return transactions;
    },
  };
}

async function expectEqual(): Promise<void> {
  const replayed = await replayStaging(gateway.stagingPath);
  expect([...replayed.keys()].sort()).toEqual(["public.Odd Name", "public.empty_one", "public.item"]);
  const item = await client.query(
    `SELECT id::text, name, amount::text, (extract(epoch FROM at) * 1000000)::bigint::text AS at FROM item`,
  );
  const odd = await client.query(`SELECT "Id"::text, body FROM "Odd Name"`);
  const byId = (rows: Record<string, string | null>[], key: string) =>
    new Map(rows.map((row) => [row[key], JSON.stringify(row)]));
  const micros = (rows: Record<string, string | null>[]) =>
    rows.map((row) => ({
      ...row,
      at:
        row.at === null
          ? null
          : String(
              BigInt(Math.round(Date.parse(`${(row.at as string).slice(0, 19).replace(" ", "T")}Z`))) * 1000n +
                BigInt((/\.(\d+)/.exec(row.at as string)?.[1] ?? "0").padEnd(6, "0")),
            ),
    }));
  const got = replayed.get("public.item")?.rows ?? [];
  expect(got.length).toBe(item.rows.length);
  expect(byId(micros(got), "id")).toEqual(byId(item.rows, "id"));
  const gotOdd = replayed.get("public.Odd Name")?.rows ?? [];
  expect(gotOdd.length).toBe(odd.rows.length);
  expect(byId(gotOdd, "Id")).toEqual(byId(odd.rows, "Id"));
  expect(replayed.get("public.empty_one")?.rows).toEqual([]);
}

describe("gateway", () => {
  it("stages snapshots and stream while the source is written to, and ends with code 0", async () => {
    const load = workload();
    gateway.process.start();
    await gateway.process.untilStatus(
      "all tables stream",
      (status) => status.tables.length === 3 && status.tables.every((table) => table.state.kind === "streaming"),
    );
    await until("more transactions", () => (gateway.process.status()?.transactions ?? 0) > 100);
    expect(await load.stop()).toBeGreaterThan(100);
    const status = await gateway.caughtUp();
    expect(status.tables.map((table) => table.snapshots)).toEqual([1, 1, 1]);
    await expectEqual();
    expect(await gateway.process.stop()).toEqual({ code: 0, signal: null });
  });

  it("loses and doubles nothing though it is killed again and again", async () => {
    const load = workload();
    for (const failpoint of ["gateway.after-snapshot-file", "gateway.before-record:4", "gateway.after-record:4"]) {
      gateway.process.start({ SLUICE_FAILPOINT: failpoint });
      expect((await gateway.process.exited()).signal, failpoint).toBe("SIGKILL");
      await gateway.releaseSlot();
    }
    const before = gateway.process.status()?.stagedSequence ?? 0;
    gateway.process.start();
    await gateway.process.untilStatus("it goes on", (status) => status.stagedSequence > before + 6);
    await load.stop();
    await gateway.caughtUp();
    await expectEqual();
  });

  it("copies a table that joins the publication, and no other again", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    expect(gateway.process.output).toContain('"binary":true');
    // A type without a binary form: the stream is started again in text form.
    await client.query("CREATE TABLE late (id int PRIMARY KEY, tags int[]); INSERT INTO late VALUES (1), (2)");
    await client.query("ALTER PUBLICATION p ADD TABLE late");
    const status = await gateway.process.untilStatus("late streams", ({ tables }) =>
      tables.some((table) => table.name === "late" && table.state.kind === "streaming"),
    );
    await client.query("INSERT INTO late VALUES (3, '{1,2}')");
    await gateway.caughtUp();
    expect(gateway.process.output).toContain('"binary":false');
    const late = (await replayStaging(gateway.stagingPath)).get("public.late")?.rows ?? [];
    expect(late.map(({ tags }) => tags).sort()).toEqual([null, null, "{1,2}"].sort());
    expect(status.tables.map((table) => table.snapshots)).toEqual([1, 1, 1, 1]);
  });

  it("acknowledges nothing that isn't staged", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("UPDATE item SET name = 'once'");
    await gateway.caughtUp();
    const { rows } = await client.query<{ lsn: string }>(
      "SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1",
      [gateway.slot],
    );
    const idle = JSON.parse(readFileSync(join(gateway.stagingPath, "progress", "gateway.json"), "utf8")) as {
      idleLsn: string;
    };
    const staged = gateway.records().at(-1)?.endLsn ?? "0/0";
    const durable = Math.max(Number(parseLsn(idle.idleLsn)), Number(parseLsn(staged)));
    expect(Number(parseLsn(rows[0].lsn))).toBeLessThanOrEqual(durable);
    await gateway.process.stop();
    await expectEqual();
  });
});

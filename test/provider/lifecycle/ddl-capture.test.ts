// Contract: `captureDdl` makes event triggers that announce every change of a published table in the stream, in its
// transaction; they never fail a statement, not even when they fail themselves; what was changed by hand is drift, which
// an update repairs; several publications have their own; delete removes all of it and proves it (invariant 5).
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { diffPublication } from "../../../provider/lifecycle/publication-inputs";
import { type DdlMessage, readDdlMessage } from "../../../runtime/postgres/ddl-message";
import { ddlCaptureNames } from "../../../runtime/postgres/table-description";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
const made: { id: string; outs: Properties }[] = [];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

beforeEach(async () => {
  await client.query(`
    CREATE SCHEMA s;
    CREATE TYPE s.mood AS ENUM ('good', 'bad');
    CREATE DOMAIN s.price AS numeric(8,2);
    CREATE TABLE s.t (id int PRIMARY KEY, a int, m s.mood, p s.price);
    CREATE TABLE s.u (id int PRIMARY KEY);
    CREATE TABLE s.other (id int PRIMARY KEY);`);
  return async () => {
    for (const { id, outs } of made.splice(0)) await publication.delete(id, outs);
    await client.query("DROP SCHEMA s CASCADE");
    const { rows } = await client.query(
      "SELECT evtname AS name FROM pg_event_trigger UNION ALL SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sluice%'",
    );
    expect(rows).toEqual([]);
  };
});

async function create(publicationName: string, captureDdl = true): Promise<Properties> {
  const news = { source: server.source(), tables: ["s.t", "s.u"], publicationName, captureDdl };
  const { inputs, failures } = await publication.check({}, news);
  expect(failures).toEqual([]);
  const created = await publication.create(inputs);
  made.push(created);
  return created.outs;
}

/** What the statements announce to the stream, besides what was announced before. */
async function announced(statements: string): Promise<DdlMessage[]> {
  await client.query("SELECT pg_create_logical_replication_slot('look', 'pgoutput', true)");
  try {
    await client.query(statements);
    const { rows } = await client.query<{ data: Buffer }>(
      `SELECT data FROM pg_logical_slot_get_binary_changes('look', NULL, NULL,
         'proto_version', '1', 'publication_names', 'nothing_of_this_name', 'messages', 'true') WHERE get_byte(data, 0) = ascii('M')`,
    );
    return rows.flatMap(({ data }) => {
      const content = data.subarray(data.indexOf(0, 10) + 5);
      return readDdlMessage(Buffer.from(content)) ?? [];
    });
  } finally {
    await client.query("SELECT pg_drop_replication_slot('look')");
  }
}

function tableOf(message: DdlMessage) {
  if (message.kind !== "changed") throw new Error(JSON.stringify(message));
  return message.table;
}

describe("captureDdl", () => {
  beforeEach(async () => {
    // pgoutput wants a publication to exist, if only an empty one.
    await client.query("CREATE PUBLICATION nothing_of_this_name");
    return async () => {
      await client.query("DROP PUBLICATION nothing_of_this_name");
    };
  });

  it("announces tables of a schema that is published, those made later too", async ({ skip }) => {
    const { rows } = await client.query("SHOW server_version_num");
    skip(Number(rows[0].server_version_num) < 150_000, "schemas in publications came with PostgreSQL 15");
    const news = { source: server.source(), publicationName: "wide", captureDdl: true };
    const { inputs, failures } = await publication.check({}, { ...news, schemas: ["s"] });
    expect(failures).toEqual([]);
    const one = await publication.create(inputs);
    made.push(one);
    const messages = await announced("CREATE TABLE s.late (id int PRIMARY KEY); ALTER TABLE s.late ADD n int");
    expect(messages.map(tableOf).map(({ name }) => name)).toContain("late");
    expect((await publication.read("wide", one.outs)).props?.drift).toEqual([]);
    // By tables again, its function is another one.
    const fewer = (await publication.check(inputs, { ...news, tables: ["s.t"] })).inputs;
    const { outs } = await publication.update("wide", one.outs, fewer);
    made[made.length - 1] = { id: "wide", outs };
    expect((await publication.read("wide", outs)).props?.drift).toEqual([]);
    expect(await announced("ALTER TABLE s.late ADD m int; DROP TABLE s.late")).toEqual([]);
  });

  it("announces the whole table at each change, and nothing of tables that aren't published", async () => {
    await create("one");
    const messages = await announced(`
      ALTER TABLE s.t ADD b text DEFAULT 'x''y', ADD d timestamptz DEFAULT '2020-01-02 03:04:05+00';
      ALTER TABLE s.other ADD b int; CREATE TEMP TABLE temporary (id int); CREATE TABLE s.new (id int);
      ALTER TABLE s.t DROP a;
      ALTER TABLE s.t RENAME TO tt;`);
    const tables = messages.map(tableOf);
    expect(tables.every((table) => table.tableId === tables[0].tableId)).toBe(true);
    const [added] = tables;
    expect(added.attributes.map(({ name, missing }) => [name, missing])).toEqual([
      ["id", null],
      ["a", null],
      ["m", null],
      ["p", null],
      ["b", "x'y"],
      ["d", "2020-01-02 03:04:05+00"],
    ]);
    expect(added.attributes[3].baseType).toEqual({ oid: 1700, typeModifier: ((8 << 16) | 2) + 4 });
    expect(added.attributes[0].primaryKeyOrdinal).toBe(1);
    expect(added.ddlCapture).toMatch(/^\d+:\d+,\d+:\d+$/);
    const last = tables[tables.length - 1];
    expect([last.name, last.attributes[1].dropped]).toEqual(["tt", true]);
  });

  it("tells a statement that keeps values from one that may not", async () => {
    await create("one");
    const plain = async (statement: string) =>
      (await announced(statement)).map((message) => message.kind === "changed" && message.plain);
    expect(await plain("ALTER TABLE s.t ALTER a TYPE bigint")).toEqual([true]);
    expect(await plain("ALTER TABLE s.t ALTER a TYPE bigint USING a * 2")).toEqual([false]);
    expect(await plain("BEGIN; ALTER TABLE s.t ALTER a TYPE numeric; COMMIT")).toEqual([true]);
    expect(await plain("DO $$ BEGIN EXECUTE 'ALTER TABLE s.t ADD c int'; END $$")).toEqual([false]);
  });

  it("announces what a dropped type or index, a moved schema and another label do", async () => {
    await create("one");
    const label = await announced("ALTER TYPE s.mood RENAME VALUE 'bad' TO 'worse'");
    expect(label).toMatchObject([{ kind: "unknown", reason: "a type of its columns was altered" }]);
    expect(await announced("ALTER TYPE s.mood ADD VALUE 'best'")).toEqual([]);
    const dropped = (await announced("DROP TYPE s.mood CASCADE")).map(tableOf);
    expect(dropped[0].attributes.map((attribute) => attribute.dropped)).toEqual([false, false, true, false]);
    const moved = (await announced("ALTER SCHEMA s RENAME TO z; ALTER SCHEMA z RENAME TO s")).map(tableOf);
    expect(moved.map((table) => `${table.schema}.${table.name}`).sort()).toEqual(["s.t", "s.u", "z.t", "z.u"]);
    await client.query(`CREATE UNIQUE INDEX i ON s.t (a); ALTER TABLE s.t ALTER a SET NOT NULL;
                        ALTER TABLE s.t REPLICA IDENTITY USING INDEX i`);
    const gone = (await announced("DROP INDEX s.i")).map(tableOf);
    expect(gone[0].attributes.every((attribute) => attribute.identityOrdinal === null)).toBe(true);
  });

  it("announces nothing of what is rolled back", async () => {
    await create("one");
    expect(await announced("BEGIN; ALTER TABLE s.t ADD b int; ROLLBACK")).toEqual([]);
    const messages = await announced(
      "BEGIN; SAVEPOINT x; ALTER TABLE s.t ADD b int; ROLLBACK TO x; ALTER TABLE s.u ADD b int; COMMIT",
    );
    expect(messages.map((message) => tableOf(message).name)).toEqual(["u"]);
  });

  it("is not told from what others write", () => {
    for (const content of ["", "{}", '{"kind":"changed"}', "\0"]) {
      expect(readDdlMessage(Buffer.from(content))).toBeNull();
    }
  });

  it("never fails a statement, and says that it failed itself", async () => {
    await create("one");
    const { schema } = ddlCaptureNames("one");
    // Something that the function can't describe: its own reading of the catalog is broken.
    const { rows } = await client.query<{ definition: string }>(
      "SELECT pg_get_functiondef(p.oid) AS definition FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1",
      [schema],
    );
    await client.query(rows[0].definition.replace("FROM pg_event_trigger_ddl_commands()", "FROM no_such_function()"));
    expect(await announced("ALTER TABLE s.t ADD b int")).toMatchObject([{ kind: "unknown", tableId: null }]);
    const { rows: columns } = await client.query("SELECT b FROM s.t");
    expect(columns).toEqual([]);
  });

  it("serves roles that may do nothing but alter their own table", async () => {
    await create("one");
    await client.query(
      "CREATE ROLE plain_owner; GRANT USAGE ON SCHEMA s TO plain_owner; ALTER TABLE s.t OWNER TO plain_owner",
    );
    try {
      const messages = await announced("SET ROLE plain_owner; ALTER TABLE s.t ADD b int DEFAULT 3; RESET ROLE");
      expect(tableOf(messages[0]).attributes.at(-1)).toMatchObject({ name: "b", missing: "3" });
    } finally {
      await client.query(
        "RESET ROLE; ALTER TABLE s.t OWNER TO postgres; DROP OWNED BY plain_owner; DROP ROLE plain_owner",
      );
    }
  });

  it("finds as drift what was changed by hand, and an update repairs it", async () => {
    const outs = await create("one");
    const { end, schema } = ddlCaptureNames("one");
    const look = async () => (await publication.read("one", outs)).props?.drift;
    expect(await look()).toEqual([]);
    for (const damage of [
      `ALTER EVENT TRIGGER "${end}" DISABLE`,
      `DROP EVENT TRIGGER "${end}"`,
      `DROP FUNCTION "${schema}".announce() CASCADE`,
      `CREATE OR REPLACE FUNCTION "${schema}".announce() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'`,
    ]) {
      await client.query(damage);
      const drift = await look();
      expect(drift, damage).not.toEqual([]);
      expect(diffPublication({ ...outs, drift }, outs).changes).toBe(true);
      await publication.update("one", outs, outs);
      expect(await look(), damage).toEqual([]);
    }
  });

  it("is switched on and off in place, and each publication has its own", async () => {
    const one = await create("one", false);
    await create("t".repeat(63));
    await create(`${"t".repeat(62)}u`);
    const count = async () => (await client.query("SELECT 1 FROM pg_event_trigger")).rows.length;
    expect(await count()).toBe(4);
    expect(diffPublication(one, { ...one, captureDdl: true })).toMatchObject({ changes: true, replaces: [] });
    await publication.update("one", one, { ...one, captureDdl: true });
    expect(await count()).toBe(6);
    const messages = await announced("ALTER TABLE s.t ADD b int");
    expect(new Set(messages.map((message) => message.publication)).size).toBe(3);
    await publication.update("one", { ...one, captureDdl: true }, { ...one, captureDdl: false });
    expect(await count()).toBe(4);
  });

  it("tells who can't make event triggers what a superuser can run", async () => {
    await client.query("CREATE ROLE small LOGIN REPLICATION PASSWORD 'x'; GRANT CREATE ON DATABASE postgres TO small");
    try {
      await client.query("ALTER TABLE s.t OWNER TO small; GRANT USAGE ON SCHEMA s TO small");
      process.env.SLUICE_TEST_SMALL = "x";
      const source = { ...server.source(), user: "small", password: { env: "SLUICE_TEST_SMALL" } };
      const { failures } = await publication.check(
        {},
        { source, tables: ["s.t"], publicationName: "one", captureDdl: true },
      );
      expect(failures.map((failure) => failure.property)).toEqual(["captureDdl"]);
      expect(failures[0].reason).toContain("CREATE EVENT TRIGGER");
    } finally {
      await client.query("ALTER TABLE s.t OWNER TO postgres; DROP OWNED BY small; DROP ROLE small");
    }
  });
});

// Contract: a publication is made with its tables' replica identities in one transaction, altered in place, and dropped
// with the identities of before put back; whatever was changed by hand is drift, which an update repairs; one that
// isn't ours is neither altered nor dropped; a delete that can't reach the database says the SQL to run.
// Invariant 5: after delete no publication of ours remains.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { checkPublication, diffPublication } from "../../../provider/lifecycle/publication-inputs";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;

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
    CREATE TABLE s.plain (id int PRIMARY KEY, n int);
    CREATE TABLE s.toasted (id int PRIMARY KEY, t text);
    CREATE TABLE s.keyless (n int);
    CREATE TABLE s.nothing (id int PRIMARY KEY);
    ALTER TABLE s.nothing REPLICA IDENTITY NOTHING;
    CREATE TABLE s."odd.Name" (id int PRIMARY KEY);
    CREATE VIEW s.seen AS SELECT 1 AS one;
    CREATE TABLE s.parted (id int) PARTITION BY RANGE (id)`);
});

afterEach(async () => {
  const { rows } = await client.query<{ pubname: string }>("SELECT pubname FROM pg_publication");
  for (const { pubname } of rows) await client.query(`DROP PUBLICATION ${client.escapeIdentifier(pubname)}`);
  await client.query("DROP SCHEMA s CASCADE");
});

const all = ["s.plain", "s.toasted", "s.keyless", "s.nothing", { schema: "s", name: "odd.Name" }];

function news(tables: unknown[], more: Properties = {}): Properties {
  return { source: server.source(), tables, ...more };
}

async function checked(tables: unknown[], olds: Properties = {}, more: Properties = {}): Promise<Properties> {
  const { inputs, failures } = await publication.check(olds, news(tables, more));
  expect(failures).toEqual([]);
  return inputs;
}

const created = async (tables: unknown[] = all, more: Properties = {}) =>
  publication.create(await checked(tables, {}, more));

async function identities(): Promise<Record<string, string>> {
  const { rows } = await client.query<{ relname: string; relreplident: string }>(
    "SELECT relname, relreplident FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r'",
  );
  return Object.fromEntries(rows.map((row) => [row.relname, row.relreplident]));
}

async function published(): Promise<string[]> {
  const { rows } = await client.query<{ tablename: string }>("SELECT tablename FROM pg_publication_tables ORDER BY 1");
  return rows.map((row) => row.tablename);
}

const asFound = { plain: "d", toasted: "d", keyless: "d", nothing: "n", "odd.Name": "d" };
const asNeeded = { plain: "d", toasted: "f", keyless: "f", nothing: "d", "odd.Name": "d" };

describe("check", () => {
  it("makes an id that stays, and a name from it that a preview shows", async () => {
    const inputs = await checked(all);
    expect(inputs.pipelineId).toMatch(/^[0-9a-f_]{36}$/);
    expect(inputs.publicationName).toMatch(new RegExp(`^dbx_pub_\\d+_${inputs.pipelineId}$`));
    expect(await checked(all, inputs)).toEqual(inputs);
  });

  it("says for each table what stands against it, and how to mend it", async () => {
    const role = await server.createRole("reader", "REPLICATION");
    await client.query("GRANT CREATE ON DATABASE postgres TO reader");
    const source = { ...server.source(), user: role.user, password: { env: role.passwordEnv } };
    const { failures } = await publication.check({}, news(["s.gone", "s.seen", "s.plain"], { source }));
    expect(failures.map(({ property }) => property)).toEqual(["tables[0]", "tables[1]", "tables[2]"]);
    const expected = [
      /does not exist\n {2}remedy: .*ILIKE 'gone'/,
      /a view/,
      /lacks the ownership[\s\S]*GRANT USAGE ON SCHEMA "s" TO "reader"; GRANT SELECT ON "s"\."plain"/,
    ];
    for (const [index, pattern] of expected.entries()) expect(failures[index].reason).toMatch(pattern);
    await client.query("REVOKE CREATE ON DATABASE postgres FROM reader; DROP ROLE reader");
  });

  it("refuses what can't be replicated, whatever it is, and takes it once that is mended", async () => {
    await client.query(`
      CREATE UNLOGGED TABLE s.fast (id int PRIMARY KEY);
      CREATE FOREIGN DATA WRAPPER nowhere;
      CREATE SERVER away FOREIGN DATA WRAPPER nowhere;
      CREATE FOREIGN TABLE s.far (id int) SERVER away;
      CREATE MATERIALIZED VIEW s.kept AS SELECT 1 AS one;
      CREATE SEQUENCE s.numbers`);
    const { failures } = await publication.check(
      {},
      news(["s.fast", "s.far", "s.kept", "s.numbers", "pg_catalog.pg_class"]),
    );
    expect(failures.map(({ property, reason }) => [property, reason.split("\n  remedy: ")])).toEqual([
      [
        "tables[0]",
        [expect.stringContaining("is an unlogged table"), expect.stringContaining('ALTER TABLE "s"."fast" SET LOGGED')],
      ],
      [
        "tables[1]",
        [expect.stringContaining("is a foreign table"), expect.stringContaining("the server that holds it")],
      ],
      ["tables[2]", [expect.stringContaining("is a view"), expect.stringContaining("the tables that it reads")]],
      ["tables[3]", [expect.stringContaining("is not a table"), expect.stringContaining("an ordinary table")]],
      ["tables[4]", [expect.stringContaining("is a system table"), expect.stringContaining("Leave it out")]],
    ]);
    await client.query("ALTER TABLE s.fast SET LOGGED; DROP FOREIGN DATA WRAPPER nowhere CASCADE");
    await checked(["s.fast"]);
  });

  it("refuses a table that is listed twice, whatever its spelling, and an empty list", () => {
    expect(checkPublication({}, news(["s.plain", { schema: "s", name: "plain" }])).failures).toMatchObject([
      { property: "tables[1]" },
    ]);
    expect(checkPublication({}, news([])).failures).toMatchObject([{ property: "tables" }]);
  });

  it("lets unknown values pass, and asks no server then", async () => {
    const { failures } = await publication.check({}, { source: unknownValue, tables: ["s.plain", unknownValue] });
    expect(failures).toEqual([]);
  });

  it("knows a name that is another's", async () => {
    await client.query("CREATE PUBLICATION theirs");
    const { failures } = await publication.check({}, news(all, { publicationName: "theirs" }));
    expect(failures).toMatchObject([
      { property: "publicationName", reason: expect.stringContaining("isn't this stack's") },
    ]);
  });
});

describe("diff", () => {
  it("takes tables in place, whatever their order, and replaces for another name or database", async () => {
    const olds = (await created(["s.plain", "s.keyless"])).outs;
    const diff = async (tables: unknown[], more: Properties = {}) =>
      diffPublication(olds, checkPublication(olds, news(tables, more)).inputs);
    expect(await diff(["s.keyless", "s.plain"])).toMatchObject({ changes: false });
    expect(await diff(["s.plain"])).toMatchObject({ changes: true, replaces: [] });
    expect(await diff(["s.keyless", "s.plain"], { publicationName: "other" })).toMatchObject({
      replaces: ["publicationName"],
    });
    expect(await diff(["s.plain"], { source: server.source("other") })).toMatchObject({ replaces: ["source"] });
  });
});

describe("create, update and delete", () => {
  it("set what the tables need, in place, and put back what was", async () => {
    const { id, outs } = await created();
    expect(await identities()).toEqual(asNeeded);
    expect(await published()).toEqual(["keyless", "nothing", "odd.Name", "plain", "toasted"]);

    const { outs: fewer } = await publication.update(id, outs, await checked(["s.plain", "s.toasted"], outs));
    expect(await published()).toEqual(["plain", "toasted"]);
    expect(await identities()).toEqual({ ...asFound, toasted: "f" });
    const { outs: more } = await publication.update(id, fewer, await checked(all, fewer));
    expect(await identities()).toEqual(asNeeded);
    expect(more.publicationOid).toBe(outs.publicationOid);

    await publication.delete(id, more);
    expect(await published()).toEqual([]);
    expect(await identities()).toEqual(asFound);
    await publication.delete(id, more);
  });

  it("whole old rows are sent of the tables that want them, and an identity changed by hand is drift", async () => {
    const { id, outs } = await created(["s.plain", "s.toasted"]);
    const wanted = await checked(["s.plain", "s.toasted"], outs, { fullIdentity: ["s.plain"] });
    expect(diffPublication(outs, wanted)).toMatchObject({ changes: true, replaces: [] });
    const { outs: full } = await publication.update(id, outs, wanted);
    expect(await identities()).toEqual({ ...asFound, plain: "f", toasted: "f" });
    await client.query("ALTER TABLE s.plain REPLICA IDENTITY DEFAULT");
    const { props } = await publication.read(id, full);
    expect(props?.drift).toEqual(['"s"."plain" has replica identity default, and needs full']);
    await publication.delete(id, full);
    expect(await identities()).toEqual(asFound);
  });

  it("a table that can't be without a key is refused by the preview, with what else can be done", async () => {
    const failuresOf = async (keyed: string[], tables: unknown[] = all) =>
      (await publication.check({}, news(tables, { keyed }))).failures;
    expect(await failuresOf(["s.plain", "s.toasted", "s.nothing"])).toEqual([]);
    const refused = await failuresOf(["s.plain", "s.keyless"]);
    expect(refused).toEqual([
      { property: "tables[2]", reason: expect.stringMatching(/"s"\."keyless" has no key.*key }/s) },
    ]);
    // A unique index is one, as the replica identity.
    await client.query("ALTER TABLE s.keyless ALTER n SET NOT NULL; CREATE UNIQUE INDEX one ON s.keyless (n)");
    expect(await failuresOf(["s.keyless"])).toHaveLength(1);
    const byIndex = [{ table: "s.keyless", replicaIdentity: { index: "one" } }];
    expect(await failuresOf(["s.keyless"], byIndex)).toEqual([]);
    const inputs = { ...(await checked(all)), keyed: [{ schema: "s", name: "keyless" }] };
    await expect(publication.create(inputs)).rejects.toThrow("has no key");
    expect(await published()).toEqual([]);
  });

  it("an identity that another publication needs stays", async () => {
    const { id, outs } = await created(["s.keyless"]);
    await client.query("CREATE PUBLICATION theirs FOR TABLE s.keyless");
    await publication.delete(id, outs);
    expect((await identities()).keyless).toBe("f");
  });

  it("a create that fails leaves neither publication nor identities", async () => {
    const inputs = await checked(["s.keyless"]);
    await client.query("CREATE PUBLICATION theirs FOR TABLE s.plain");
    await expect(publication.create({ ...inputs, publicationName: "theirs" })).rejects.toMatchObject({
      kind: "name-taken",
    });
    await expect(publication.create({ ...inputs, tables: [{ schema: "s", name: "gone" }] })).rejects.toMatchObject({
      kind: "missing-object",
    });
    expect(await identities()).toEqual(asFound);
    expect(await published()).toEqual(["plain"]);
  });

  it("a create whose result was lost is done again", async () => {
    const inputs = await checked(["s.plain"]);
    await publication.create(inputs);
    await publication.create(inputs);
    expect(await published()).toEqual(["plain"]);
  });
});

describe("read", () => {
  it("finds nothing changed where nothing was", async () => {
    const { id, outs } = await created();
    const read = await publication.read(id, outs);
    expect(read.props).toEqual(outs);
    expect(publication.diff(id, read.props!, await checked(all, outs))).toMatchObject({ changes: false });
  });

  it.for<[string, (name: string) => string]>([
    ["a table was dropped from it", (name: string) => `ALTER PUBLICATION ${name} DROP TABLE s.plain`],
    ["a row filter was set", (name: string) => `ALTER PUBLICATION ${name} SET TABLE s.plain WHERE (id > 1), s.keyless`],
    ["deletes aren't published", (name: string) => `ALTER PUBLICATION ${name} SET (publish = 'insert, update')`],
    ["an identity was changed", () => "ALTER TABLE s.keyless REPLICA IDENTITY DEFAULT"],
    ["its mark is gone", (name: string) => `COMMENT ON PUBLICATION ${name} IS NULL`],
  ])("finds that %s, and an update repairs it", async ([what, sql], { skip }) => {
    const { rows } = await client.query("SELECT current_setting('server_version_num')::int < 150000 AS old");
    skip(rows[0].old && what.includes("row filter"), "row filters came with PostgreSQL 15");
    const tables = ["s.plain", "s.keyless"];
    const { id, outs } = await created(tables);
    await client.query(sql(client.escapeIdentifier(id)));
    const { props, inputs } = await publication.read(id, outs);
    const wanted = await checked(tables, inputs);
    expect(publication.diff(id, props!, wanted)).toMatchObject({ changes: true, replaces: [] });
    const updated = await publication.update(id, props!, wanted);
    const after = await publication.read(id, updated.outs);
    expect(publication.diff(id, after.props!, wanted)).toMatchObject({ changes: false });
    await publication.delete(id, updated.outs);
    expect((await identities()).keyless).toBe("d");
  });

  it("finds it gone, also where another has its name now", async () => {
    const { id, outs } = await created(["s.plain"]);
    await client.query(`DROP PUBLICATION ${client.escapeIdentifier(id)}`);
    expect(await publication.read(id, outs)).toEqual({ id: "" });
    await client.query(`CREATE PUBLICATION ${client.escapeIdentifier(id)} FOR TABLE s.keyless`);
    expect(await publication.read(id, outs)).toEqual({ id: "" });
  });
});

describe("delete", () => {
  it("leaves a publication alone that isn't ours any more", async () => {
    const { id, outs } = await created(["s.toasted"]);
    const name = client.escapeIdentifier(id);
    await client.query(`DROP PUBLICATION ${name}; CREATE PUBLICATION ${name} FOR TABLE s.keyless`);
    await publication.delete(id, outs);
    expect(await published()).toEqual(["keyless"]);
    expect(await identities()).toEqual(asFound);
  });

  it("says the SQL to run where the database can't be reached", async () => {
    const { id, outs } = await created(["s.plain"]);
    const source = { ...(outs.source as object), port: 1, connectTimeoutMs: 500 };
    await expect(publication.delete(id, { ...outs, source })).rejects.toMatchObject({
      kind: "unreachable",
      remedy: expect.stringContaining(`DROP PUBLICATION IF EXISTS "${id}"`),
    });
  });
});

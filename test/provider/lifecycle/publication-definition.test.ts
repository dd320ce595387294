// Contract: a publication has the columns, rows, schemas, operations and identities that its inputs ask for, or a check
// says at which input it can't, before the source's own updates would fail; what differs is altered in place, and nothing
// else is touched: a table that is the same keeps its row in the catalog, by which a gateway knows that it needs no new
// copy. What a hand changed is found as another value of the property, an update repairs it, and the next one is none.
// Invariant 5: after delete no publication of ours remains, and the identities are those of before.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { ChangeCost } from "../../../provider/lifecycle/change-cost";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { checkPublication, diffPublication } from "../../../provider/lifecycle/publication-inputs";
import { decideIdentity, type IdentityFacts, type IdentityNeeds } from "../../../provider/postgres/replica-identity";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
let version: number;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  vi.spyOn(console, "log").mockImplementation(() => {});
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

beforeEach(async () => {
  await client.query(`
    CREATE SCHEMA s;
    CREATE SCHEMA other;
    CREATE TABLE s.plain (id int PRIMARY KEY, n int NOT NULL, "Odd" text);
    CREATE UNIQUE INDEX plain_n ON s.plain (n, id);
    CREATE TABLE s.small (id int PRIMARY KEY, n int);
    CREATE TABLE s.keyless (n int);
    CREATE TABLE s.parted (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
    CREATE TABLE s.part_1 PARTITION OF s.parted FOR VALUES FROM (0) TO (100);
    CREATE TABLE other.one (id int PRIMARY KEY);
    INSERT INTO s.plain VALUES (1, 1, 'a');
    INSERT INTO s.small VALUES (1, 1);
    INSERT INTO s.parted VALUES (1, 1)`);
});

afterEach(async () => {
  const { rows } = await client.query<{ pubname: string }>("SELECT pubname FROM pg_publication");
  for (const { pubname } of rows) await client.query(`DROP PUBLICATION ${client.escapeIdentifier(pubname)}`);
  await client.query("DROP SCHEMA s CASCADE; DROP SCHEMA other CASCADE");
});

const news = (more: Properties): Properties => ({ source: server.source(), publicationName: "ours", ...more });

async function checked(more: Properties, olds: Properties = {}): Promise<Properties> {
  const { inputs, failures } = await publication.check(olds, news(more));
  expect(failures).toEqual([]);
  return inputs;
}

const created = async (more: Properties) => (await publication.create(await checked(more))).outs;

async function updated(olds: Properties, more: Properties): Promise<Properties> {
  const inputs = await checked(more, olds);
  expect(publication.diff("ours", olds, inputs)).toMatchObject({ changes: true, replaces: [] });
  return (await publication.update("ours", olds, inputs)).outs;
}

async function failures(more: Properties): Promise<Record<string, string>> {
  const result = await publication.check({}, news(more));
  return Object.fromEntries(result.failures.map(({ property, reason }) => [property, reason]));
}

/** Row identities of the catalog: what the gateway tells a gap by. */
async function memberships(): Promise<Record<string, string>> {
  const { rows } = await client.query<{ name: string; oid: string }>(
    "SELECT prrelid::regclass::text AS name, oid::text FROM pg_publication_rel UNION ALL SELECT pubname, xmin::text FROM pg_publication",
  );
  return Object.fromEntries(rows.map(({ name, oid }) => [name, oid]));
}

async function identities(): Promise<Record<string, string>> {
  const { rows } = await client.query<{ relname: string; relreplident: string }>(
    "SELECT relname, relreplident FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind IN ('r', 'p')",
  );
  return Object.fromEntries(rows.map((row) => [row.relname, row.relreplident]));
}

const asFound = { plain: "d", small: "d", keyless: "d", parted: "d", part_1: "d" };
const hasLists = () => version >= 150_000;
const costOf = (inputs: Properties) => inputs.changeCost as ChangeCost;

describe("replica identity", () => {
  const facts = (more: Partial<IdentityFacts> = {}): IdentityFacts => ({
    identity: { kind: "default" },
    primaryKey: ["id"],
    toastable: false,
    indexes: [{ name: "u", columns: ["n"] }],
    hasStoredGenerated: false,
    hasVirtualGenerated: false,
    ...more,
  });
  const needs = (more: Partial<IdentityNeeds> = {}): IdentityNeeds => ({
    option: "auto",
    isFullWanted: false,
    columns: null,
    filterColumns: [],
    sendsOldRows: true,
    sendsGenerated: false,
    version: 180_000,
    ...more,
  });
  const full = { identity: { kind: "full" } } as const;

  it.each<[string, Partial<IdentityFacts>, Partial<IdentityNeeds>, string]>([
    ["a key", {}, {}, "right"],
    ["a key, FULL already", full, {}, "right"],
    ["NOTHING", { identity: { kind: "nothing" } }, {}, "default"],
    ["TOASTable values", { toastable: true }, {}, "full"],
    ["no key", { primaryKey: [] }, {}, "full"],
    ["whole old rows", {}, { isFullWanted: true }, "full"],
    ["inserts only", { primaryKey: [] }, { sendsOldRows: false }, "right"],
    ["a filter by the key", {}, { filterColumns: ["id"] }, "right"],
    ["a filter beyond it", {}, { filterColumns: ["n"] }, "full"],
    ["TOASTable values and a column list", { toastable: true }, { columns: ["id", "n"] }, "right"],
    ["FULL and a column list", full, { columns: ["id"] }, "default"],
    ["a list without the key", {}, { columns: ["n"] }, "problem"],
    ["no key and a list", { primaryKey: [] }, { columns: ["n"] }, "problem"],
    ["a filter beyond the key, and a list", {}, { columns: ["id", "n"], filterColumns: ["n"] }, "problem"],
    ["an index that has both", {}, { columns: ["id", "n"], filterColumns: ["n"], option: { index: "u" } }, "index"],
    ["an index without the filter's column", {}, { filterColumns: ["x"], option: { index: "u" } }, "problem"],
    ["an index that isn't there", {}, { option: { index: "v" } }, "problem"],
    ["default asked for", full, { option: "default" }, "default"],
    ["default without a key", { primaryKey: [] }, { option: "default" }, "problem"],
    ["default, and whole old rows", {}, { option: "default", isFullWanted: true }, "problem"],
    ["full asked for", {}, { option: "full" }, "full"],
    ["full with a list", {}, { option: "full", columns: ["id"] }, "problem"],
    ["generated columns, no key", { primaryKey: [], hasStoredGenerated: true }, {}, "problem"],
    ["those published", { primaryKey: [], hasStoredGenerated: true }, { sendsGenerated: true }, "full"],
    ["those before 18", { primaryKey: [], hasStoredGenerated: true }, { version: 170_000 }, "full"],
    ["generated columns, TOASTable", { toastable: true, hasStoredGenerated: true }, {}, "right"],
    ["generated columns, FULL", { ...full, hasStoredGenerated: true }, {}, "default"],
    ["virtual ones, no key", { primaryKey: [], hasVirtualGenerated: true }, { sendsGenerated: true }, "problem"],
  ])("with %s", (_, of, what, expected) => {
    const decision = decideIdentity(facts(of), needs(what));
    expect(decision.kind === "set" ? decision.identity.kind : decision.kind).toBe(expected);
  });

  it("by option is set, kept through changes, and what was before comes back", async () => {
    const table = (replicaIdentity: unknown) => ({ tables: [{ table: "s.plain", replicaIdentity }, "s.small"] });
    let outs = await created({ tables: [{ table: "s.plain", replicaIdentity: { index: "plain_n" } }, "s.small"] });
    expect((await identities()).plain).toBe("i");
    outs = await updated(outs, table("full"));
    expect(costOf(outs)).toEqual({ kind: "inPlace", because: ["tables"] });
    expect((await identities()).plain).toBe("f");
    outs = await updated(outs, table("default"));
    expect(await identities()).toEqual(asFound);
    outs = await updated(outs, table("full"));
    outs = await updated(outs, { tables: ["s.small"] });
    expect(await identities()).toEqual(asFound);
    await publication.delete("ours", outs);
  });

  it("of a partitioned table is that of its partitions too", async () => {
    const outs = await created({
      tables: [{ table: "s.parted", replicaIdentity: "full" }],
      viaPartitionRoot: true,
    });
    expect(await identities()).toEqual({ ...asFound, parted: "f", part_1: "f" });
    await client.query("CREATE TABLE s.part_2 PARTITION OF s.parted FOR VALUES FROM (100) TO (200)");
    const { props } = await publication.read("ours", outs);
    expect(props?.drift).toEqual(['"s"."part_2" has replica identity default, and needs full']);
    await publication.delete("ours", outs);
    expect(await identities()).toEqual({ ...asFound, part_2: "d" });
  });

  it("lets the source update tables with generated columns, which FULL would not from 18 on", async () => {
    await client.query(`
      CREATE TABLE s.made (id int PRIMARY KEY, t text, u text GENERATED ALWAYS AS (upper(t)) STORED);
      INSERT INTO s.made VALUES (1, 'a')`);
    await created({ tables: ["s.made"] });
    await client.query("UPDATE s.made SET t = 'b'");
    expect((await identities()).made).toBe(version >= 180_000 ? "d" : "f");
  });
});

describe("check", () => {
  it("says at which input a publication can't be, and how to mend it", async () => {
    expect(Object.keys(await failures({}))).toEqual(["tables"]);
    expect(await failures({ allTables: true, tables: ["s.plain"] })).toMatchObject({
      allTables: expect.stringMatching(/remedy: Leave one of them out/),
    });
    expect(Object.keys(await failures({ tables: ["s.plain"], operations: [] }))).toEqual(["operations"]);
    expect(Object.keys(await failures({ tables: [{ table: "s.plain", columns: [] }] }))).toEqual(["tables[0].columns"]);
    expect(Object.keys(await failures({ tables: [{ table: "s.plain", filter: "x" }] }))).toEqual(["tables[0]"]);
    expect(Object.keys(await failures({ tables: [{ table: "s.plain", replicaIdentity: "none" }] }))).toEqual([
      "tables[0].replicaIdentity",
    ]);
    expect(
      Object.keys(await failures({ tables: [{ table: "s.plain", columns: ["id"] }], schemas: ["other"] })),
    ).toEqual(["tables[0].columns"]);
    expect(Object.keys(await failures({ tables: [{ table: "s.plain", where: "id > 1" }], schemas: ["s"] }))).toEqual([
      "tables[0].where",
    ]);
  });

  it("says what came with a later version", async () => {
    if (hasLists()) {
      if (version < 180_000) {
        expect(await failures({ tables: ["s.plain"], generatedColumns: "stored" })).toMatchObject({
          generatedColumns: expect.stringContaining("came with PostgreSQL 18"),
        });
      }
      expect(await failures({ schemas: ["other"] })).toEqual({});
      return;
    }
    expect(await failures({ schemas: ["other"], tables: [{ table: "s.plain", where: "id > 1" }] })).toMatchObject({
      schemas: expect.stringContaining("came with PostgreSQL 15, and this is 14"),
      "tables[0].where": expect.stringContaining("came with PostgreSQL 15"),
    });
  });

  it("refuses filters and lists by which the source's own updates would fail, or that the server refuses", async ({
    skip,
  }) => {
    skip(!hasLists(), "came with PostgreSQL 15");
    const of = (more: Properties, rest: Properties = {}) =>
      failures({ tables: [{ table: "s.plain", ...more }], ...rest });
    expect(await of({ columns: ["n"] })).toMatchObject({ "tables[0]": expect.stringContaining('lacks "id"') });
    expect(await of({ columns: ["id", "n"], where: "n > 1" })).toMatchObject({
      "tables[0]": expect.stringContaining("replicaIdentity: { index }"),
    });
    const both = { columns: ["id", "n"], where: "n > 1" };
    expect(await of({ ...both, replicaIdentity: { index: "plain_n" } })).toEqual({});
    expect(await of(both, { operations: ["insert"] })).toEqual({});
    expect(await of({ where: "nope > 1" })).toMatchObject({ "tables[0].where": expect.stringContaining('"nope"') });
    expect(await of({ where: "now() > '2020-01-01'" })).toMatchObject({ "tables[0].where": expect.any(String) });
    expect(await of({ where: "id > 1), s.small WHERE (id > 1" })).toMatchObject({
      "tables[0].where": expect.stringContaining("isn't one expression"),
    });
    expect(await of({ where: "id > 1); DROP TABLE s.small; --" })).toMatchObject({
      "tables[0].where": expect.any(String),
    });
    expect(await failures({ tables: [{ table: "s.parted", where: "id > 1" }] })).toMatchObject({
      "tables[0].where": expect.stringContaining("viaPartitionRoot: true"),
    });
    expect(await failures({ tables: [{ table: "s.parted", where: "id > 1" }], viaPartitionRoot: true })).toEqual({});
  });

  it("asks for a superuser where PostgreSQL does", async () => {
    const role = await server.createRole("reader", "REPLICATION");
    await client.query("GRANT CREATE ON DATABASE postgres TO reader");
    const source = { ...server.source(), user: role.user, password: { env: role.passwordEnv } };
    expect(await failures({ source, allTables: true })).toMatchObject({
      allTables: expect.stringContaining("only a superuser can publish all tables"),
    });
    await client.query("REVOKE CREATE ON DATABASE postgres FROM reader; DROP ROLE reader");
  });
});

describe("an update", () => {
  it("touches nothing that is the same, and says which tables are copied again", async ({ skip }) => {
    skip(!hasLists(), "came with PostgreSQL 15");
    let outs = await created({ tables: ["s.plain", "s.small"] });
    const before = await memberships();
    const narrow = { tables: [{ table: "s.plain", columns: ["Odd", "n", "id"], where: "id > 1" }, "s.small"] };
    outs = await updated(outs, narrow);
    expect(costOf(outs)).toMatchObject({ kind: "resnapshot", because: ["tables"], tables: ['"s"."plain"'] });
    const after = await memberships();
    expect(after).toMatchObject({ ours: before.ours, "s.small": before["s.small"] });
    expect(after["s.plain"]).not.toBe(before["s.plain"]);

    // Another spelling, and another order of columns, is no change.
    const spelt = { tables: ["s.small", { table: "s.plain", columns: ["id", "n", "Odd"], where: "( ID>1 ) -- all" }] };
    expect(publication.diff("ours", outs, await checked(spelt, outs))).toMatchObject({ changes: false });
    expect(await memberships()).toEqual(after);
    // Where the server isn't asked, the update finds it out.
    const blind = checkPublication(outs, news({ ...spelt, preflight: "up" })).inputs;
    outs = (await publication.update("ours", outs, blind)).outs;
    expect(await memberships()).toEqual(after);

    outs = await updated(outs, { ...spelt, operations: ["delete", "insert"] });
    expect(costOf(outs)).toMatchObject({
      kind: "resnapshot",
      because: ["operations"],
      tables: ['"s"."plain"', '"s"."small"'],
    });
    expect(
      diffPublication(outs, checkPublication(outs, news({ ...spelt, operations: ["insert", "delete"] })).inputs)
        .changes,
    ).toBe(false);
    outs = await updated(outs, { tables: ["s.small"], schemas: ["other"] });
    const { rows } = await client.query(
      "SELECT schemaname || '.' || tablename AS name FROM pg_publication_tables ORDER BY 1",
    );
    expect(rows.map(({ name }) => name)).toEqual(["other.one", "s.small"]);
    const wide = checkPublication(outs, news({ allTables: true })).inputs;
    expect(diffPublication(outs, wide)).toMatchObject({ replaces: ["allTables"] });
    await publication.delete("ours", outs);
  });

  it("turns partitions into their root and back", async () => {
    const via = async () =>
      (await client.query("SELECT tablename FROM pg_publication_tables ORDER BY 1")).rows.map(
        ({ tablename }) => tablename,
      );
    let outs = await created({ tables: ["s.parted"] });
    expect(await via()).toEqual(["part_1"]);
    const where = hasLists() ? { where: "id < 50" } : {};
    outs = await updated(outs, { tables: [{ table: "s.parted", ...where }], viaPartitionRoot: true });
    expect(await via()).toEqual(["parted"]);
    expect(costOf(outs)).toMatchObject({ kind: "resnapshot", tables: ['"s"."parted"'] });
    await updated(outs, { tables: ["s.parted"] });
    expect(await via()).toEqual(["part_1"]);
    await client.query("UPDATE s.parted SET n = 2");
  });

  it("publishes all tables, with the identities that they need", async () => {
    const outs = await created({ allTables: true });
    expect(await identities()).toEqual({ ...asFound, plain: "f", keyless: "f" });
    await client.query("CREATE TABLE s.later (n int)");
    const { props, inputs } = await publication.read("ours", outs);
    expect(props?.drift).toEqual(['"s"."later" has replica identity default, and needs full']);
    const wanted = await checked({ allTables: true }, inputs);
    const again = (await publication.update("ours", props!, wanted)).outs;
    expect((await publication.read("ours", again)).props?.drift).toEqual([]);
    await publication.delete("ours", again);
    expect(await identities()).toEqual({ ...asFound, later: "d" });
  });
});

describe("read", () => {
  const wanted = () => ({
    tables: [hasLists() ? { table: "s.plain", columns: ["id", "n"], where: "id  > 1" } : "s.plain", "s.small"],
  });

  it("finds nothing where nothing was changed, also after a change of the server's own text", async () => {
    const outs = await created(wanted());
    const read = await publication.read("ours", outs);
    expect(read.props).toEqual(outs);
    expect(publication.diff("ours", read.props!, await checked(wanted(), read.inputs))).toMatchObject({
      changes: false,
    });
    // As after an upgrade of the server: it is asked then.
    const upgraded = (outs.rowFilters as object[]).map((filter) => ({ ...filter, text: "another" }));
    expect((await publication.read("ours", { ...outs, rowFilters: upgraded })).props).toEqual(outs);
  });

  it.for<[string, string, Properties]>([
    [
      "a column list",
      "ALTER PUBLICATION ours SET TABLE s.plain (id) WHERE (id > 1), s.small",
      {
        tables: [
          { schema: "s", name: "plain", columns: ["id"], where: "id  > 1" },
          { schema: "s", name: "small" },
        ],
      },
    ],
    [
      "a row filter",
      "ALTER PUBLICATION ours SET TABLE s.plain (id, n) WHERE (id > 2), s.small",
      { tables: [{ columns: ["id", "n"], where: "(id > 2)" }, {}] },
    ],
    ["a table that left", "ALTER PUBLICATION ours DROP TABLE s.small", { tables: [{ name: "plain" }] }],
    [
      "a table that joined",
      "ALTER PUBLICATION ours ADD TABLE other.one",
      { tables: [{}, {}, { schema: "other", name: "one" }] },
    ],
    [
      "a schema",
      "ALTER PUBLICATION ours SET TABLE s.small; ALTER PUBLICATION ours ADD TABLES IN SCHEMA other",
      { schemas: ["other"] },
    ],
    ["operations", "ALTER PUBLICATION ours SET (publish = 'insert')", { operations: ["insert"] }],
    [
      "the partition root",
      "ALTER PUBLICATION ours SET (publish_via_partition_root = true)",
      { viaPartitionRoot: true },
    ],
    ["an identity", "ALTER TABLE s.small REPLICA IDENTITY NOTHING", { tables: [{}, { replicaIdentity: "nothing" }] }],
    ["the owner", "CREATE ROLE thief SUPERUSER; ALTER PUBLICATION ours OWNER TO thief", { owner: "thief" }],
  ])(
    "finds %s changed by hand as a property, an update repairs it, and then there is none",
    async ([what, sql, found], { skip }) => {
      skip(!hasLists() && /list|filter|schema/.test(what), "came with PostgreSQL 15");
      const outs = await created(wanted());
      await client.query(sql);
      const { props } = await publication.read("ours", outs);
      expect(props).toMatchObject(found);
      const again = await updated(props!, wanted());
      const after = await publication.read("ours", again);
      expect(after.props).toEqual(again);
      expect(after.props?.drift).toEqual([]);
      for (const key of ["tables", "owner"]) expect(again[key]).toEqual(outs[key]);
      expect(publication.diff("ours", after.props!, await checked(wanted(), after.inputs))).toMatchObject({
        changes: false,
      });
      await publication.delete("ours", again);
      expect(await identities()).toEqual({ ...asFound, small: what === "an identity" ? "n" : "d" });
      await client.query("DROP ROLE IF EXISTS thief");
    },
  );
});

describe("adopt", () => {
  const theirs = () =>
    client.query("CREATE PUBLICATION ours FOR TABLE s.plain, s.small; CREATE PUBLICATION foreign_one");

  it("takes over what exists, touches nothing that is the same, and costs nothing", async () => {
    await theirs();
    const before = await memberships();
    expect(await failures({ tables: ["s.small"], publicationName: "foreign_one" })).toMatchObject({
      publicationName: expect.stringContaining("adopt: true"),
    });
    const same = { tables: [{ table: "s.plain", replicaIdentity: "default" }, "s.small"], adopt: true };
    const inputs = await checked(same);
    expect(costOf(inputs)).toEqual({ kind: "none", because: ["adopt"] });
    const { outs } = await publication.create(inputs);
    // One whose result was lost is adopted again, and not made anew.
    await publication.create(inputs);
    expect(await memberships()).toEqual(before);
    expect(publication.diff("ours", outs, await checked(same, outs))).toMatchObject({ changes: false });
    const { props } = await publication.read("ours", outs);
    expect(props).toEqual(outs);
    await publication.delete("ours", outs);
    expect(Object.keys(await memberships())).toEqual(["foreign_one"]);
  });

  it("alters what differs, and says what that copies", async () => {
    await theirs();
    const before = await memberships();
    const inputs = await checked({ tables: ["s.small", "other.one"], adopt: true });
    expect(costOf(inputs)).toMatchObject({ kind: "resnapshot", because: ["tables"], tables: ['"other"."one"'] });
    await publication.create(inputs);
    const after = await memberships();
    expect(after["s.small"]).toBe(before["s.small"]);
    expect(Object.keys(after).sort()).toEqual(["foreign_one", "other.one", "ours", "s.small"]);
  });

  it("refuses what can't be altered, and makes what isn't there", async () => {
    await client.query("CREATE PUBLICATION ours FOR ALL TABLES");
    expect(await failures({ tables: ["s.small"], adopt: true })).toMatchObject({
      adopt: expect.stringContaining("allTables: true"),
    });
    await client.query("DROP PUBLICATION ours");
    expect((await created({ tables: ["s.small"], adopt: true })).publicationOid).toMatch(/^\d+$/);
  });

  it("leaves it at delete by onDelete, with the identities that it needs", async () => {
    const outs = await created({ tables: ["s.keyless"], onDelete: "keep" });
    await publication.delete("ours", outs);
    const { rows } = await client.query("SELECT obj_description(oid, 'pg_publication') AS mark FROM pg_publication");
    expect(rows).toEqual([{ mark: null }]);
    expect((await identities()).keyless).toBe("f");
  });
});

describe("get", () => {
  it("reads what exists, whoever made it, and says that there is none", async () => {
    await client.query("CREATE PUBLICATION theirs FOR TABLE s.small WITH (publish = 'insert')");
    const { id, props } = await publication.read("theirs", { source: server.source() });
    expect(id).toBe("theirs");
    expect(props).toMatchObject({
      publicationName: "theirs",
      tables: [{ schema: "s", name: "small" }],
      operations: ["insert"],
    });
    await expect(publication.read("none", { source: server.source() })).rejects.toMatchObject({
      kind: "missing-object",
    });
  });
});

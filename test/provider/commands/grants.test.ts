// Contract: what `sluice grants` prints, run as a superuser, is what a stack's role needs: preflight finds nothing, and
// publication and slot can be made and read. It is the least: a statement left out is found by the preflight, with the
// statement as the remedy, or is of an order that the server keeps.
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { grants } from "../../../provider/commands/grants";
import { connection } from "../../../provider/lifecycle/connection";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { type Flavour, flavours } from "../../../provider/postgres/flavour";
import {
  type GrantNeeds,
  type GrantPurpose,
  grantNotes,
  grantStatements,
} from "../../../provider/postgres/grant-statements";
import { runCommand } from "../../support/command-run";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
let count = 0;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query("CREATE ROLE app; CREATE ROLE rds_replication");
  vi.spyOn(console, "log").mockImplementation(() => {});
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

interface Place {
  role: string;
  passwordEnv: string;
  needs: GrantNeeds;
}

/** A role without any right, and a schema of its own with two tables of an application. */
async function place(more: Partial<GrantNeeds> = {}): Promise<Place> {
  const role = `Stack "${++count}"`;
  const schema = `s ${count}`;
  const { passwordEnv } = await server.createRole(role, "");
  await client.query(`CREATE SCHEMA "${schema}" AUTHORIZATION app; SET ROLE app`);
  await client.query(`CREATE TABLE "${schema}".a (id int PRIMARY KEY, body text); CREATE TABLE "${schema}".b (id int)`);
  await client.query("RESET ROLE");
  await client.query(`REVOKE CREATE ON DATABASE postgres FROM PUBLIC`);
  const tables = ["a", "b"].map((name) => ({ schema, name, owner: "app" }));
  return {
    role,
    passwordEnv,
    needs: {
      flavour: "vanilla",
      database: "postgres",
      role,
      roleExists: true,
      publication: "ours",
      ownership: "group",
      scope: { kind: "tables", tables },
      ...more,
    },
  };
}

async function run(needs: GrantNeeds, without?: GrantPurpose): Promise<void> {
  for (const { sql, purpose } of grantStatements(needs)) if (purpose !== without) await client.query(sql);
}

/** Inputs of the resources, as that role. */
function inputs({ role, passwordEnv, needs }: Place) {
  const source = { ...server.source(), user: role, password: { env: passwordEnv } };
  const tables = needs.scope.kind === "tables" ? needs.scope.tables.map(({ schema, name }) => ({ schema, name })) : [];
  const createsPublications = needs.publication === "ours";
  return { source, connection: { ...source, flavour: needs.flavour, createsPublications }, tables };
}

async function findings(at: Place): Promise<string[]> {
  const { connection: ofConnection, source, tables } = inputs(at);
  const failures = (await connection.check({}, ofConnection)).failures;
  if (at.needs.publication === "ours") failures.push(...(await publication.check({}, { source, tables })).failures);
  return failures.map(({ reason }) => reason);
}

describe("what is printed for a publication of the stack's", () => {
  it.each<[GrantNeeds["ownership"]]>([["group"], ["member"]])(
    "suffices for publication and slot, with ownership by %s",
    async (ownership) => {
      const at = await place({ ownership });
      expect(await findings(at)).not.toEqual([]);
      await run(at.needs);
      expect(await findings(at)).toEqual([]);
      const { source, tables } = inputs(at);
      const made = await publication.create((await publication.check({}, { source, tables })).inputs);
      const { publicationName, pipelineId } = made.outs;
      const news = { source, publicationName, pipelineId };
      const slot = await replicationSlot.create((await replicationSlot.check({}, news)).inputs);
      await replicationSlot.delete(slot.id, slot.outs);
      await publication.delete(made.id, made.outs);
      // The application does with its tables what it did.
      const [{ schema }] = tables;
      await client.query(`SET ROLE app; ALTER TABLE "${schema}".a ADD COLUMN more int; RESET ROLE`);
    },
  );

  it.each<[GrantPurpose, RegExp[]]>([
    ["replication", [/may not replicate[\s\S]*ALTER ROLE .* WITH REPLICATION/]],
    ["database", [/may not create publications[\s\S]*GRANT CREATE ON DATABASE "postgres"/]],
    ["schema", [/GRANT USAGE ON SCHEMA/, /GRANT USAGE ON SCHEMA/]],
    ["owner-member", [/lacks the ownership of table .*"a"/, /lacks the ownership of table .*"b"/]],
    ["table-owner", [/\(owner: "app"\)/, /\(owner: "app"\)/]],
    ["statistics", []],
  ])("is the least: without what is for %s the preflight finds it", async (purpose, expected) => {
    const at = await place();
    await run(at.needs, purpose);
    expect(await findings(at)).toEqual(expected.map((reason) => expect.stringMatching(reason)));
  });

  it("needs less where more is there: nothing is moved that is owned already", async () => {
    const at = await place();
    await run(at.needs);
    const owned = at.needs.scope.kind === "tables" ? at.needs.scope.tables : [];
    const name = `${at.role}_tables`;
    const scope = { kind: "tables", tables: owned.map((table) => ({ ...table, owner: name })) } as const;
    expect(grantStatements({ ...at.needs, scope }).map(({ purpose }) => purpose)).toEqual([
      "replication",
      "database",
      "schema",
      "owner-member",
      "statistics",
    ]);
  });

  it("gives what a member of rds_superuser can give: tables to a role that may create for the change only", async () => {
    const at = await place({ flavour: "rds" });
    await client.query(`
      CREATE ROLE master LOGIN CREATEROLE PASSWORD 'm' IN ROLE app;
      GRANT CREATE ON DATABASE postgres TO master WITH GRANT OPTION`);
    const version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
    await client.query("GRANT rds_replication TO master WITH ADMIN OPTION");
    await client.query("GRANT pg_read_all_stats TO master WITH ADMIN OPTION");
    // From PostgreSQL 16 on CREATEROLE isn't enough to alter a role of another's.
    if (version >= 160_000) await client.query(`GRANT ${pg.escapeIdentifier(at.role)} TO master WITH ADMIN OPTION`);
    const master = new pg.Client({
      host: server.host,
      port: server.port,
      user: "master",
      password: "m",
      database: "postgres",
    });
    await master.connect();
    try {
      for (const { sql } of grantStatements(at.needs)) await master.query(sql);
    } finally {
      await master.end();
    }
    // A server of the test's own lets nobody replicate by membership: the preflight alone goes by it.
    expect(await findings(at)).toEqual([]);
    const { rows } = await client.query("SELECT has_schema_privilege($1, $2, 'CREATE') AS may", [
      `${at.role}_tables`,
      at.needs.scope.kind === "tables" ? at.needs.scope.tables[0].schema : "",
    ]);
    expect(rows).toEqual([{ may: false }]);
  });
});

describe("what is printed for a publication by hand", () => {
  it.each<[string, (schema: string) => GrantNeeds["scope"]]>([
    ["tables", (schema) => ({ kind: "tables", tables: ["a", "b"].map((name) => ({ schema, name, owner: null })) })],
    ["schemas", (schema) => ({ kind: "schemas", schemas: [schema] })],
    ["all", () => ({ kind: "all" })],
  ])("lets the role read %s, and neither own nor publish", async (_, scopeOf) => {
    const at = await place();
    const schema = `s ${count}`;
    const needs: GrantNeeds = { ...at.needs, publication: "by-hand", scope: scopeOf(schema) };
    const here = { ...at, needs };
    expect((await findings(here)).join()).toMatch(/may not replicate/);
    await run(needs);
    expect(await findings(here)).toEqual([]);
    const rights = async (table: string) =>
      (
        await client.query(
          `SELECT has_table_privilege($1, $2::regclass, 'SELECT') AS reads, has_table_privilege($1, $2::regclass, 'INSERT') AS writes,
                  has_schema_privilege($1, $3, 'USAGE') AS reaches, has_database_privilege($1, 'postgres', 'CREATE') AS publishes`,
          [at.role, `"${schema}".${table}`, schema],
        )
      ).rows[0];
    for (const table of ["a", "b"]) {
      expect(await rights(table)).toEqual({ reads: true, writes: false, reaches: true, publishes: false });
    }
  });
});

describe("flavours", () => {
  const needs = (flavour: Flavour): GrantNeeds => ({
    flavour,
    database: "shop",
    role: "sluice",
    roleExists: false,
    publication: "ours",
    ownership: "group",
    scope: { kind: "tables", tables: [{ schema: "public", name: "orders", owner: "app" }] },
  });

  it.each(flavours.map((flavour) => [flavour] as const))("%s: who runs it, and how the role replicates", (flavour) => {
    const aws = flavour === "rds" || flavour === "aurora";
    const sql = grantStatements(needs(flavour)).map((statement) => statement.sql);
    expect(sql[0]).toBe('CREATE ROLE "sluice" LOGIN');
    expect(sql[1]).toBe(aws ? 'GRANT rds_replication TO "sluice"' : 'ALTER ROLE "sluice" WITH REPLICATION');
    expect(sql.includes('GRANT "sluice_tables" TO CURRENT_USER')).toBe(flavour !== "vanilla");
    const administrator: Record<Flavour, RegExp> = {
      vanilla: /superuser/,
      rds: /rds_superuser/,
      aurora: /rds_superuser/,
      azure: /azure_pg_admin/,
      cloudsql: /cloudsqlsuperuser/,
      alloydb: /alloydbsuperuser/,
    };
    expect(grantNotes(needs(flavour))[0]).toMatch(administrator[flavour]);
  });
});

describe("the command", () => {
  const sluice = (...argv: string[]) => runCommand(grants, argv);

  it("looks up role and owners, and prints a script that runs as it is", async () => {
    const at = await place();
    const schema = `s ${count}`;
    const from = `postgres://postgres@${server.host}:${server.port}/postgres`;
    const argv = [
      "--from",
      from,
      "--password-env",
      server.passwordEnv,
      "--role",
      at.role,
      "--table",
      `${schema}.a`,
      "--table",
      `${schema}.b`,
    ];
    const { stdout } = await sluice(...argv);
    expect(stdout).toContain("-- PostgreSQL has no privilege to publish a table: its owner does.");
    await client.query(stdout);
    expect(await findings(at)).toEqual([]);
    // A table more of the same stack: its owner is there already.
    await client.query(`SET ROLE app; CREATE TABLE "${schema}".c (id int PRIMARY KEY); RESET ROLE`);
    await client.query((await sluice(...argv.slice(0, 6), "--table", `${schema}.c`)).stdout);
    const { source } = inputs(at);
    expect((await publication.check({}, { source, tables: [{ schema, name: "c" }] })).failures).toEqual([]);
    const { statements, flavour } = JSON.parse((await sluice(...argv, "--json")).stdout);
    expect(flavour).toBe("vanilla");
    expect(statements.map(({ purpose }: { purpose: string }) => purpose)).not.toContain("table-owner");
  });

  it.each<[string[], RegExp]>([
    [["--role", "r", "--database", "d"], /one of --table, --schema and --all-tables is needed/],
    [["--role", "r", "--database", "d", "--all-tables"], /superuser's to make[\s\S]*--publication by-hand/],
    [["--database", "d", "--all-tables"], /--role is needed/],
    [["--role", "r", "--database", "d", "--table", "x"], /--table is no SCHEMA.TABLE/],
    [["--role", "r", "--database", "d", "--table", "a.x", "--flavour", "heroku"], /--flavour is none of vanilla, rds/],
    [["--role", "r", "--database", "d", "--table", "a.x", "--ownership", "member"], /--ownership member needs --from/],
  ])("refuses %j", async (argv, message) => {
    expect(await sluice(...argv)).toMatchObject({ code: 78, stderr: expect.stringMatching(message) });
  });
});

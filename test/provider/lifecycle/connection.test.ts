// Contract: check tells, read-only, all that stands against replicating from a source, each with its remedy; a
// password that is a value is in nothing that has another name than its input; read finds settings that were changed; update refuses to go over to another database
// unnoticed.
// Invariant 6: no secret leaves the place it was given to.
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dispatch } from "../../../provider/handlers";
import { checkConnection, connection, diffConnection } from "../../../provider/lifecycle/connection";
import type { CheckResult, Properties } from "../../../provider/lifecycle/lifecycle";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(async () => {
  await server?.stop();
});

const failuresOf = async (more: Properties, olds: Properties = {}) =>
  (await connection.check(olds, { ...server.source(), ...more })).failures;

describe("check", () => {
  it("gives the settings as one value, with defaults", async () => {
    const { inputs, failures } = await connection.check({}, server.source() as unknown as Properties);
    expect(failures).toEqual([]);
    expect(inputs.source).toEqual({ ...server.source(), sslMode: "disable", connectTimeoutMs: 10_000 });
  });

  it("takes a password as a value too, and never repeats it", async () => {
    const given = { ...server.source(), password: server.password } as unknown as Properties;
    const { inputs, failures } = await connection.check({}, given);
    expect(failures).toEqual([]);
    expect(inputs.source).not.toHaveProperty("password");
    expect(JSON.stringify({ ...inputs, password: undefined })).not.toContain(server.password);
    const { outs } = await connection.create(inputs);
    expect(JSON.stringify({ ...outs, password: undefined })).not.toContain(server.password);

    const wrong = { ...given, password: "canary-5511" };
    const result = (await dispatch("Connection", "check", [{}, wrong])) as CheckResult;
    // At no property: the CLI would print its value.
    expect(result.failures).toEqual([
      { property: "", reason: expect.stringMatching(/^password: .*authentication failed[\s\S]*remedy/) },
    ]);
    expect(JSON.stringify(result.failures)).not.toContain("canary-5511");
    const { failures: unfit } = (await dispatch("Publication", "check", [
      {},
      { source: { ...wrong, sslKey: 5511 }, tables: ["public.a"], preflight: "up" },
    ])) as CheckResult;
    expect(unfit).toEqual([{ property: "", reason: expect.stringMatching(/^source\.sslKey: a secret is/) }]);
  });

  it.each<[string, () => Properties, string, RegExp]>([
    [
      "a wrong password",
      () => ({ password: { env: "SLUICE_TEST_WRONG" } }),
      "password",
      /authentication failed[\s\S]*remedy: Check user/,
    ],
    [
      "an unset variable",
      () => ({ password: { env: "SLUICE_TEST_UNSET" } }),
      "password",
      /SLUICE_TEST_UNSET is not set[\s\S]*remedy: Set/,
    ],
    ["a host that doesn't resolve", () => ({ host: "db.invalid" }), "host", /remedy: Check the host name/],
    [
      "a port where nothing listens",
      () => ({ port: 1 }),
      "host",
      /remedy: Check that PostgreSQL runs at 127\.0\.0\.1:1/,
    ],
    ["a database that doesn't exist", () => ({ database: "gone" }), "database", /remedy: Create the database/],
  ])("tells %s at its input", async (_, more, property, reason) => {
    process.env.SLUICE_TEST_WRONG = "canary-wrong";
    const failures = await failuresOf(more());
    expect(failures).toEqual([{ property, reason: expect.stringMatching(reason) }]);
    expect(JSON.stringify(failures)).not.toContain("canary-wrong");
    expect(await failuresOf({ ...more(), preflight: "up" })).toEqual([]);
  });

  it("tells what a role lacks, with the SQL", async () => {
    const { user, passwordEnv } = await server.createRole("weak", "");
    const failures = await failuresOf({ user, password: { env: passwordEnv } });
    expect(failures.map(({ property }) => property)).toEqual(["user", "user"]);
    expect(failures[0].reason).toContain('ALTER ROLE "weak" WITH REPLICATION');
    expect(failures[1].reason).toContain('GRANT CREATE ON DATABASE "postgres" TO "weak"');
    const client = await server.client();
    await client.query('ALTER ROLE "weak" WITH REPLICATION; GRANT CREATE ON DATABASE "postgres" TO "weak"');
    await client.end();
    expect(await failuresOf({ user, password: { env: passwordEnv } })).toEqual([]);
  });

  it("lets unknown values pass, and asks no server when nothing changed", async () => {
    expect(checkConnection({ ...server.source(), host: unknownValue }).failures).toEqual([]);
    expect(await failuresOf({ host: unknownValue })).toEqual([]);
    const down = { ...server.source(), port: 1 };
    const { inputs } = checkConnection(down as unknown as Properties);
    expect((await connection.check(inputs, down as unknown as Properties)).failures).toEqual([]);
  });
});

describe("diff", () => {
  it("replaces for another database only", () => {
    const of = (more: Properties = {}) => checkConnection({ ...server.source(), ...more }).inputs;
    expect(diffConnection(of(), of())).toMatchObject({ changes: false });
    expect(diffConnection(of(), of({ port: 1 }))).toMatchObject({ changes: true, replaces: [] });
    expect(diffConnection(of(), of({ database: "other" }))).toMatchObject({ replaces: ["database"] });
  });
});

describe("create, read and update", () => {
  it("know the cluster again", async () => {
    const { inputs } = await connection.check({}, server.source() as unknown as Properties);
    const { id, outs } = await connection.create(inputs);
    expect(outs).toMatchObject({ serverVersion: expect.stringMatching(/^\d+\.\d+/), drift: [] });
    expect(id).toBe(`${outs.systemIdentifier}/${outs.databaseOid}`);
    const read = await connection.read(id, outs);
    expect(read.props).toEqual(outs);
    expect(connection.diff(id, outs, inputs)).toMatchObject({ changes: false });
    const moved = await connection.read(id, { ...outs, systemIdentifier: "1" });
    expect(moved.props?.drift).toEqual([expect.stringContaining("another PostgreSQL cluster")]);
    await expect(connection.update(id, { ...outs, systemIdentifier: "1" }, inputs)).rejects.toMatchObject({
      kind: "config",
      remedy: expect.stringContaining("replace the Connection"),
    });
  });
});

// Contract: a state that a released version has written, of objects as that version made them, is refreshed without a
// difference, updated without a replacement, a restart of capture or a new snapshot, then without any change, and destroyed
// so that nothing is left. Fixtures: test/fixtures/state, recorded by `npm run record:state` at each release.
// Invariant 5 (after delete no slot, publication or process remains).
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { renderConfiguration } from "../../provider/deploy/deployment";
import { dispatch } from "../../provider/handlers";
import type { Properties } from "../../provider/lifecycle/lifecycle";
import { quoteIdentifier, quoteLiteral } from "../../runtime/postgres/identifier";
import type { GatewayStatus } from "../../runtime/status";
import { type OperationResult, Stack } from "../engine/engine";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, processesNaming, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";
import { quickstartConfig } from "./quickstart-config";

interface Fixture {
  state: { deployment: { resources: { type: string; inputs?: Properties; outputs?: Properties }[] } };
  publicationComment: string;
  configurations: { gateway: never; applier: never };
}

const fixtures = join(process.cwd(), "test/fixtures/state");
const kinds = ["Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-released-"));
  await client.query(`
    DROP TABLE IF EXISTS public.nation, public.event;
    CREATE TABLE public.nation (id int PRIMARY KEY, name text);
    CREATE TABLE public.event (n int);
    INSERT INTO public.nation VALUES (1, 'one');
    INSERT INTO public.event VALUES (1)`);
});

afterEach(async () => {
  await endProcesses(folder);
  rmSync(folder, { recursive: true, force: true });
});

/** The fixture for this server and folder. */
async function load(name: string): Promise<Fixture> {
  const { rows } = await client.query<{ oid: number; system: string }>(
    `SELECT oid::int AS oid, (SELECT system_identifier::text FROM pg_control_system()) AS system
       FROM pg_database WHERE datname = current_database()`,
  );
  const known: Record<string, string> = {
    port: String(server.port),
    folder,
    passwordEnv: server.passwordEnv,
    systemIdentifier: rows[0].system,
    slotNameStart: `dbx_${rows[0].oid}_`,
    publicationNameStart: `dbx_pub_${rows[0].oid}_`,
  };
  const text = readFileSync(join(fixtures, name), "utf8")
    .replaceAll(/"\{\{#(\w+)\}\}"/g, (_, key: string) => known[key])
    .replaceAll(/\{\{(\w+)\}\}/g, (_, key: string) => known[key]);
  expect(text).not.toContain("{{");
  return JSON.parse(text) as Fixture;
}

/** Makes what the state says that there is, as that version made it, and writes the state. */
async function restore({ state, publicationComment, configurations }: Fixture): Promise<string> {
  for (const kind of kinds) {
    const resource = state.deployment.resources.find(({ type }) => type.endsWith(`/sluice:${kind}`));
    const { outs } = (await dispatch(kind, "create", [resource?.inputs])) as { outs: Properties };
    if (kind === "Publication") {
      Object.assign(resource?.outputs as Properties, {
        publicationOid: outs.publicationOid,
        databaseOid: outs.databaseOid,
      });
      const { rows } = await client.query<{ name: string; comment: string }>(
        "SELECT pubname AS name, obj_description(oid, 'pg_publication') AS comment FROM pg_publication",
      );
      expect(rows).toHaveLength(1);
      // A mark of now begins as that version's, and tells more.
      expect(rows[0].comment.startsWith(publicationComment)).toBe(true);
      await client.query(
        `COMMENT ON PUBLICATION ${quoteIdentifier(rows[0].name)} IS ${quoteLiteral(publicationComment)}`,
      );
    }
    if (kind !== "Gateway" && kind !== "IngestionPipeline") continue;
    const role = kind === "Gateway" ? "gateway" : "applier";
    const directory = join(folder, "state", String(outs.deploymentId), role);
    writeFileSync(join(directory, "config.json"), renderConfiguration(configurations[role]));
  }
  const path = join(folder, "stack.json");
  writeFileSync(path, JSON.stringify(state));
  return path;
}

const changes = ({ steps }: OperationResult) =>
  steps.filter(({ op }) => op !== "same" && op !== "refresh" && op !== "read").map(({ op, type }) => `${type} ${op}`);

const files = readdirSync(fixtures).filter((name) => name.endsWith(".json"));

it("there are fixtures", () => expect(files.length).toBeGreaterThan(1));

it.each(files)(
  "%s is refreshed, updated and destroyed",
  async (name) => {
    const stateFile = await restore(await load(name));
    const stack = new Stack({
      projectDir: process.cwd(),
      stack: "test",
      stateFile,
      config: quickstartConfig(server, ["public.nation", "public.event"], folder),
      env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
    });
    expect(changes(ok(await stack.refresh()))).toEqual([]);
    const updated = ok(await stack.up());
    expect(changes(updated)).toEqual([]);
    expect(changes(ok(await stack.preview()))).toEqual([]);
    await until("it streams", () => {
      const text = readFileSync(updated.outputs.gatewayStatusPath as string, "utf8");
      const { tables } = JSON.parse(text) as GatewayStatus;
      return (
        tables.length === 2 && tables.every(({ state, snapshots }) => state.kind === "streaming" && snapshots === 1)
      );
    });
    ok(await stack.destroy());
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
    expect(processesNaming(join(folder, "state"))).toEqual([]);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    const { rows } = await client.query(
      "SELECT relname FROM pg_class WHERE relreplident <> 'd' AND relnamespace = 'public'::regnamespace AND relkind = 'r'",
    );
    expect(rows).toEqual([]);
  },
  120_000,
);

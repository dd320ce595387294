// Contract: the quickstart stack at the project's root is previewed without a trace, made, found unchanged by refresh,
// grown by a table in place (no restart, no table read twice), repaired where somebody dropped its slot, and destroyed
// so that the database is as before; the tables stay.
// Invariants 5 (after delete no slot, publication or process remains) and 6 (no secret leaves its place).
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import { type Deployer, openStack } from "../engine/deployer";
import type { OperationResult } from "../engine/engine";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, filesHolding, processesNaming, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";
import { quickstartConfig } from "./quickstart-config";

let server: TestPostgres;
let client: pg.Client;
let folder: string;
/** the role's password: nowhere but in the environment */
let canary: string;
let passwordEnv: string;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  const role = await server.createRole("ingest", "REPLICATION");
  canary = role.password;
  passwordEnv = role.passwordEnv;
  await client.query(`
    GRANT CREATE ON DATABASE postgres TO ingest;
    CREATE TABLE public.nation (id int PRIMARY KEY, name text);
    CREATE TABLE public.event (n int);
    CREATE TABLE public.region (id int PRIMARY KEY, n int);
    INSERT INTO public.nation SELECT g, 'nation ' || g FROM generate_series(1, 100) g;
    INSERT INTO public.event SELECT g FROM generate_series(1, 100) g;
    INSERT INTO public.region SELECT g, g FROM generate_series(1, 5) g;
    ALTER TABLE public.nation OWNER TO ingest;
    ALTER TABLE public.event OWNER TO ingest;
    ALTER TABLE public.region OWNER TO ingest`);
  folder = mkdtempSync(join(tmpdir(), "sluice-quickstart-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function open(
  tables: string[],
  env: Record<string, string> = { PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
): Promise<Deployer> {
  return openStack({
    projectDir: process.cwd(),
    stack: "test",
    stateFile: join(folder, "stack.json"),
    config: quickstartConfig({ ...server, user: "ingest", passwordEnv }, tables, folder),
    env,
    onLine: (line) => said.push(line),
  });
}

/** `Publication update` and so on, of our own resources that something happened to. */
const changes = (result: OperationResult) =>
  result.steps
    .filter(({ op, type }) => op !== "same" && op !== "refresh" && op !== "read" && type.startsWith("pulumi-nodejs:"))
    .map(({ op, type }) => `${type.split(":").at(-1)} ${op}`);

async function identities(): Promise<string> {
  const { rows } = await client.query<{ text: string }>(
    "SELECT string_agg(relname || '=' || relreplident::text, ' ' ORDER BY relname) AS text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
  );
  return rows[0].text;
}

const readStatus = <T>(path: unknown) => JSON.parse(readFileSync(path as string, "utf8")) as T;
let outputs: Record<string, unknown>;
const gatewayStatus = () => readStatus<GatewayStatus>(outputs.gatewayStatusPath);

const streaming = (tables: string[]) =>
  until(`${tables} are streamed`, () => {
    const found = gatewayStatus().tables.filter(({ state }) => state.kind === "streaming");
    return tables.every((name) => found.some((table) => table.name === name));
  });

/** Every table is in the lake, with all that is staged applied. */
const applied = (rows: Record<string, number>) =>
  until(`the lake holds ${JSON.stringify(rows)}`, () => {
    const { tables } = readStatus<ApplierStatus>(outputs.applierStatusPath);
    return Object.entries(rows).every(([name, count]) =>
      tables.some((table) => table.name === name && table.state.kind === "idle" && table.rows === count),
    );
  });

const two = ["public.nation", "public.event"];
const three = [...two, "public.region"];
const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];

describe("the quickstart stack", () => {
  it("is previewed without a trace", async () => {
    // As users run it: with its types checked.
    const result = ok(await (await open(two, {})).preview());
    expect(changes(result)).toEqual(kinds.map((kind) => `${kind} create`));
    expect(result.outputs.slotName).toMatch(/^dbx_\d+_[0-9a-f_]{36}$/);
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
    expect(existsSync(join(folder, "state"))).toBe(false);
  });

  it("is made, and made once", async () => {
    const stack = await open(two);
    const result = ok(await stack.up());
    outputs = result.outputs;
    expect(changes(result)).toEqual(kinds.map((kind) => `${kind} create`));
    expect(await slotNames(client)).toEqual([outputs.slotName]);
    expect(await publicationNames(client)).toEqual([outputs.publicationName]);
    expect(await identities()).toBe("event=f nation=f region=d");
    expect(outputs.destinationPath).toBe(join(folder, "lake"));
    expect(processesNaming(join(folder, "state"))).toHaveLength(4);
    expect(readStatus<ApplierStatus>(outputs.applierStatusPath).state.kind).toBe("running");
    await streaming(["nation", "event"]);
    await applied({ nation: 100, event: 100 });
    expect(changes(ok(await stack.up()))).toEqual([]);
  });

  it("is found unchanged by refresh", async () => {
    const stack = await open(two);
    expect(changes(ok(await stack.refresh()))).toEqual([]);
    expect(changes(ok(await stack.up()))).toEqual([]);
  });

  it("takes in a table without a restart, and reads no table twice", async () => {
    const before = gatewayStatus();
    expect(changes(ok(await (await open(three)).up()))).toEqual(["Publication update"]);
    await streaming(["nation", "event", "region"]);
    const after = gatewayStatus();
    expect(after.pid).toBe(before.pid);
    expect(after.tables.map(({ name, snapshots }) => `${name} ${snapshots}`).sort()).toEqual([
      "event 1",
      "nation 1",
      "region 1",
    ]);
  });

  it("is repaired where somebody killed its processes", async () => {
    const stack = await open(three);
    const { pid } = gatewayStatus();
    await endProcesses(join(folder, "state", outputs.slotName as string, "applier"));
    ok(await stack.refresh());
    await client.query("DELETE FROM nation WHERE id <= 10; INSERT INTO region VALUES (6, 6)");
    expect(changes(ok(await stack.up()))).toEqual(["IngestionPipeline update"]);
    expect(gatewayStatus().pid).toBe(pid);
    await applied({ nation: 90, event: 100, region: 6 });
  });

  it("is made anew from the slot on where somebody dropped it", async () => {
    const stack = await open(three);
    await until("the slot is dropped", async () => {
      await client.query(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL",
      );
      await client
        .query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE active_pid IS NULL")
        .catch(() => {});
      return (await slotNames(client)).length === 0;
    });
    ok(await stack.refresh());
    const repaired = ok(await stack.up());
    expect(changes(repaired).filter((change) => change.startsWith("ReplicationSlot"))).toEqual([
      "ReplicationSlot create",
    ]);
    expect(changes(repaired).join()).not.toMatch(/Connection|Publication/);
    expect(await slotNames(client)).toEqual([outputs.slotName]);
    await client.query("DELETE FROM nation WHERE id <= 20");
    await streaming(["nation", "event", "region"]);
    await applied({ nation: 80, event: 100, region: 6 });
    expect(changes(ok(await stack.refresh()))).toEqual([]);
  });

  it("keeps the password where it was given", () => {
    expect(filesHolding(folder, canary)).toEqual([]);
    expect(processesNaming(canary)).toEqual([]);
    expect(said.join("\n")).not.toContain(canary);
  });

  it("is destroyed, and the database is as before; the tables stay", async () => {
    ok(await (await open(three)).destroy());
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
    expect(processesNaming(join(folder, "state"))).toEqual([]);
    expect(await identities()).toBe("event=d nation=d region=d");
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    expect(readdirSync(join(folder, "lake", "public")).sort()).toEqual(["event", "nation", "region"]);
    expect(said.join("\n")).not.toContain(canary);
  });
});

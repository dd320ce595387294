// Contract: Databricks' own pipelines, fed by our publication and slot, are made after these and deleted before them; what the
// server fills in by itself changes nothing at the next preview; the tables' pipeline is neither deleted nor replaced while
// it is protected; a table more is an update of the ingestion pipeline alone.
// Invariants 5 (after delete no slot or publication remains), 6 (no secret leaves its place).
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import { type OperationResult, Stack } from "../engine/engine";
import type { WorkspaceFile } from "../support/databricks-provider";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { errorsOf, filesHolding, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  client = await server.client();
  await client.query(`CREATE SCHEMA "Sales"; CREATE TABLE "Sales"."Orders" (id int PRIMARY KEY, state text);
    CREATE TABLE "Sales".item (id int PRIMARY KEY)`);
  folder = mkdtempSync(join(tmpdir(), "sluice-managed-"));
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const dist = resolve(__dirname, "../../dist/test");

/** What the operations have printed. */
const said: string[] = [];

/** The test engine, whatever is on PATH: the plug-in is in no registry of packages. */
function open(destination: object = {}, tables = ["Sales.Orders"], more: object = {}) {
  const args = {
    source: server.source(),
    tables,
    ...more,
    securables: {
      create: ["schema", "clusterPolicy"],
      principal: "runner",
      readers: ["analysts"],
      secrets: { scope: "shop" },
    },
    destination: {
      kind: "databricks",
      mode: "managed",
      catalog: "Main",
      schema: "Sales",
      connection: { host: "db.example.com" },
      schedule: { quartzCron: "0 0/15 * * * ?" },
      ...destination,
    },
  };
  return new Stack({
    projectDir: join(__dirname, "managed-program"),
    stack: "managed",
    stateFile: join(folder, "managed.json"),
    config: { "sluice-managed:args": JSON.stringify(args) },
    env: { PULUMI_NODEJS_TRANSPILE_ONLY: "true", DATABRICKS_STAND_IN: join(folder, "workspace.json") },
    plugins: { databricks: join(dist, "support/databricks-provider.js") },
    onLine: (line) => said.push(line),
  });
}

const workspace = () => JSON.parse(readFileSync(join(folder, "workspace.json"), "utf8")) as WorkspaceFile;

function steps(result: OperationResult): string[] {
  return ok(result)
    .steps.filter(({ op, type }) => !["same", "refresh"].includes(op) && /^(databricks:|pulumi-nodejs:)/.test(type))
    .map(({ op, type, name }) => `${op} ${type.split(":").at(-1)} ${name}`);
}

longTest(
  "is made after publication and slot, and no secret is readable",
  async () => {
    const stack = open();
    const wanted = [
      "create Connection ingestion",
      "create Publication ingestion",
      "create ReplicationSlot ingestion",
      "create Connection ingestion",
      "create Pipeline ingestion-gateway",
      "create Pipeline ingestion-ingestion",
      "create Job ingestion-schedule",
      "create Schema ingestion",
      "create ClusterPolicy ingestion",
      ...["main", "main.sales", "connection"].map((on) => `create Grant ingestion/runner/${on}`),
      ...["main", "main.sales"].map((on) => `create Grant ingestion/analysts/${on}`),
      ...["SecretScope", "Secret", "SecretAcl"].map((type) => `create ${type} ingestion`),
    ];
    expect(steps(await stack.preview()).sort()).toEqual([...wanted].sort());
    expect(await slotNames(client)).toEqual([]);
    const made = steps(await stack.up());
    expect([...made].sort()).toEqual([...wanted].sort());
    const at = (step: string) => made.indexOf(step);
    expect(at("create Schema ingestion")).toBeLessThan(at("create Grant ingestion/runner/main.sales"));
    expect(at("create Grant ingestion/runner/main.sales")).toBeLessThan(at("create Pipeline ingestion-gateway"));
    expect(at("create ReplicationSlot ingestion")).toBeLessThan(at("create Pipeline ingestion-gateway"));
    expect(at("create Pipeline ingestion-gateway")).toBeLessThan(at("create Pipeline ingestion-ingestion"));

    const [slotName] = await slotNames(client);
    const [publicationName] = await publicationNames(client);
    const pipelines = Object.values(workspace().resources).filter(({ type }) => type.endsWith(":Pipeline"));
    const { ingestionDefinition } = pipelines[1].inputs as { ingestionDefinition: Record<string, unknown> };
    expect(ingestionDefinition.sourceConfigurations).toEqual([
      { catalog: { sourceCatalog: server.database, postgres: { slotConfig: { slotName, publicationName } } } },
    ]);
    // Databricks has the password; the state only encrypted.
    expect(filesHolding(folder, server.password)).toEqual([join(folder, "workspace.json")]);
  },
  120_000,
);

longTest(
  "is the same at the next preview, and after a refresh, whatever the server has filled in",
  async () => {
    const again = await open().preview();
    expect(again.steps.filter(({ op }) => op !== "same").map(({ type, diffKeys }) => `${type} ${diffKeys}`)).toEqual(
      [],
    );
    expect(steps(again)).toEqual([]);
    expect(steps(await open().refresh())).toEqual([]);
    expect(steps(await open({ catalog: "MAIN", schema: "sales" }).preview())).toEqual([]);
  },
  120_000,
);

longTest(
  "takes a table more by an update of the ingestion pipeline, after the publication has it",
  async () => {
    const made = steps(await open({}, ["Sales.item", "Sales.Orders"]).up());
    expect(made).toEqual(["update Publication ingestion", "update Pipeline ingestion-ingestion"]);
    expect(steps(await open({}, ["Sales.Orders", "Sales.item"]).preview())).toEqual([]);
  },
  120_000,
);

longTest(
  "is neither replaced nor deleted while its tables are protected",
  async () => {
    const tables = ["Sales.Orders", "Sales.item"];
    const pipelines = () =>
      Object.entries(workspace().resources).filter(([, { type }]) => /:(Pipeline|Job|Connection|Schema)$/.test(type));
    const before = pipelines();
    expect(errorsOf(await open({ staging: { schema: "elsewhere" } }, tables).preview())).toMatch(
      /unable to replace resource ".*ingestion-gateway", as it is protected/,
    );
    // The provider would leave the connection's name as it was: another one is another, and so another gateway.
    const renamed = await open({ connection: { host: "db.example.com", name: "other" } }, tables).preview();
    expect(errorsOf(renamed)).toMatch(/unable to replace resource ".*ingestion-gateway", as it is protected/);
    const connections = renamed.steps.filter(({ type }) => type === "databricks:index/connection:Connection");
    expect(connections.map(({ op }) => op)).toContainEqual(expect.stringMatching(/replace/));
    const destroyed = await open({}, tables).destroy();
    expect(errorsOf(destroyed)).toMatch(/protect/);
    expect(pipelines()).toEqual(before);
    expect(await slotNames(client)).toHaveLength(1);
  },
  120_000,
);

longTest(
  "goes over to another slot in place, and says that it wants a full refresh",
  async () => {
    const tables = ["Sales.Orders", "Sales.item"];
    const another = () => open({}, tables, { slotName: "another_slot" });
    said.length = 0;
    expect(steps(await another().preview())).toContain("update Pipeline ingestion-ingestion");
    expect(said.join("\n")).toMatch(/warning: ReplicationSlot \S+: .*start a full refresh/);
    expect(steps(await another().up())).toContain("update Pipeline ingestion-ingestion");
    expect(await slotNames(client)).toEqual(["another_slot"]);
    const pipelines = Object.values(workspace().resources).filter(({ type }) => type.endsWith(":Pipeline"));
    expect(JSON.stringify(pipelines[1].inputs)).toContain('"slotName":"another_slot"');
    said.length = 0;
    expect(steps(await another().preview())).toEqual([]);
    expect(said.join("\n")).not.toMatch(/full refresh/);
  },
  120_000,
);

longTest(
  "is deleted before the slot, once it isn't protected, and nothing remains",
  async () => {
    const stack = open({ protectTables: false }, ["Sales.Orders", "Sales.item"], { slotName: "another_slot" });
    const restored = steps(await stack.up());
    expect(restored.filter((step) => !/^create (Grant|Secret|SecretAcl|SecretScope) /.test(step))).toEqual([]);
    const gone = steps(await stack.destroy());
    const at = (step: string) => gone.indexOf(step);
    expect(at("delete Pipeline ingestion-ingestion")).toBeLessThan(at("delete Pipeline ingestion-gateway"));
    expect(at("delete Pipeline ingestion-gateway")).toBeLessThan(at("delete ReplicationSlot ingestion"));
    expect(at("delete ReplicationSlot ingestion")).toBeLessThan(at("delete Publication ingestion"));
    expect(at("delete Pipeline ingestion-gateway")).toBeLessThan(at("delete Grant ingestion/runner/main.sales"));
    expect([await slotNames(client), await publicationNames(client)]).toEqual([[], []]);
    // The schema stays, with the tables.
    expect(Object.values(workspace().resources).map(({ type }) => type)).toEqual(["databricks:index/schema:Schema"]);
  },
  120_000,
);

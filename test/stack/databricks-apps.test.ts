// Contract: a stack whose gateway and applier are Databricks Apps is made, goes on through deployments of both (also where a
// deployment's process begins before the former has ended) and the loss of either's machine with its disk, without a change lost
// or applied twice; destroy leaves no app, secret scope, source, staging, slot or publication.
// Invariants 3 (exactly once), 4 (the destination equals the source), 5 (nothing of ours remains), 6 (no secret leaves its place).
// The warehouse is a recorded engine without rows, so 3 and 4 are told of what is staged, and of the ranges of staged commits
// that statements have had; with SLUICE_TEST_SPARK=PYTHON:FOLDER it is Spark with Delta, and rows are compared.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import { AppWarehouse } from "../support/app-warehouse";
import { until } from "../support/conditions";
import { DatabricksWorkspace } from "../support/databricks-workspace";
import { compareTable } from "../support/equality";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { readRecords, replayStaging } from "../support/staging-replay";
import { filesHolding, openIngestion, publicationNames, slotNames } from "./ingestion-stack";
import { changedResources, ok } from "./operation-outcome";

const volume = "main.sluice.staging";
/** For one step; with Spark on a machine that does much else it takes long. */
const waitMs = 300_000;
const inVolume = `/Volumes/${volume.replaceAll(".", "/")}`;
let server: TestPostgres;
let client: pg.Client;
let folder: string;
let workspace: DatabricksWorkspace;
let warehouse: AppWarehouse;
let principal: { clientId: string; clientSecret: string };
let writes: { stop(): Promise<number> } | null = null;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  client = await server.client();
  await client.query(`
    CREATE TABLE public.item (id bigint PRIMARY KEY, name text);
    INSERT INTO public.item SELECT g, 'new' FROM generate_series(1, 2000) g`);
  folder = mkdtempSync(join(tmpdir(), "sluice-apps-stack-"));
  workspace = await DatabricksWorkspace.open();
  principal = workspace.addServicePrincipal();
  await workspace.addVolume(volume, principal.clientId);
  warehouse = await AppWarehouse.open(principal, folder);
  workspace.apps.trusted = join(folder, "authority.pem");
  writeFileSync(workspace.apps.trusted, warehouse.caCert);
}, 400_000);

afterAll(async () => {
  await writes?.stop();
  await workspace?.close();
  await warehouse?.close();
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}, 60_000);

function open(more: { gateway?: object; trigger?: object } = {}) {
  const secret = { env: "SLUICE_TEST_CLIENT_SECRET" };
  const { clientId } = principal;
  const login = { host: workspace.host, clientId, clientSecret: secret };
  const args = {
    // As the platform's compute would reach it: an app refuses a source at its own loopback.
    source: { ...server.source(), host: "::ffff:127.0.0.1", sslMode: "disable" },
    tables: ["public.item"],
    stateDir: "/var/lib/sluice",
    gateway: { staging: { kind: "volume", volume, path: "shop", workspace: login }, ...more.gateway },
    destination: {
      ...{ kind: "databricks", mode: "warehouse", catalog: warehouse.catalog, schema: "lake", ...warehouse.address },
      ...{
        clientId,
        clientSecret: secret,
        stagedPath: warehouse.stagedPath(workspace.files.local(`${inVolume}/shop`)),
      },
    },
    applier: { trigger: { kind: "continuous", intervalMs: 100, ...more.trigger } },
    deployment: { kind: "databricks", workspace: login },
  };
  const env = { SLUICE_TEST_CLIENT_SECRET: principal.clientSecret };
  return openIngestion(folder, "apps", args, {}, { env, onLine: (line) => said.push(line) });
}

const nameOf = (role: string) => [...workspace.apps.apps.keys()].find((name) => name.endsWith(`-${role}`)) ?? role;

async function statusOf<T>(role: string): Promise<T | null> {
  const port = workspace.apps.apps.get(nameOf(role))?.run?.port;
  if (port === undefined) return null;
  const answer = await fetch(`http://127.0.0.1:${port}/api/status`).catch(() => null);
  return answer?.ok === true ? ((await answer.json()) as T) : null;
}

const staging = () => workspace.files.local(`${inVolume}/shop`);

/** Writes without an end, in small transactions, until it is told to. */
function writer(): { stop(): Promise<number> } {
  let [isOver, count] = [false, 0];
  const work = (async () => {
    const own = await server.client();
    for (; !isOver; count++) {
      const id = 10_000 + count;
      await own.query(`
        INSERT INTO public.item VALUES (${id}, 'w${count}');
        UPDATE public.item SET name = 'u${count}' WHERE id IN (${1 + (count % 2_000)}, ${id - 3});
        DELETE FROM public.item WHERE id = ${id - 7}`);
      await new Promise((done) => setTimeout(done, 5));
    }
    await own.end();
  })();
  return {
    stop: async () => {
      isOver = true;
      await work;
      return count;
    },
  };
}

/** All that is committed now is staged, and all that is staged is applied. */
async function caughtUp(): Promise<void> {
  const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
  let staged = 0;
  await until(
    "all is staged",
    async () => {
      const status = await statusOf<GatewayStatus>("gateway");
      const sql = "SELECT $1::pg_lsn >= $2::pg_lsn AS is_there";
      staged = status?.stagedSequence ?? 0;
      return status !== null && (await client.query(sql, [status.acknowledgedLsn, rows[0].lsn])).rows[0].is_there;
    },
    waitMs,
  );
  await until(
    "all is applied",
    async () => ((await statusOf<ApplierStatus>("applier"))?.appliedSequence ?? 0) >= staged,
    waitMs,
  );
}

/** Waits until a process has staged or applied more than it has now. */
async function goesOn(): Promise<void> {
  const before = (await statusOf<ApplierStatus>("applier"))?.appliedSequence ?? 0;
  await until(
    "it goes on",
    async () => ((await statusOf<ApplierStatus>("applier"))?.appliedSequence ?? 0) > before + 1,
    waitMs,
  );
}

const snapshots = () =>
  readRecords(staging()).flatMap(({ events }) => events.filter(({ kind }) => kind === "snapshot-begin")).length;

async function holds(): Promise<void> {
  const replayed = (await replayStaging(staging())).get("public.item");
  const rows = replayed?.rows.map(({ id, name }) => `${id} ${name}`).sort();
  const source = await client.query<{ row: string }>("SELECT id || ' ' || name AS row FROM public.item");
  expect(rows).toEqual(source.rows.map(({ row }) => row).sort());
  const table = await warehouse.table("lake", "item");
  if (table !== null) {
    const { differences, rows: compared } = await compareTable(client, { schema: "public", name: "item" }, table);
    expect(differences).toEqual([]);
    expect(compared).toBe(source.rows.length);
    return;
  }
  const effects = warehouse.effects("item");
  effects.slice(1).forEach(([first], at) => {
    expect(first).toBe(effects[at][1] + 1);
  });
  const changes = readRecords(staging()).filter(({ events }) => events.some(({ kind }) => kind === "changes"));
  const last = changes.at(-1)?.sequence ?? 0;
  if (last > 0) expect(effects.at(-1)?.[1]).toBeGreaterThanOrEqual(last);
}

longTest(
  "is made, and no secret is in a source of an app, its log or the state",
  async () => {
    ok(await (await open()).up());
    expect(workspace.apps.apps.size).toBe(2);
    await caughtUp();
    await holds();
    for (const secret of [server.password, principal.clientSecret]) {
      expect(filesHolding(folder, secret)).toEqual([]);
      const sources = [...workspace.apps.files].filter(([path]) => !path.endsWith(".tgz"));
      const texts = sources.map(([, content]) => content.toString("utf8"));
      texts.push(...[...workspace.apps.apps.values()].map(({ log }) => log), said.join("\n"));
      expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    }
    expect(changedResources(ok(await (await open()).preview()))).toEqual([]);
  },
  600_000,
);

longTest(
  "goes on through deployments and lost machines",
  async () => {
    writes = writer();
    await goesOn();
    // Each half on a machine of its own, whose disk goes with it: what the gateway hadn't staged, and what the applier was at.
    await workspace.apps.lose(nameOf("gateway"));
    await goesOn();
    warehouse.onMerge("item", () => workspace.apps.lose(nameOf("applier")));
    await until("a machine was lost amid a statement", async () => warehouse.hasMerged, waitMs);
    await goesOn();
    workspace.apps.isOverlapping = true;
    const both = { gateway: { batch: { ageMsMax: 250 } }, trigger: { intervalMs: 150 } };
    expect(changedResources(ok(await (await open(both)).up()))).toEqual(["update Gateway", "update IngestionPipeline"]);
    await goesOn();
    workspace.apps.isOverlapping = false;
    const again = { ...both, gateway: { batch: { ageMsMax: 300 } } };
    expect(changedResources(ok(await (await open(again)).up()))).toEqual(["update Gateway"]);
    await goesOn();
    expect(changedResources(ok(await (await open(again)).refresh()))).toEqual([]);
    expect(await writes.stop()).toBeGreaterThan(100);
    await caughtUp();
    await holds();
    expect(snapshots()).toBe(1);
    if (!warehouse.hasRows) expect(warehouse.effects("item").length).toBeGreaterThan(10);
    // Those that were told to end did, within the platform's time.
    expect([...workspace.apps.apps.values()].map(({ kills }) => kills)).toEqual([0, 0]);
  },
  1_200_000,
);

longTest(
  "is destroyed, and leaves nothing",
  async () => {
    ok(await (await open()).destroy());
    expect(workspace.apps.apps.size).toBe(0);
    expect(workspace.apps.files.size).toBe(0);
    expect(workspace.apps.scopes.size).toBe(0);
    expect(existsSync(staging())).toBe(false);
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
  },
  600_000,
);

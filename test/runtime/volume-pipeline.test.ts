// Contract: staged in a Unity Catalog volume, whose requests and answers get lost, whose tokens end, and with both processes
// killed in between, the destination equals the source (invariants 1 to 4); what is sent is what was made.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApplierStatus, TableRun } from "../../runtime/status";
import { DatabricksWorkspace, type RequestFault } from "../support/databricks-workspace";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { RuntimeProcess } from "../support/runtime-process";

const volume = "main.sluice.staging";
const stagingPath = "/Volumes/main/sluice/staging/orders";
const main = resolve(__dirname, "../../dist/runtime/main.js");
const place = { catalog: "main", schema: "shop", startTimeoutMs: 0 };
let postgres: TestPostgres;
let workspace: DatabricksWorkspace;
let pipeline: Pipeline;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-volume-pipeline-"));
  workspace = await DatabricksWorkspace.open({ pageEntriesMax: () => 4, latencyMs: 2 });
  await workspace.files.makeVolume(volume);
  const { clientId, clientSecret } = workspace.addServicePrincipal();
  workspace.catalog.grantVolume(volume, clientId);
  const secretFile = join(folder, "secret");
  writeFileSync(secretFile, `${clientSecret}\n`);
  postgres = await startPostgres();
  pipeline = await Pipeline.open(
    postgres,
    `CREATE TABLE item (id int PRIMARY KEY, name text, price numeric(12, 2));
     INSERT INTO item SELECT i, 'item ' || i, i FROM generate_series(1, 20000) i;
     CREATE TABLE note (body text, at timestamptz); ALTER TABLE note REPLICA IDENTITY FULL;
     INSERT INTO note SELECT 'note ' || i, now() FROM generate_series(1, 500) i`,
    {
      stagingPath,
      staging: {
        kind: "volume",
        workspace: { host: workspace.host, clientId, clientSecret: { file: secretFile } },
        localPath: join(folder, "gateway-local"),
        // Less than a batch has.
        cacheBytesMax: 10_000,
      },
      snapshot: { workers: 2, rangeBytes: 256 * 1024 },
    },
  );
});
afterAll(async () => {
  await pipeline?.close();
  await postgres?.stop();
  await workspace?.close();
  rmSync(folder, { recursive: true, force: true });
});

const differences = async () => [...(await pipeline.differences("item")), ...(await pipeline.differences("note"))];

async function change(round: number): Promise<void> {
  const { client } = pipeline;
  await client.query(`INSERT INTO item SELECT i, 'new ' || i, 1 FROM generate_series($1::int, $1::int + 299) i`, [
    100_000 + round * 1_000,
  ]);
  await client.query("UPDATE item SET price = price + 1 WHERE id % 7 = $1::int % 7", [round]);
  await client.query("DELETE FROM item WHERE id % 97 = $1::int", [round]);
  await client.query("DELETE FROM note WHERE body = 'note ' || $1::int", [round + 1]);
  if (round === 3) await client.query("TRUNCATE note");
  await client.query("INSERT INTO note VALUES ('round ' || $1::int, now())", [round]);
}

describe("a pipeline staged in a volume", () => {
  it("carries snapshots and changes", async () => {
    await pipeline.start().settled();
    await change(0);
    await pipeline.settled();
    expect(await differences()).toEqual([]);
  });

  it("has sent what is there, and not much more", () => {
    const data = workspace.files.local(`${stagingPath}/data`);
    const staged = readdirSync(data).reduce((sum, name) => sum + statSync(join(data, name)).size, 0);
    expect(staged).toBeGreaterThan(100_000);
    const sent = workspace.requests.filter(({ method, path }) => method === "PUT" && path.includes("/data/")).length;
    expect(sent).toBe(readdirSync(data).length);
    expect(readdirSync(join(folder, "gateway-local", "spool"))).toEqual([]);
  });

  it("goes through lost requests and answers, withdrawn tokens, and kills", async () => {
    const random = new Random(11);
    const faults: RequestFault[] = [
      { kind: "lost-request" },
      { kind: "lost-response" },
      { kind: "status", status: 503, body: "<html><title>503</title></html>" },
      { kind: "status", status: 429, errorCode: "REQUEST_LIMIT_EXCEEDED" },
      { kind: "cut", bytes: 100 },
      { kind: "slow", ms: 100 },
    ];
    workspace.options.decide = () => (random.between(1, 6) === 1 ? random.choose(faults) : null);
    for (let round = 1; round <= 6; round++) {
      await change(round);
      workspace.revokeTokens();
      if (round === 2) await pipeline.gateway.kill();
      if (round === 4) await pipeline.applier.kill();
      if (round === 3) pipeline.gateway.start();
      if (round === 5) pipeline.applier.start();
    }
    await pipeline.settled(60_000);
    workspace.options.decide = undefined;
    expect(await differences()).toEqual([]);
  });

  it("waits for a workspace that is away, says so, and goes on", async () => {
    workspace.options.decide = ({ method }) => (method === "PUT" ? { kind: "status", status: 503 } : null);
    await change(7);
    const waiting = await pipeline.gateway.untilStatus("waiting", ({ state }) => state.kind === "waiting", 30_000);
    expect(waiting.state).toMatchObject({ kind: "waiting", reason: expect.stringContaining("503") as string });
    workspace.options.decide = undefined;
    await pipeline.settled();
    expect(await differences()).toEqual([]);
  });

  // No warehouse is there: its runs fail.
  it("keeps the runs of a warehouse's applier, whose folder goes with its pod", async () => {
    const { staging } = pipeline.gateway.config;
    if (staging?.kind !== "volume") throw new Error("no volume");
    const { host, ...identity } = staging.workspace;
    const pod = (name: string) =>
      new RuntimeProcess<ApplierStatus>(join(folder, name), {
        ...{ version: 1, role: "applier", id: "warehouse", statusPath: join(folder, name, "status.json"), stagingPath },
        staging: { ...staging, localPath: join(folder, name, "local") },
        destination: { kind: "databricks", mode: "warehouse", host, ...identity, warehouseId: "none", ...place },
      });
    const first = pod("first").start();
    const { tables } = await first.untilStatus("a run", ({ tables: [item] }) => item?.runs[0]?.error !== undefined);
    const [run] = tables[0].runs;
    await first.stop();
    rmSync(first.folder, { recursive: true });
    const second = pod("second").start();
    const { tables: later } = await second.untilStatus("runs", ({ tables: found }) => found.length > 0);
    await second.kill();
    expect(later[0].runs.at(-1)).toMatchObject({ startedAt: run.startedAt, error: { isQuarantined: false } });
    expect(readdirSync(workspace.files.local(`${stagingPath}/runs`))).toEqual(["warehouse.jsonl"]);
    const told = await promisify(execFile)(process.execPath, [
      ...[main, "runs", "--config", join(second.folder, "applier.json"), "--json"],
    ]);
    expect(JSON.parse(told.stdout).runs.map(({ startedAt }: TableRun) => startedAt)).toContain(run.startedAt);
  });
});

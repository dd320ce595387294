// Contract: `sluice runs --pipeline` tells what each update has done to each table, from the event log's pages, and no more than
// was asked for; `sluice refresh` starts an update of the tables that are named, in full only where that is said.
import { execFile } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pipelineRuns, tableOf } from "../../../runtime/commands/pipeline-runs";
import type { PipelineEvent } from "../../../runtime/databricks/pipeline-api";
import type { LoggedEvent } from "../../support/databricks-pipelines";
import { DatabricksWorkspace } from "../../support/databricks-workspace";
import { builtMainPath } from "../../support/runtime-process";

let seconds = 0;

/** A second later than the one before. */
const event = (updateId: string, more: Record<string, unknown>): LoggedEvent => ({
  id: `e${++seconds}`,
  timestamp: new Date(1_767_225_600_000 + seconds * 1_000).toISOString(),
  level: "INFO",
  origin: { update_id: updateId, ...(more.origin as object) },
  ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== "origin")),
});

const flow = (updateId: string, table: string, status: string, progress: object = {}, more: object = {}): LoggedEvent =>
  event(updateId, {
    event_type: "flow_progress",
    origin: { dataset_name: table, flow_name: table },
    message: `Flow '${table}' is ${status}.`,
    details: { flow_progress: { status, ...progress } },
    ...more,
  });

const update = (updateId: string, state: string, more: object = {}): LoggedEvent =>
  event(updateId, { event_type: "update_progress", details: { update_progress: { state } }, ...more });

const refusal = "Sluice: table public.bare: an update left out a long value";
const failure = {
  level: "ERROR",
  error: {
    fatal: true,
    exceptions: [
      { class_name: "org.apache.spark.sql.streaming.StreamingQueryException", message: "[STREAM_FAILED] terminated" },
      { class_name: "org.apache.spark.SparkException", message: refusal },
    ],
  },
};

/** An update that has done its work in two batches for one table, and failed for another. */
const ordinary = (id: string): LoggedEvent[] => [
  update(id, "INITIALIZING"),
  flow(id, "main.shop.orders", "QUEUED"),
  flow(id, "main.shop.orders", "STARTING"),
  flow(id, "main.shop.bare", "STARTING"),
  flow(id, "main.shop.orders", "RUNNING", {
    metrics: { num_upserted_rows: 90, num_deleted_rows: 4, num_output_bytes: 700, num_output_rows: null },
    data_quality: { dropped_records: 3 },
  }),
  flow(id, "main.shop.orders", "RUNNING", { metrics: { num_upserted_rows: 10, num_deleted_rows: 1 } }),
  flow(id, "main.shop.bare", "FAILED", {}, failure),
  flow(id, "main.shop.orders", "COMPLETED", { metrics: null }),
  update(id, "FAILED", failure),
];

const asEvents = (events: LoggedEvent[]) => events as unknown as PipelineEvent[];

describe("runs of a declarative pipeline", () => {
  it("are told by update and table, the newest first, in whatever order events come", () => {
    const events = [...ordinary("u1"), flow("u2", "main.shop.orders", "RUNNING", { metrics: { num_output_rows: 5 } })];
    const runs = pipelineRuns(asEvents(events.toReversed()));
    expect(runs).toEqual(pipelineRuns(asEvents(events)));
    expect(runs.map(({ updateId, name, status }) => [updateId, name, status])).toEqual([
      ["u2", "orders", "running"],
      ["u1", "bare", "failed"],
      ["u1", "orders", "succeeded"],
    ]);
    expect(runs[2]).toMatchObject({
      upserted: 100,
      deleted: 5,
      dropped: 3,
      bytes: 700,
      durationMs: 6_000,
      failPercent: 0,
    });
    expect(runs[1]).toMatchObject({ error: { message: refusal }, failPercent: 100 });
    expect(runs[0]).toMatchObject({ upserted: 5, endedAt: null });
  });

  it("of an update that failed before any table has one that says why; one that is cancelled leaves its tables interrupted", () => {
    const failed = [update("u1", "INITIALIZING"), update("u1", "FAILED", failure)];
    expect(pipelineRuns(asEvents(failed))).toMatchObject([{ name: "(update)", error: { message: refusal } }]);
    const cancelled = [flow("u2", "main.shop.t", "RUNNING"), update("u2", "CANCELED")];
    expect(pipelineRuns(asEvents(cancelled))).toMatchObject([{ name: "t", status: "interrupted" }]);
    const again = [flow("u3", "t", "FAILED", {}, failure), flow("u3", "t", "RUNNING"), flow("u3", "t", "COMPLETED")];
    const [run] = pipelineRuns(asEvents(again));
    expect(run).toMatchObject({ schema: "", name: "t", status: "succeeded" });
    expect(run.error).toBeUndefined();
  });

  it("reads names with backticks", () => {
    expect(tableOf("main.shop.orders")).toEqual({ schema: "shop", name: "orders" });
    expect(tableOf("`main`.`a.b`.`odd``name`")).toEqual({ schema: "a.b", name: "odd`name" });
    expect(tableOf("orders")).toEqual({ schema: "", name: "orders" });
  });
});

describe("commands on a workspace", () => {
  let workspace: DatabricksWorkspace;
  let environment: Record<string, string>;

  beforeAll(async () => {
    workspace = await DatabricksWorkspace.open();
    environment = { DATABRICKS_HOST: workspace.host, DATABRICKS_TOKEN: workspace.addToken("ops@example.com") };
    workspace.pipelines.add("p1", Array.from({ length: 60 }, (_, at) => ordinary(`u${at}`)).flat());
  });

  afterAll(() => workspace?.close());

  const run = (...parameters: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const env = { ...process.env, ...environment };
      execFile(process.execPath, [builtMainPath, ...parameters], { env }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });

  it("shows so many runs, of all tables or of some, reading no more pages than that takes", async () => {
    const { stdout, code } = await run("runs", "--pipeline", "p1", "--limit", "3", "--json");
    expect(code).toBe(0);
    const { runs } = JSON.parse(stdout);
    expect(runs.map(({ updateId, name }: { updateId: string; name: string }) => `${updateId} ${name}`)).toEqual([
      "u59 bare",
      "u59 orders",
      "u58 bare",
    ]);
    expect(runs[1]).toMatchObject({ upserted: 100, deleted: 5 });
    expect(workspace.requests.length).toBeLessThan(4);
    const all = await run("runs", "--pipeline", "p1", "--table", "shop.orders", "--limit", "100");
    expect(all.stdout.split("\n").filter((line) => line.includes("shop.orders"))).toHaveLength(60);
    const some = await run("runs", "--pipeline", "p1", "--limit", "1");
    expect(some.stdout).toContain(refusal);
  });

  it("tells a pipeline that isn't there, with what an id is", async () => {
    const { stderr, code } = await run("runs", "--pipeline", "p2");
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/pipeline p2.*404.*declarative\.pipelineId/s);
  });

  it("starts an update of the tables that are named, one at a time", async () => {
    const started = () => workspace.pipelines.updates.get("p1")?.map(({ body }) => body);
    const first = await run("refresh", "--pipeline", "p1", "--table", "main.shop.orders", "--full", "--json");
    expect(JSON.parse(first.stdout)).toMatchObject({ pipelineId: "p1", tables: ["main.shop.orders"], full: true });
    expect(started()).toEqual([{ full_refresh_selection: ["main.shop.orders"] }]);
    const refused = await run("refresh", "--pipeline", "p1", "--all");
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toMatch(/409.*wait for its end/s);
    workspace.pipelines.end("p1");
    await run("refresh", "--pipeline", "p1", "main.shop.a", "main.shop.b");
    workspace.pipelines.end("p1");
    await run("refresh", "--pipeline", "p1", "--all");
    expect(started()?.slice(1)).toEqual([
      { refresh_selection: ["main.shop.a", "main.shop.b"] },
      { full_refresh: false },
    ]);
    workspace.pipelines.end("p1");
    const unsaid = await run("refresh", "--pipeline", "p1");
    expect(unsaid.stderr).toContain("--table NAME or --all");
  });
});

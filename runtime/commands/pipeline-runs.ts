import type { PipelineEvent } from "../databricks/pipeline-api";

/** A table's part in an update of a declarative pipeline, as Databricks' event log tells it. */
export interface PipelineRun {
  updateId: string;
  /** of the table in the workspace; of an update that failed before any table, "" and "(update)" */
  schema: string;
  name: string;
  type: "pipeline";
  /** `skipped`: by the engine, as after another's failure */
  status: "running" | "succeeded" | "failed" | "interrupted" | "skipped";
  startedAt: string;
  endedAt: string | null;
  durationMs: number;
  /** rows that were written, or appended */
  upserted: number;
  deleted: number;
  /** by expectations */
  dropped: number;
  bytes: number;
  failPercent: number;
  error?: { message: string };
}

const flowStatus: Record<string, PipelineRun["status"]> = {
  QUEUED: "running",
  PLANNING: "running",
  STARTING: "running",
  RUNNING: "running",
  IDLE: "running",
  COMPLETED: "succeeded",
  FAILED: "failed",
  STOPPED: "interrupted",
  CANCELED: "interrupted",
  SKIPPED: "skipped",
  EXCLUDED: "skipped",
};

const lastStates = new Set(["COMPLETED", "FAILED", "CANCELED"]);

/** Pure: runs by update and table, the newest first. @param events in any order; those of an update all or none */
export function pipelineRuns(events: readonly PipelineEvent[]): PipelineRun[] {
  const ordered = [...events].sort((a, b) => (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : 0));
  const runs = new Map<string, PipelineRun>();
  const open = (event: PipelineEvent, updateId: string, table: { schema: string; name: string }) => {
    const key = JSON.stringify([updateId, table.schema, table.name]);
    const found: PipelineRun = runs.get(key) ?? {
      updateId,
      ...table,
      type: "pipeline",
      status: "running",
      startedAt: event.timestamp,
      endedAt: null,
      durationMs: 0,
      upserted: 0,
      deleted: 0,
      dropped: 0,
      bytes: 0,
      failPercent: 0,
    };
    runs.set(key, found);
    return found;
  };
  for (const event of ordered) {
    const updateId = event.origin?.update_id;
    if (updateId === undefined) continue;
    const table = event.origin?.dataset_name ?? event.origin?.flow_name;
    const flow = event.details?.flow_progress;
    const state = event.details?.update_progress?.state;
    if (flow !== undefined && table !== undefined) {
      const run = open(event, updateId, tableOf(table));
      count(run, flow);
      const status = flowStatus[flow.status ?? ""];
      if (status !== undefined) settle(run, status, event);
    } else if (state !== undefined && lastStates.has(state)) {
      const ofUpdate = [...runs.values()].filter((run) => run.updateId === updateId);
      for (const run of ofUpdate) if (run.endedAt === null) settle(run, "interrupted", event);
      if (state === "FAILED" && !ofUpdate.some(({ status }) => status === "failed")) {
        settle(open(event, updateId, { schema: "", name: "(update)" }), "failed", event);
      }
    }
  }
  return [...runs.values()].sort((a, b) => (a.startedAt < b.startedAt ? 1 : a.startedAt > b.startedAt ? -1 : 0));
}

function count(
  run: PipelineRun,
  { metrics, data_quality }: NonNullable<NonNullable<PipelineEvent["details"]>["flow_progress"]>,
) {
  run.upserted += metrics?.num_upserted_rows ?? metrics?.num_output_rows ?? 0;
  run.deleted += metrics?.num_deleted_rows ?? 0;
  run.bytes += metrics?.num_output_bytes ?? 0;
  run.dropped += data_quality?.dropped_records ?? 0;
}

function settle(run: PipelineRun, status: PipelineRun["status"], event: PipelineEvent): void {
  // What is told of an attempt that is repeated is over with the next.
  run.status = status;
  run.failPercent = status === "failed" ? 100 : 0;
  run.durationMs = Math.max(0, Date.parse(event.timestamp) - Date.parse(run.startedAt));
  run.endedAt = status === "running" ? null : event.timestamp;
  if (status === "failed") run.error = { message: messageOf(event) };
  else delete run.error;
}

/** The innermost that is said: what wraps it tells of the engine. */
function messageOf({ error, message }: PipelineEvent): string {
  const said = (error?.exceptions ?? []).flatMap((each) => each.message ?? []).filter((each) => each !== "");
  return said.at(-1) ?? message ?? "Databricks tells no reason";
}

/** Pure: `catalog.schema.table`, with backticks or without, and what is left of it. */
export function tableOf(text: string): { schema: string; name: string } {
  const parts = [...text.matchAll(/`((?:[^`]|``)*)`|([^.`]+)/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll("``", "`") ?? plain,
  );
  return { schema: parts.at(-2) ?? "", name: parts.at(-1) ?? text };
}

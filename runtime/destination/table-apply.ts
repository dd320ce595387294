import { keyColumns, type TableSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import type { ApplyPlan, ApplyStep } from "./apply-plan";
import type { Action, CommitInfo, MetaData } from "./delta/actions";
import type { DeltaTable } from "./delta/delta-table";
import { buildMetaData, buildProtocol, checkColumnTypes } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { applyKeyedChanges } from "./keyed-changes";
import { applyKeylessChanges } from "./keyless-changes";
import { WorkingTable } from "./working-table";

export interface ApplyContext {
  session: DuckDbSession;
  /** of the staging log */
  logId: string;
  /** names table and log in the Delta table's txn */
  appId: string;
  engineInfo: string;
  /** changes merged at a time, in bytes of their files; one file at least */
  batchBytesMax: number;
  schema: (schemaId: number) => Promise<TableSchema>;
  /** a local path of a staged file */
  stagedPath: (file: StagedFile) => Promise<string>;
}

/**
 * Carries a plan out as one commit of the table's log, position included (invariant 3).
 * @returns false when another writer's commit came first: the table must be read and the plan made again
 */
export async function applyPlan(table: DeltaTable, plan: ApplyPlan, context: ApplyContext): Promise<boolean> {
  const startedMs = performance.now();
  const working = await WorkingTable.open(table, context.session);
  let keepFiles = false;
  try {
    let schemaId = 0;
    for (const step of plan.steps) {
      if (step.kind !== "truncate") schemaId = step.schemaId;
      await applyStep(working, step, context);
    }
    const nowMs = Date.now();
    const files = await working.finish(nowMs);
    failpoint("applier.after-data-files");
    const isReplaced = plan.steps.some((step) => step.kind === "replace");
    const tableActions =
      schemaId === 0 ? [] : describeTable(table, await context.schema(schemaId), isReplaced, context, nowMs);
    const actions: Action[] = [
      { commitInfo: commitInfo(table, plan, working, context, nowMs, performance.now() - startedMs) },
      ...tableActions,
      { txn: { appId: context.appId, version: plan.sequence, lastUpdated: nowMs } },
      ...files,
    ];
    failpoint("applier.before-commit");
    // An error here doesn't say that the commit isn't there.
    keepFiles = true;
    keepFiles = await table.commit(actions);
    failpoint("applier.after-commit");
    return keepFiles;
  } finally {
    await working.dispose(keepFiles);
  }
}

async function applyStep(working: WorkingTable, step: ApplyStep, context: ApplyContext): Promise<void> {
  switch (step.kind) {
    case "replace":
      working.clear();
      for (const file of step.files) {
        if (file.rows === 0) continue;
        const name = `part-${context.logId}-${file.path.replace(/^data\//, "").replaceAll("/", "-")}`;
        await working.join(await context.stagedPath(file), name, file.rows, file.bytes);
      }
      return;
    case "truncate":
      working.clear();
      return;
    case "schema":
      return;
    case "changes": {
      const schema = await context.schema(step.schemaId);
      const apply = keyColumns(schema).length === 0 ? applyKeylessChanges : applyKeyedChanges;
      for (const files of portions(step.files, context.batchBytesMax)) {
        const paths = await Promise.all(files.map((file) => context.stagedPath(file)));
        await apply(context.session, working, schema, paths);
      }
      return;
    }
  }
}

/**
 * Files in order, so many at a time that memory is bounded whatever a transaction's size (invariant 7). A change of a key
 * is two rows of one file.
 */
export function portions(files: StagedFile[], bytesMax: number): StagedFile[][] {
  const result: StagedFile[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const file of files) {
    if (bytes + file.bytes > bytesMax) {
      result.push([]);
      bytes = 0;
    }
    result[result.length - 1].push(file);
    bytes += file.bytes;
  }
  return result;
}

/** protocol and metaData, each only when it changes. */
function describeTable(
  table: DeltaTable,
  schema: TableSchema,
  isReplaced: boolean,
  context: ApplyContext,
  nowMs: number,
): Action[] {
  const { protocol: oldProtocol, metaData: oldMetaData } = table.snapshot;
  if (oldMetaData !== null && !isReplaced) checkColumnTypes(oldMetaData, schema);
  const protocol = buildProtocol(schema, oldProtocol);
  const metaData = buildMetaData(schema, context.logId, oldMetaData, nowMs);
  const actions: Action[] = [];
  if (oldProtocol === null || protocol.readerFeatures?.length !== oldProtocol.readerFeatures?.length) {
    actions.push({ protocol });
  }
  if (oldMetaData === null || !sameMetaData(oldMetaData, metaData)) actions.push({ metaData });
  return actions;
}

function sameMetaData(a: MetaData, b: MetaData): boolean {
  const entries = (metaData: MetaData) => JSON.stringify(Object.entries(metaData.configuration).sort());
  return a.name === b.name && a.schemaString === b.schemaString && entries(a) === entries(b);
}

/** What history says of the commit; `sluice` carries the counters of the table's life. */
function commitInfo(
  table: DeltaTable,
  plan: ApplyPlan,
  working: WorkingTable,
  context: ApplyContext,
  nowMs: number,
  durationMs: number,
): CommitInfo {
  const before = table.snapshot.newestOwn;
  return {
    timestamp: nowMs,
    operation: plan.steps.some((step) => step.kind === "replace") ? "SNAPSHOT" : "MERGE",
    operationParameters: { stagedSequence: String(plan.sequence) },
    operationMetrics: {
      numTargetRowsInserted: String(working.rowsInserted),
      numTargetRowsDeleted: String(working.rowsDeleted),
    },
    engineInfo: context.engineInfo,
    isBlindAppend: false,
    sluice: {
      sequence: plan.sequence,
      upserted: (before?.upserted ?? 0) + plan.upserted,
      deleted: (before?.deleted ?? 0) + plan.deleted,
      durationMs: Math.round((before?.durationMs ?? 0) + durationMs),
    },
  };
}

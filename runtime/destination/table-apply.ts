import { randomUUID } from "node:crypto";
import { keyColumns, type TableSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import { type ApplyPlan, type ApplyStep, schemaAfter } from "./apply-plan";
import type { Action, CommitInfo, MetaData } from "./delta/actions";
import type { DeltaTable } from "./delta/delta-table";
import { buildMetaData, buildProtocol } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { applyKeyedChanges } from "./keyed-changes";
import { applyKeylessChanges } from "./keyless-changes";
import { followSchema } from "./schema-apply";
import { stagedChanges } from "./staged-changes";
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
 * Carries a plan out as one commit of the table's log, position included (invariant 3). `source`: where the table's rows
 * are until now, when the plan moves it here; nothing is changed there.
 * @returns false when another writer's commit came first: the table must be read and the plan made again
 */
export async function applyPlan(
  table: DeltaTable,
  plan: ApplyPlan,
  context: ApplyContext,
  source = table,
): Promise<boolean> {
  const startedMs = performance.now();
  const working = await WorkingTable.open(table, context.session, source);
  let keepFiles = false;
  try {
    for (const step of plan.steps) await applyStep(working, step, context);
    const nowMs = Date.now();
    const files = await working.finish(nowMs);
    failpoint("applier.after-data-files");
    const schemaId = schemaAfter(plan);
    const tableActions =
      schemaId === null ? [] : describeTable(table, source, await context.schema(schemaId), context, nowMs);
    const actions: Action[] = [
      { commitInfo: commitInfo(source, plan, working, context, nowMs, performance.now() - startedMs) },
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
      working.setSchema(await context.schema(step.schemaId));
      for (const file of step.files) {
        if (file.rows === 0) continue;
        const name = `part-${context.logId}-${file.path.replace(/^data\//, "").replaceAll("/", "-")}`;
        await working.join(await context.stagedPath(file), name, file.rows, file.bytes);
      }
      return;
    case "truncate":
      working.clear();
      return;
    case "schema": {
      const fillPath = step.fill === null ? null : await context.stagedPath(step.fill);
      return followSchema(context.session, working, await context.schema(step.schemaId), fillPath);
    }
    case "changes": {
      const schema = await context.schema(step.schemaId);
      await followSchema(context.session, working, schema, null);
      const apply = keyColumns(schema).length === 0 ? applyKeylessChanges : applyKeyedChanges;
      for (const files of portions(step.files, context.batchBytesMax)) {
        const local = await Promise.all(
          files.map(async (file) => ({ ...file, localPath: await context.stagedPath(file) })),
        );
        await apply(context.session, working, schema, stagedChanges(local));
      }
      return;
    }
  }
}

/**
 * Files in order, so many at a time that memory is bounded whatever a transaction's size (invariant 7). A change of a key
 * is two rows of one file.
 */
export function portions<File extends StagedFile>(files: File[], bytesMax: number): File[][] {
  const result: File[][] = [];
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

/** protocol and metaData, each only when it changes. A table that moves takes along what others have set on it. */
function describeTable(
  table: DeltaTable,
  source: DeltaTable,
  schema: TableSchema,
  context: ApplyContext,
  nowMs: number,
): Action[] {
  const { protocol: oldProtocol, metaData: oldMetaData } = table.snapshot;
  const identity = oldMetaData ?? { id: randomUUID(), createdTime: nowMs, configuration: {} };
  const protocol = buildProtocol(schema, oldProtocol, source.snapshot.protocol);
  const metaData = buildMetaData(schema, context.logId, source.snapshot.metaData, identity);
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

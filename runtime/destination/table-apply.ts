import { keyColumns } from "../change/table-schema";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import { compareOptions } from "../table-options-change";
import { appendChanges } from "./append-changes";
import { type ApplyContext, withStaged } from "./apply-context";
import { type ApplyPlan, type ApplyStep, type CommitPoint, schemaAfter } from "./apply-plan";
import { type ChangeFeed, writeChangeFeed } from "./change-feed";
import { commitInfo, describeTable } from "./commit-header";
import type { Action } from "./delta/actions";
import type { DeltaTable } from "./delta/delta-table";
import { duckDbType } from "./delta/table-metadata";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { applyKeyedChanges } from "./keyed-changes";
import { applyKeylessChanges } from "./keyless-changes";
import { liveRowsQuery } from "./live-rows";
import { name } from "./parquet-file";
import { applyVersions } from "./scd2-changes";
import { followSchema, unfollowedChange } from "./schema-apply";
import { applySoftDeletes } from "./soft-delete";
import { stagedChanges } from "./staged-changes";
import { refreshTable, truncateTable } from "./table-refresh";
import { storedOptions } from "./target-metadata";
import { projection, type TargetTable, targetColumns } from "./target-table";
import { WorkingTable } from "./working-table";

/** Files of a snapshot that are local at a time, where staging isn't. */
const joinedBytesMax = 256 * 1024 * 1024;

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
  // What options can't be is told before anything is touched.
  for (const { schemaId } of plan.steps) await context.target(schemaId);
  const working = await WorkingTable.open(table, context.session, source, context.lost);
  working.stored = storedOptions(source.snapshot.metaData, context.tableId);
  // What a damaged file had can't be told.
  const tellsChanges = source === table && working.stored !== null && context.lost.size === 0;
  let keepFiles = false;
  try {
    for (const step of plan.steps) await applyStep(working, step, context);
    await rewriteDeleted(working, plan, context);
    const target = await context.target(schemaAfter(plan) as number);
    const feed: ChangeFeed =
      tellsChanges && target.stored.options.changeDataFeed
        ? await writeChangeFeed(context.session, working, target)
        : { kind: "derived" };
    const nowMs = Date.now();
    const files = await working.finish(nowMs, { dataChange: feed.kind !== "nothing" });
    failpoint("applier.after-data-files");
    const tableActions = describeTable(table, source, target, context, nowMs);
    const actions: Action[] = [
      { commitInfo: commitInfo(source, plan, working, context, nowMs, performance.now() - startedMs) },
      ...tableActions,
      { txn: { appId: context.appId, version: plan.sequence, lastUpdated: nowMs } },
      ...files,
      ...(feed.kind === "written" ? feed.actions : []),
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
  const { session } = context;
  switch (step.kind) {
    case "replace":
      return replaceContent(working, step, context);
    case "truncate":
      return truncate(working, await targetOf(working, step, context), step.point, session);
    case "schema": {
      const target = await targetOf(working, step, context);
      return withStaged(step.fill === null ? [] : [step.fill], context, ([fillPath]) =>
        followSchema(session, working, target, fillPath ?? null),
      );
    }
    case "changes": {
      const target = await targetOf(working, step, context);
      await followSchema(session, working, target, null);
      const apply = changesOf(target);
      for (const files of portions(step.files, context.batchBytesMax)) {
        await withStaged(files, context, (paths) => {
          const local = files.map((file, index) => ({ ...file, localPath: paths[index] }));
          return apply(session, working, target, stagedChanges(local, target));
        });
      }
      return;
    }
  }
}

/** Where readers know no deletion vectors, files with deleted rows are written anew. */
async function rewriteDeleted(working: WorkingTable, plan: ApplyPlan, context: ApplyContext): Promise<void> {
  const target = await context.target(schemaAfter(plan) as number);
  if (target.stored.options.deletionVectors) return;
  const columns = targetColumns(target);
  for (let index = working.paths.length - 1; index >= 0; index--) {
    if (!working.hasDeletedRows(index)) continue;
    const query = await liveRowsQuery(context.session, working, [index], columns);
    await working.rewrite([index], query, columns);
  }
}

/** @throws SluiceError `config` when the table's rows were made by options that these can't follow in place */
async function targetOf(
  working: WorkingTable,
  { schemaId }: { schemaId: number },
  context: ApplyContext,
): Promise<TargetTable> {
  const target = await context.target(schemaId);
  const change = compareOptions(working.stored?.options ?? target.stored.options, target.stored.options);
  if (change.kind !== "refresh") return target;
  throw needsSnapshot(`${target.source.schema}.${target.source.name}`, change.reason);
}

export function needsSnapshot(label: string, reason: string): SluiceError {
  return new SluiceError("config", `table ${label} needs a new snapshot: ${reason}`, {
    remedy: `Take the change back, give the table another destination, or run: sluice resync --config FILE --table ${label}`,
  });
}

async function truncate(
  working: WorkingTable,
  target: TargetTable,
  point: CommitPoint,
  session: DuckDbSession,
): Promise<void> {
  if (target.mode === "scd1") return working.clear();
  await followSchema(session, working, target, null);
  await truncateTable(session, working, target, point);
}

function changesOf(target: TargetTable): typeof applyKeyedChanges {
  switch (target.mode) {
    case "scd1":
      return keyColumns(target.schema).length === 0 ? applyKeylessChanges : applyKeyedChanges;
    case "softDelete":
      return applySoftDeletes;
    case "append":
      return appendChanges;
    case "scd2":
      return applyVersions;
  }
}

/** The table's rows become those of a snapshot; a table that keeps what was gets the difference. */
async function replaceContent(
  working: WorkingTable,
  step: Extract<ApplyStep, { kind: "replace" }>,
  context: ApplyContext,
): Promise<void> {
  const target = await context.target(step.schemaId);
  const keepsRows = target.mode !== "scd1" && (await canGoOn(working, target, context));
  const staged = step.files.filter(({ rows }) => rows > 0);
  if (keepsRows) await followSchema(context.session, working, target, null);
  else {
    working.clear();
    working.setTarget(target);
  }
  if (keepsRows || target.mode === "append" || target.mode === "scd2") {
    return withStaged(staged, context, (paths) => refreshTable(context.session, working, target, paths, step.point));
  }
  if (!target.isWhole) {
    if (staged.length === 0) return;
    const nulls = target.meta.map((column) => `, NULL::${duckDbType(column.deltaType)} AS ${name(column)}`).join("");
    return withStaged(staged, context, (paths) =>
      working.insert(`SELECT ${projection(target)}${nulls} FROM ${parquet(paths)}`, targetColumns(target)),
    );
  }
  for (const files of portions(staged, joinedBytesMax)) {
    await withStaged(files, context, async (paths) => {
      for (const [index, file] of files.entries()) {
        const joined = `part-${context.logId}-${file.path.replace(/^data\//, "").replaceAll("/", "-")}`;
        await working.join(paths[index], joined, file.rows, file.bytes);
      }
    });
  }
}

/** Whether the rows of before can be rows of the target. @throws SluiceError when they can't, and mustn't be lost */
async function canGoOn(working: WorkingTable, target: TargetTable, context: ApplyContext): Promise<boolean> {
  const { stored } = working;
  if (stored === null || compareOptions(stored.options, target.stored.options).kind === "refresh") return false;
  const change = unfollowedChange(working, target);
  if (change === null) return true;
  await context.loseHistory(change);
  return false;
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

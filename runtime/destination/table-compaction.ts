import type { ColumnSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import { type CompactionOptions, type CompactionStep, type FileState, planCompaction } from "./compaction-plan";
import { type Action, type AddFile, type CommitInfo, type MetaData, recordCount } from "./delta/actions";
import { clusteringColumns, keptClustering } from "./delta/clustering";
import type { DeltaTable } from "./delta/delta-table";
import type { DuckDbSession } from "./duckdb-session";
import { liveRowsQuery } from "./live-rows";
import { isFloating, name } from "./parquet-file";
import { partitionKey } from "./partition";
import { tableColumns } from "./table-columns";
import { WorkingTable } from "./working-table";

export interface CompactionContext {
  session: DuckDbSession;
  engineInfo: string;
  /** physical names of the columns that rows are ordered by; [] for no order */
  orderBy: string[];
}

export interface Compaction {
  filesRemoved: number;
  filesAdded: number;
  bytesRead: number;
  bytesWritten: number;
}

/** Files of one partition only are merged; those that another implementation has clustered are left apart. */
function planPartitions({ snapshot }: DeltaTable, options: CompactionOptions, bytesMax: number): CompactionStep | null {
  const partitions = new Map<string, FileState[]>();
  for (const add of snapshot.files.values()) {
    const key = `${partitionKey(add.partitionValues)}${keptClustering(add) === null ? "" : `\n${add.path}`}`;
    const group = partitions.get(key) ?? [];
    group.push(fileState(add));
    partitions.set(key, group);
  }
  for (const group of partitions.values()) {
    const step = planCompaction(group, options, bytesMax);
    if (step !== null) return step;
  }
  return null;
}

/** Files of a table's newest version, as its log tells of them. */
export function fileStates({ snapshot }: DeltaTable): FileState[] {
  return [...snapshot.files.values()].map(fileState);
}

function fileState(add: AddFile): FileState {
  return {
    path: add.path,
    bytes: add.size,
    records: recordCount(add) ?? 0,
    deleted: add.deletionVector?.cardinality ?? 0,
  };
}

/** What compaction of a table would do next; null when nothing is worth its cost, or its columns aren't ours to write. */
export function nextCompaction(table: DeltaTable, options: CompactionOptions, bytesMax: number): CompactionStep | null {
  const { metaData } = table.snapshot;
  if (metaData === null || tableColumns(metaData) === null) return null;
  const step = planPartitions(table, options, bytesMax);
  const hasVectors = metaData.configuration["delta.enableDeletionVectors"] === "true";
  return step?.kind === "part" && !hasVectors ? null : step;
}

/**
 * Carries a step out as one commit that changes no row (`dataChange` false).
 * @returns null when another writer's commit was first: the table is read anew, for another decision
 */
export async function compactTable(
  table: DeltaTable,
  step: CompactionStep,
  { session, engineInfo, orderBy }: CompactionContext,
): Promise<Compaction | null> {
  const columns = tableColumns(table.snapshot.metaData);
  if (columns === null) throw new Error(`${table.path} can't be compacted`);
  const read = step.kind === "merge" ? step.files : [step.file];
  const adds = read.map((path) => table.snapshot.files.get(path) as AddFile);
  const clustered = clusteringColumns(table.snapshot.domains);
  const isOthers = adds.some((add) => keptClustering(add) !== null);
  const order = isOthers ? "" : orderOf(columns, clustered?.length ? clustered : orderBy);
  const startedMs = performance.now();
  const working = await WorkingTable.open(table, session);
  let keepFiles = false;
  try {
    working.setColumns(columns, partitionOf(table.snapshot.metaData, columns), clustered ?? []);
    const indexes = adds.map((add) => working.paths.indexOf(table.filePath(add)));
    let part = 1;
    if (step.kind === "merge") {
      const query = await liveRowsQuery(session, working, indexes, columns);
      await working.rewrite(indexes, `${query}${order}`, columns);
    } else part = await moveRows(working, indexes[0], step.rows, columns, order, session);
    const nowMs = Date.now();
    const changes = await working.finish(nowMs, { dataChange: false });
    failpoint("applier.after-compacted-files");
    const before = table.snapshot.files;
    const added = changes.flatMap(({ add }) => (add === undefined || before.has(add.path) ? [] : [add]));
    const kept = new Set(changes.map(({ add }) => add?.path));
    const result: Compaction = {
      filesRemoved: read.filter((path) => !kept.has(path)).length,
      filesAdded: added.length,
      bytesRead: Math.round(adds.reduce((sum, { size }) => sum + size, 0) * part),
      bytesWritten: added.reduce((sum, { size }) => sum + size, 0),
    };
    const info = commitInfo(table, step, result, engineInfo, nowMs, performance.now() - startedMs);
    failpoint("applier.before-compaction-commit");
    keepFiles = true; // an error doesn't say that the commit isn't there
    keepFiles = await table.commit([{ commitInfo: info }, ...changes]);
    failpoint("applier.after-compaction-commit");
    if (!keepFiles) await table.refresh();
    return keepFiles ? result : null;
  } finally {
    await working.dispose(keepFiles);
  }
}

/**
 * The first rows of a file go into a new one and are marked as deleted in the old: a file of any size is written anew in
 * pieces, each whole by itself, none longer than a batch can wait.
 * @returns the part of the file that was read
 */
async function moveRows(
  working: WorkingTable,
  fileIndex: number,
  rows: number,
  columns: ColumnSchema[],
  order: string,
  session: DuckDbSession,
): Promise<number> {
  const records = working.recordsOf(fileIndex);
  const first = firstGap(await working.deletedRows(fileIndex));
  const end = Math.min(first + rows, records);
  const query = await liveRowsQuery(session, working, [fileIndex], columns);
  await working.load(fileIndex);
  await working.insert(`${query} WHERE f.file_row_number BETWEEN ${first} AND ${end - 1}${order}`, columns, fileIndex);
  const moved = new Uint32Array(end - first).map((_, at) => first + at);
  working.delete(fileIndex, moved);
  return moved.length / records;
}

function partitionOf(metaData: MetaData | null, columns: ColumnSchema[]): ColumnSchema[] {
  return (metaData?.partitionColumns ?? []).flatMap((each) => columns.find((column) => column.name === each) ?? []);
}

/** The least number that isn't among these, which ascend. */
export function firstGap(numbers: Uint32Array): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (numbers[middle] === middle) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** DuckDB gives sorted columns back from its sort keys, which have no minus zero: floating columns are no order here. */
function orderOf(columns: ColumnSchema[], orderBy: string[]): string {
  const wanted = orderBy.map((each) => columns.find((column) => column.physicalName === each));
  const known = wanted.filter((column) => column !== undefined);
  if (known.length === 0 || known.length < wanted.length || known.some(isFloating)) return "";
  return ` ORDER BY ${known.map((column) => `f.${name(column)}`).join(", ")}`;
}

function commitInfo(
  table: DeltaTable,
  step: CompactionStep,
  result: Compaction,
  engineInfo: string,
  nowMs: number,
  durationMs: number,
): CommitInfo {
  const own: Action["commitInfo"] = table.snapshot.newestOwn === null ? {} : { sluice: table.snapshot.newestOwn };
  return {
    timestamp: nowMs,
    operation: "OPTIMIZE",
    operationParameters: { reason: step.reason },
    operationMetrics: {
      numRemovedFiles: String(result.filesRemoved),
      numAddedFiles: String(result.filesAdded),
      numRemovedBytes: String(result.bytesRead),
      numAddedBytes: String(result.bytesWritten),
      executionTimeMs: String(Math.round(durationMs)),
    },
    engineInfo,
    isBlindAppend: false,
    ...own,
  };
}

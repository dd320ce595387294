import type { Action, AddFile, DeletionVectorDescriptor } from "./delta/actions";
import { type FileClustering, keptClustering } from "./delta/clustering";
import { newRowSet, type RowSet, rowNumbers, rowsWithout } from "./delta/deletion-vector";
import { readDeletionVector } from "./delta/deletion-vector-store";
import { sameFile } from "./delta/delta-snapshot";
import { withTightBounds } from "./delta/file-statistics";
import type { FileRows } from "./live-rows";
import type { TableFile } from "./partition";
import { logPath, type WrittenFile } from "./partitioned-files";

/** A Parquet file of the table as a batch sees it. */
export interface WorkingFile extends TableFile {
  /** rows, deleted ones included */
  records: number;
  bytes: number;
  /** as a log has it; null for a file of this batch */
  add: AddFile | null;
  /** what this table's log has under its path; other than `add` for a file that comes from the table's former place */
  active: AddFile | null;
  /** who has clustered its rows, and what else its tags tell; null when nothing is told */
  clustering: FileClustering | null;
  /** deleted rows: null until they're looked at */
  deleted: RowSet | null;
  /** whether `deleted` is more than the log has */
  changed: boolean;
}

/** A file that a log has. */
export function loggedFile(path: string, add: AddFile, active: AddFile | null, records: number): WorkingFile {
  const { partitionValues, size: bytes, clusteringProvider, tags } = add;
  const clustering = { clusteringProvider, tags };
  return { path, partitionValues, records, bytes, add, active, clustering, deleted: null, changed: false };
}

/** `of`: its rows are of that file alone, and in its order. */
export function newFile(written: WrittenFile, of: WorkingFile | null = null): WorkingFile {
  const clustering = keptClustering(of?.clustering ?? null);
  return { ...written, add: null, active: null, clustering, deleted: null, changed: false };
}

export function addAction(
  tablePath: string,
  file: WorkingFile,
  vector: DeletionVectorDescriptor | null,
  stats: string | null | undefined,
  nowMs: number,
  dataChange: boolean,
): Action {
  const { clusteringProvider, tags } = file.clustering ?? {};
  return {
    add: {
      path: file.add?.path ?? logPath(tablePath, file.path),
      partitionValues: file.partitionValues,
      size: file.bytes,
      modificationTime: file.add?.modificationTime ?? nowMs,
      dataChange,
      stats: withTightBounds(stats ?? JSON.stringify({ numRecords: file.records }), vector === null),
      ...(tags ? { tags } : {}),
      ...(vector === null ? {} : { deletionVector: vector }),
      ...(clusteringProvider ? { clusteringProvider } : {}),
    },
  };
}

function removeAction(
  { path, partitionValues, size, deletionVector }: AddFile,
  nowMs: number,
  dataChange: boolean,
): Action {
  const vector = deletionVector ? { deletionVector } : {};
  return {
    remove: {
      path,
      deletionTimestamp: nowMs,
      dataChange,
      extendedFileMetadata: true,
      partitionValues,
      size,
      ...vector,
    },
  };
}

export interface PlannedActions {
  removes: Action[];
  /** with the vectors that the log has already */
  adds: { file: WorkingFile; vector: DeletionVectorDescriptor | null }[];
  /** to be added with new vectors */
  rewritten: WorkingFile[];
  /** as they are, but for their statistics */
  restated: WorkingFile[];
}

/** Pure: which files a commit removes and adds. A file without rows goes. `isStated`: of a file that the log has. */
export function planActions(
  files: readonly WorkingFile[],
  dropped: readonly WorkingFile[],
  nowMs: number,
  dataChange: boolean,
  isStated: (file: WorkingFile) => boolean,
): PlannedActions {
  const planned: PlannedActions = { removes: [], adds: [], rewritten: [], restated: [] };
  for (const file of files) {
    const isEmpty = file.changed && (file.deleted as RowSet).size === file.records;
    const isNew = file.changed || file.active === null || file.add === null || !sameFile(file.active, file.add);
    if (file.active !== null && isNew) planned.removes.push(removeAction(file.active, nowMs, dataChange));
    if (isEmpty) continue;
    if (file.changed) planned.rewritten.push(file);
    else if (isNew) planned.adds.push({ file, vector: file.add?.deletionVector ?? null });
    else if (!isStated(file)) planned.restated.push(file);
  }
  for (const { active } of dropped) if (active !== null) planned.removes.push(removeAction(active, nowMs, dataChange));
  return planned;
}

/** Rows of the newest version that a batch takes away, and those that it adds. */
export async function changedRows(
  folder: string,
  files: readonly WorkingFile[],
  dropped: readonly WorkingFile[],
): Promise<{ before: FileRows[]; after: FileRows[] }> {
  const [before, after]: FileRows[][] = [[], []];
  for (const { path, partitionValues, active } of dropped) {
    if (active === null) continue;
    before.push({ path, partitionValues, part: "all-but", rows: numbersOf(await vectorOf(folder, active)) });
  }
  for (const { path, partitionValues, add, active, changed, deleted } of files) {
    if (active === null) {
      const rows = deleted === null ? numbersOf(await vectorOf(folder, add)) : rowNumbers(deleted);
      after.push({ path, partitionValues, part: "all-but", rows });
    } else if (changed) {
      const known = await vectorOf(folder, active);
      before.push({ path, partitionValues, part: "only", rows: rowsWithout(deleted as RowSet, known) });
      known.dispose();
    }
  }
  return { before, after };
}

async function vectorOf(folder: string, file: AddFile | null): Promise<RowSet> {
  return file?.deletionVector ? readDeletionVector(folder, file.deletionVector) : newRowSet();
}

/** Gives the set's memory back. */
function numbersOf(rows: RowSet): Uint32Array<ArrayBuffer> {
  const numbers = rowNumbers(rows);
  rows.dispose();
  return numbers;
}

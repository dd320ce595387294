import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ColumnSchema } from "../change/table-schema";
import { type Action, type AddFile, type DeletionVectorDescriptor, formatStats, recordCount } from "./delta/actions";
import { newRowSet, type RowSet } from "./delta/deletion-vector";
import { readDeletionVector, writeDeletionVectors } from "./delta/deletion-vector-store";
import { failed, flush, hasCode, isLinkRefused } from "./delta/delta-log";
import type { DeltaTable } from "./delta/delta-table";
import { type DuckDbSession, literal } from "./duckdb-session";
import { writeParquet } from "./parquet-file";

/** A Parquet file of the table as a batch sees it. */
interface WorkingFile {
  /** absolute */
  path: string;
  /** rows, deleted ones included */
  records: number;
  bytes: number;
  /** as the log has it; null for a file of this batch */
  committed: AddFile | null;
  /** deleted rows: null until they're looked at */
  deleted: RowSet | null;
  /** whether `deleted` is more than the log has */
  changed: boolean;
}

/**
 * The table's content while a batch is applied: the committed files, those added, and the rows deleted in either.
 * Nothing of it is visible to readers until its actions are committed.
 */
export class WorkingTable {
  private files: WorkingFile[] = [];
  private readonly dropped: WorkingFile[] = [];
  /** files of this batch, to be removed when it isn't committed */
  private readonly written: string[] = [];
  rowsInserted = 0;
  rowsDeleted = 0;

  private constructor(
    private readonly table: DeltaTable,
    private readonly session: DuckDbSession,
  ) {}

  static async open(table: DeltaTable, session: DuckDbSession): Promise<WorkingTable> {
    const working = new WorkingTable(table, session);
    if (!table.exists) await makeFolder(table.path);
    for (const committed of table.snapshot.files.values()) {
      const path = table.filePath(committed);
      const records = recordCount(committed) ?? (await countRecords(path, session));
      working.files.push({ path, records, bytes: committed.size, committed, deleted: null, changed: false });
    }
    return working;
  }

  /** In the order that row positions refer to. */
  get paths(): string[] {
    return this.files.map((file) => file.path);
  }

  /** Removes every row. */
  clear(): void {
    this.dropped.push(...this.files);
    this.files = [];
  }

  /** Takes a staged file as it is: a hard link where the file system can, else a copy. Its name is always the same. */
  async join(stagedPath: string, name: string, records: number, bytes: number): Promise<void> {
    const path = join(this.table.path, name);
    try {
      await link(stagedPath, path);
    } catch (error) {
      if (hasCode(error, "EEXIST")) {
        if ((await stat(path)).size !== bytes) await copyWhole(stagedPath, path);
      } else if (isLinkRefused(error)) await copyWhole(stagedPath, path);
      else throw failed(path, "written", error);
    }
    this.files.push({ path, records, bytes, committed: null, deleted: null, changed: false });
    this.rowsInserted += records;
  }

  /** Writes the rows of a query, which gives these columns, into a new file; none when there are no rows. */
  async insert(query: string, columns: ColumnSchema[]): Promise<number> {
    const path = join(this.table.path, `part-${randomUUID()}.parquet`);
    this.written.push(path);
    const records = await writeParquet(this.session, query, columns, path);
    if (records === 0) {
      await rm(path, { force: true });
      return 0;
    }
    await flush(path);
    const { size: bytes } = await stat(path);
    this.files.push({ path, records, bytes, committed: null, deleted: null, changed: false });
    this.rowsInserted += records;
    return records;
  }

  /** Rows of `paths[fileIndex]` that are deleted already; load it before `isLive` and `delete`. */
  async load(fileIndex: number): Promise<void> {
    const file = this.files[fileIndex];
    if (file.deleted !== null) return;
    const vector = file.committed?.deletionVector;
    file.deleted = vector ? await readDeletionVector(this.table.path, vector) : newRowSet();
  }

  isLoaded(fileIndex: number): boolean {
    return this.files[fileIndex].deleted !== null;
  }

  isLive(fileIndex: number, row: number): boolean {
    return !this.loaded(fileIndex).has(row);
  }

  /** Marks rows as deleted; those that are already don't count. */
  delete(fileIndex: number, rows: Uint32Array): number {
    const deleted = this.loaded(fileIndex);
    const before = deleted.size;
    deleted.addMany(rows);
    const added = deleted.size - before;
    if (added > 0) this.files[fileIndex].changed = true;
    this.rowsDeleted += added;
    return added;
  }

  /** Writes what is missing and returns the actions that make the changes visible; everything is durable then. */
  async finish(nowMs: number): Promise<Action[]> {
    const removes: Action[] = [];
    const adds: Action[] = [];
    const rewritten: WorkingFile[] = [];
    for (const file of this.files) {
      const isEmpty = file.changed && (file.deleted as RowSet).size === file.records;
      if (file.committed !== null && (file.changed || isEmpty)) removes.push(removeAction(file.committed, nowMs));
      if (isEmpty) continue;
      if (file.changed) rewritten.push(file);
      else if (file.committed === null) adds.push(this.addAction(file, null, nowMs));
    }
    for (const { committed } of this.dropped) if (committed !== null) removes.push(removeAction(committed, nowMs));
    const { descriptors, fileName } = await writeDeletionVectors(
      this.table.path,
      rewritten.map((file) => file.deleted as RowSet),
    );
    if (fileName !== null) this.written.push(join(this.table.path, fileName));
    for (const [index, file] of rewritten.entries()) adds.push(this.addAction(file, descriptors[index], nowMs));
    await flush(this.table.path);
    return [...removes, ...adds];
  }

  /** Gives memory back; `keepFiles`: the actions were committed. Files that no action names go. */
  async dispose(keepFiles: boolean): Promise<void> {
    for (const file of [...this.files, ...this.dropped]) file.deleted?.dispose();
    if (keepFiles) return;
    await Promise.all(this.written.map((path) => rm(path, { force: true })));
  }

  private loaded(fileIndex: number): RowSet {
    const { deleted } = this.files[fileIndex];
    if (deleted === null) throw new Error("deletion vector is not loaded");
    return deleted;
  }

  private addAction(file: WorkingFile, vector: DeletionVectorDescriptor | null, nowMs: number): Action {
    return {
      add: {
        path: file.committed?.path ?? encodeURIComponent(basename(file.path)),
        partitionValues: file.committed?.partitionValues ?? {},
        size: file.bytes,
        modificationTime: file.committed?.modificationTime ?? nowMs,
        dataChange: true,
        stats: formatStats(file.records, vector === null),
        ...(vector === null ? {} : { deletionVector: vector }),
      },
    };
  }
}

function removeAction({ path, partitionValues, size, deletionVector }: AddFile, nowMs: number): Action {
  const vector = deletionVector ? { deletionVector } : {};
  return {
    remove: {
      path,
      deletionTimestamp: nowMs,
      dataChange: true,
      extendedFileMetadata: true,
      partitionValues,
      size,
      ...vector,
    },
  };
}

async function makeFolder(path: string): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made === undefined) return;
    for (let folder = path; folder.length >= made.length; folder = dirname(folder)) await flush(dirname(folder));
  } catch (error) {
    throw failed(path, "made", error);
  }
}

async function countRecords(path: string, session: DuckDbSession): Promise<number> {
  const [{ rows }] = await session.rows<{ rows: bigint }>(
    `SELECT num_rows AS rows FROM parquet_file_metadata(${literal(path)})`,
  );
  return Number(rows);
}

async function copyWhole(source: string, path: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await copyFile(source, temporary, constants.COPYFILE_FICLONE);
    await flush(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw failed(path, "written", error);
  }
}

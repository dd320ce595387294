import { randomUUID } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { ColumnSchema } from "../change/table-schema";
import { type Action, type AddFile, type DeletionVectorDescriptor, recordCount } from "./delta/actions";
import { addRows, newRowSet, type RowSet, rowsWithout } from "./delta/deletion-vector";
import { readDeletionVector, writeDeletionVectors } from "./delta/deletion-vector-store";
import { failed, flush } from "./delta/delta-log";
import { sameFile } from "./delta/delta-snapshot";
import type { DeltaTable } from "./delta/delta-table";
import { linkFile, linkOrCopy } from "./delta/file-link";
import { readFileStatistics, withTightBounds } from "./delta/file-statistics";
import { columnTypes } from "./delta/table-metadata";
import { type DuckDbSession, literal } from "./duckdb-session";
import type { FileRows } from "./live-rows";
import { writeParquet } from "./parquet-file";
import { type StoredOptions, type TargetTable, targetColumns } from "./target-table";

/** A Parquet file of the table as a batch sees it. */
interface WorkingFile {
  /** absolute */
  path: string;
  /** rows, deleted ones included */
  records: number;
  bytes: number;
  /** as a log has it; null for a file of this batch */
  add: AddFile | null;
  /** what this table's log has under its path; other than `add` for a file that comes from the table's former place */
  active: AddFile | null;
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
  private readonly written = new Set<string>();
  rowsInserted = 0;
  rowsDeleted = 0;
  /** types of the columns that rows have now, by physical name */
  types: ReadonlyMap<string, string>;
  private columns: ColumnSchema[] = [];
  /** options that rows were made by; null when there are none of this source table */
  stored: StoredOptions | null = null;

  /** the same of the table's newest version */
  readonly committedTypes: ReadonlyMap<string, string>;

  private constructor(
    private readonly table: DeltaTable,
    source: DeltaTable,
    private readonly session: DuckDbSession,
  ) {
    this.types = columnTypes(source.snapshot.metaData);
    this.committedTypes = columnTypes(table.snapshot.metaData);
  }

  get folder(): string {
    return this.table.path;
  }

  /**
   * `source`: the table at its former place, whose rows this one takes over: its files and deletion vectors get names
   * here too (hard links, where the file system can), and it stays as it is. `lost`: files, as the log names them, of which
   * nothing is read any more: their rows go.
   */
  static async open(
    table: DeltaTable,
    session: DuckDbSession,
    source = table,
    lost: ReadonlySet<string> = new Set(),
  ): Promise<WorkingTable> {
    const working = new WorkingTable(table, source, session);
    if (!table.exists) await makeFolder(table.path);
    const { files } = table.snapshot;
    for (const add of source.snapshot.files.values()) {
      if (lost.has(add.path)) continue;
      if (source !== table) await linkFile(source.path, table.path, add);
      const path = table.filePath(add);
      const records = recordCount(add) ?? (await countRecords(path, session));
      const active = files.get(add.path) ?? null;
      working.files.push({ path, records, bytes: add.size, add, active, deleted: null, changed: false });
    }
    for (const active of files.values()) {
      if (source.snapshot.files.has(active.path) && !lost.has(active.path)) continue;
      const path = table.filePath(active);
      working.dropped.push({
        path,
        records: 0,
        bytes: active.size,
        add: active,
        active,
        deleted: null,
        changed: false,
      });
    }
    return working;
  }

  setTarget(target: TargetTable): void {
    this.setColumns(targetColumns(target));
    this.stored = target.stored;
  }

  setColumns(columns: ColumnSchema[]): void {
    this.columns = columns;
    this.types = new Map(columns.map((column) => [column.physicalName, column.deltaType]));
  }

  /** Of each of `paths`, as the log has them; null where it has none. */
  statistics(): (string | null)[] {
    return this.files.map((file) => file.add?.stats ?? null);
  }

  /** In the order that row positions refer to. */
  get paths(): string[] {
    return this.files.map((file) => file.path);
  }

  /** Rows of `paths[fileIndex]`, deleted ones included. */
  recordsOf(fileIndex: number): number {
    return this.files[fileIndex].records;
  }

  /** Removes every row. */
  clear(): void {
    this.dropped.push(...this.files);
    this.files = [];
  }

  /** Takes a staged file as it is: a hard link where the file system can, else a copy. Its name is always the same. */
  async join(stagedPath: string, name: string, records: number, bytes: number): Promise<void> {
    const path = join(this.table.path, name);
    await linkOrCopy(stagedPath, path, bytes);
    this.files.push(newFile(path, records, bytes));
    this.rowsInserted += records;
  }

  /** Writes the rows of a query, which gives these columns, into a new file; none when there are no rows. */
  async insert(query: string, columns: ColumnSchema[]): Promise<void> {
    this.add(await this.write(query, columns));
  }

  /** The same while other work is done, of which the new file is no part. */
  async insertBeside(query: string, columns: ColumnSchema[], work: () => Promise<void>): Promise<void> {
    const [written, done] = await Promise.allSettled([this.write(query, columns, true), work()]);
    if (done.status === "rejected") throw done.reason;
    if (written.status === "rejected") throw written.reason;
    this.add(written.value);
  }

  private add(file: WorkingFile | null): void {
    if (file === null) return;
    this.files.push(file);
    this.rowsInserted += file.records;
  }

  /** The rows of a query are those of some files from now on, which go. Positions in `paths` change. */
  async rewrite(fileIndexes: number[], query: string, columns: ColumnSchema[]): Promise<void> {
    const file = await this.write(query, columns);
    const replaced = new Set(fileIndexes.map((index) => this.files[index]));
    this.files = this.files.filter((each) => !replaced.has(each));
    if (file !== null) this.files.splice(Math.min(...fileIndexes), 0, file);
    for (const each of replaced) {
      this.dropped.push(each);
      if (this.written.delete(each.path)) await rm(each.path, { force: true });
    }
  }

  /** null when there are no rows */
  private async write(query: string, columns: ColumnSchema[], isBeside = false): Promise<WorkingFile | null> {
    const path = join(this.table.path, `part-${randomUUID()}.parquet`);
    this.written.add(path);
    const session = isBeside ? this.session.beside : this.session;
    const records = await writeParquet(session, query, columns, path);
    if (records === 0) {
      await rm(path, { force: true });
      return null;
    }
    await flush(path);
    return newFile(path, records, (await stat(path)).size);
  }

  /** Rows of `paths[fileIndex]` that are deleted already; load it before `isLive` and `delete`. */
  async load(fileIndex: number): Promise<void> {
    const file = this.files[fileIndex];
    if (file.deleted !== null) return;
    const vector = file.add?.deletionVector;
    file.deleted = vector ? await readDeletionVector(this.table.path, vector) : newRowSet();
  }

  /** Deleted rows of `paths[fileIndex]`. */
  async deletedRows(fileIndex: number): Promise<Uint32Array<ArrayBuffer>> {
    const file = this.files[fileIndex];
    if (file.deleted === null && !file.add?.deletionVector) return new Uint32Array();
    await this.load(fileIndex);
    return Uint32Array.from(this.loaded(fileIndex));
  }

  hasDeletedRows(fileIndex: number): boolean {
    const { add, changed } = this.files[fileIndex];
    return changed || (add?.deletionVector ?? null) !== null;
  }

  isLoaded(fileIndex: number): boolean {
    return this.files[fileIndex].deleted !== null;
  }

  isLive(fileIndex: number, row: number): boolean {
    return !this.loaded(fileIndex).has(row);
  }

  /** Marks rows as deleted, which are sorted here; those that are already don't count. */
  delete(fileIndex: number, rows: Uint32Array): number {
    const deleted = this.loaded(fileIndex);
    const before = deleted.size;
    addRows(deleted, rows);
    const added = deleted.size - before;
    if (added > 0) this.files[fileIndex].changed = true;
    this.rowsDeleted += added;
    return added;
  }

  /**
   * What the batch takes away from the table's newest version, and what it adds to it: rows that are only written anew are
   * in both.
   */
  async changedRows(): Promise<{ before: FileRows[]; after: FileRows[] }> {
    const [before, after]: FileRows[][] = [[], []];
    for (const { path, active } of this.dropped) {
      if (active !== null) before.push({ path, part: "all-but", rows: await this.committedVector(active) });
    }
    for (const [index, { path, active, changed, deleted }] of this.files.entries()) {
      if (active === null) after.push({ path, part: "all-but", rows: await this.deletedRows(index) });
      else if (changed) {
        const known = active.deletionVector
          ? await readDeletionVector(this.folder, active.deletionVector)
          : newRowSet();
        before.push({ path, part: "only", rows: rowsWithout(deleted as RowSet, known) });
        known.dispose();
      }
    }
    return { before, after };
  }

  private async committedVector({ deletionVector }: AddFile): Promise<Uint32Array<ArrayBuffer>> {
    if (!deletionVector) return new Uint32Array();
    const rows = await readDeletionVector(this.table.path, deletionVector);
    const numbers = Uint32Array.from(rows);
    rows.dispose();
    return numbers;
  }

  /** A file that this batch has written beside the table's own: it goes where the batch isn't committed. */
  own(path: string): void {
    this.written.add(path);
  }

  /**
   * Writes what is missing and returns the actions that make the changes visible; everything is durable then.
   * `dataChange`: whether readers get other rows.
   */
  async finish(nowMs: number, { dataChange } = { dataChange: true }): Promise<Action[]> {
    const removes: Action[] = [];
    const adds: { file: WorkingFile; vector: DeletionVectorDescriptor | null }[] = [];
    const rewritten: WorkingFile[] = [];
    for (const file of this.files) {
      const isEmpty = file.changed && (file.deleted as RowSet).size === file.records;
      const isNew = file.changed || file.active === null || file.add === null || !sameFile(file.active, file.add);
      if (file.active !== null && isNew) removes.push(removeAction(file.active, nowMs, dataChange));
      if (isEmpty) continue;
      if (file.changed) rewritten.push(file);
      else if (isNew) adds.push({ file, vector: file.add?.deletionVector ?? null });
    }
    for (const { active } of this.dropped) if (active !== null) removes.push(removeAction(active, nowMs, dataChange));
    const { descriptors, fileName } = await writeDeletionVectors(
      this.table.path,
      rewritten.map((file) => file.deleted as RowSet),
    );
    if (fileName !== null) this.written.add(join(this.table.path, fileName));
    for (const [index, file] of rewritten.entries()) adds.push({ file, vector: descriptors[index] });
    const counts = new Map(adds.flatMap(({ file }) => (file.add?.stats ? [] : [[file.path, file.records] as const])));
    const statistics = counts.size === 0 ? null : await readFileStatistics(this.session, counts, this.columns);
    await flush(this.table.path);
    return [
      ...removes,
      ...adds.map(({ file, vector }) => {
        const stats = statistics?.get(file.path) ?? file.add?.stats;
        return addAction(file, vector, stats, nowMs, dataChange);
      }),
    ];
  }

  /** Gives memory back; `keepFiles`: the actions were committed. Files that no action names go. */
  async dispose(keepFiles: boolean): Promise<void> {
    for (const file of [...this.files, ...this.dropped]) file.deleted?.dispose();
    if (keepFiles) return;
    await Promise.all([...this.written].map((path) => rm(path, { force: true })));
  }

  private loaded(fileIndex: number): RowSet {
    const { deleted } = this.files[fileIndex];
    if (deleted === null) throw new Error("deletion vector is not loaded");
    return deleted;
  }
}

function newFile(path: string, records: number, bytes: number): WorkingFile {
  return { path, records, bytes, add: null, active: null, deleted: null, changed: false };
}

function addAction(
  file: WorkingFile,
  vector: DeletionVectorDescriptor | null,
  stats: string | null | undefined,
  nowMs: number,
  dataChange: boolean,
): Action {
  return {
    add: {
      path: file.add?.path ?? encodeURIComponent(basename(file.path)),
      partitionValues: file.add?.partitionValues ?? {},
      size: file.bytes,
      modificationTime: file.add?.modificationTime ?? nowMs,
      dataChange,
      stats: withTightBounds(stats ?? JSON.stringify({ numRecords: file.records }), vector === null),
      ...(vector === null ? {} : { deletionVector: vector }),
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

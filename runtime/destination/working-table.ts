import { rm } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { ColumnSchema } from "../change/table-schema";
import { type Action, recordCount } from "./delta/actions";
import { clusteringColumns } from "./delta/clustering";
import { addRows, newRowSet, type RowSet, rowNumbers } from "./delta/deletion-vector";
import { readDeletionVector, writeDeletionVectors } from "./delta/deletion-vector-store";
import { flush } from "./delta/delta-log";
import type { DeltaTable } from "./delta/delta-table";
import { linkFile, linkOrCopy } from "./delta/file-link";
import { readFileStatistics, tellsOf } from "./delta/file-statistics";
import { columnTypes } from "./delta/table-metadata";
import type { DuckDbQueries, DuckDbSession } from "./duckdb-session";
import type { FileRows } from "./live-rows";
import { countRecords, name, withoutPartition } from "./parquet-file";
import type { TableFile } from "./partition";
import { type FileTarget, makeFolder, writeTableFiles } from "./partitioned-files";
import { tableColumns } from "./table-columns";
import { clusteredBy, type StoredOptions, type TargetTable, targetColumns } from "./target-table";
import { addAction, changedRows, loggedFile, newFile, planActions, type WorkingFile } from "./working-file";

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
  /** by which rows are in files apart, in order */
  private partition: ColumnSchema[] = [];
  /** physical names of the columns that the table is clustered by: every file tells of them */
  private clustering: ReadonlySet<string> = new Set();
  /** the same of the table's newest version */
  private readonly committedClustering: ReadonlySet<string>;
  /** physical names of these columns by attribute number */
  names: ReadonlyMap<number, string>;
  /** files were written anew as columns have other names */
  hasOtherNames = false;
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
    this.names = namesOf(tableColumns(source.snapshot.metaData) ?? []);
    this.committedTypes = columnTypes(table.snapshot.metaData);
    this.committedClustering = new Set(clusteringColumns(source.snapshot.domains));
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
      working.files.push(loggedFile(path, add, active, records));
    }
    for (const active of files.values()) {
      if (source.snapshot.files.has(active.path) && !lost.has(active.path)) continue;
      working.dropped.push(loggedFile(table.filePath(active), active, active, 0));
    }
    return working;
  }

  setTarget(target: TargetTable): void {
    this.setColumns(targetColumns(target), target.partition, clusteredBy(target));
    this.stored = target.stored;
  }

  setColumns(columns: ColumnSchema[], partition: ColumnSchema[], clustering: string[] = []): void {
    this.columns = columns;
    this.partition = partition;
    this.clustering = new Set(clustering);
    this.types = new Map(columns.map((column) => [column.physicalName, column.deltaType]));
    this.names = namesOf(columns);
  }

  /** Of each of `paths`, as the log has them; null where it has none. */
  statistics(): (string | null)[] {
    return this.files.map((file) => file.add?.stats ?? null);
  }

  /** In the order that row positions refer to. */
  get paths(): string[] {
    return this.files.map((file) => file.path);
  }

  /** `paths[fileIndex]` with its partition. */
  file(fileIndex: number): TableFile {
    const { path, partitionValues } = this.files[fileIndex];
    return { path, partitionValues };
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

  /**
   * Takes a staged file of a table without partitions as it is: a hard link where the file system can, else a copy. Its
   * name is always the same.
   */
  async join(stagedPath: string, name: string, records: number, bytes: number): Promise<void> {
    const path = join(this.table.path, name);
    await linkOrCopy(stagedPath, path, bytes);
    this.add([newFile({ path, partitionValues: {}, records, bytes })]);
  }

  /**
   * Writes the rows of a query, which gives these columns, into new files, one for each partition; none for no rows.
   * `fromIndex`: they are of `paths[fromIndex]` alone, and in its order.
   */
  async insert(query: string, columns: ColumnSchema[], fromIndex?: number): Promise<void> {
    this.add(await this.write(query, columns, this.session, fromIndex === undefined ? null : this.files[fromIndex]));
  }

  /** The same while other work is done, of which the new files are no part. */
  async insertBeside(query: string, columns: ColumnSchema[], work: () => Promise<void>): Promise<void> {
    const [written, done] = await Promise.allSettled([this.write(query, columns, this.session.beside), work()]);
    if (done.status === "rejected") throw done.reason;
    if (written.status === "rejected") throw written.reason;
    this.add(written.value);
  }

  private add(files: WorkingFile[]): void {
    this.files.push(...files);
    for (const { records } of files) this.rowsInserted += records;
  }

  /** The rows of a query are those of some files of one partition from now on, which go. Positions in `paths` change. */
  async rewrite(
    fileIndexes: number[],
    query: string,
    columns: ColumnSchema[],
    formerNames: ReadonlyMap<string, string | null> = new Map(),
  ): Promise<void> {
    const replaced = new Set(fileIndexes.map((index) => this.files[index]));
    const files = await this.writeOfOne([...replaced], query, columns, formerNames);
    this.files = this.files.filter((each) => !replaced.has(each));
    this.files.splice(Math.min(...fileIndexes), 0, ...files);
    for (const each of replaced) {
      this.dropped.push(each);
      if (this.written.delete(each.path)) await rm(each.path, { force: true });
    }
  }

  private async write(
    query: string,
    columns: ColumnSchema[],
    session: DuckDbQueries = this.session,
    from: WorkingFile | null = null,
  ): Promise<WorkingFile[]> {
    const files = await writeTableFiles(session, query, columns, this.fileTarget("", "part"));
    return files.map((file) => newFile(file, from));
  }

  /** The same for rows of files of one partition, in their order. */
  private async writeOfOne(
    of: WorkingFile[],
    query: string,
    columns: ColumnSchema[],
    formerNames: ReadonlyMap<string, string | null>,
  ): Promise<WorkingFile[]> {
    // Folders are named by partition columns; some readers believe them.
    const isRenamed = this.partition.some(({ physicalName }) => formerNames.has(physicalName));
    if (this.partition.length === 0 || isRenamed) {
      return this.write(query, columns, this.session, of.length === 1 ? of[0] : null);
    }
    const [{ partitionValues, path }] = of;
    const stored = withoutPartition(columns, this.partition);
    const place = { ...this.fileTarget(relative(this.folder, dirname(path)), "part"), partition: [] };
    const files = await writeTableFiles(
      this.session,
      `SELECT ${stored.map(name).join(", ")} FROM (${query})`,
      stored,
      place,
    );
    return files.map((file) => newFile({ ...file, partitionValues }));
  }

  /** Where files of this batch go, which go again where it isn't committed. */
  fileTarget(below: string, prefix: string): FileTarget {
    return {
      folder: this.table.path,
      below,
      prefix,
      partition: this.partition,
      temporaryPath: this.session.temporaryPath,
      onFile: (path) => this.written.add(path),
    };
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
    return rowNumbers(this.loaded(fileIndex));
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
  changedRows(): Promise<{ before: FileRows[]; after: FileRows[] }> {
    return changedRows(this.folder, this.files, this.dropped);
  }

  /**
   * Writes what is missing and returns the actions that make the changes visible; everything is durable then.
   * `dataChange`: whether readers get other rows.
   */
  async finish(nowMs: number, { dataChange } = { dataChange: true }): Promise<Action[]> {
    const clusteredNow = [...this.clustering].filter((each) => !this.committedClustering.has(each));
    const isStated = ({ add }: WorkingFile) => tellsOf(add?.stats, clusteredNow);
    const { removes, adds, rewritten, restated } = planActions(this.files, this.dropped, nowMs, dataChange, isStated);
    const { descriptors, fileName } = await writeDeletionVectors(
      this.table.path,
      rewritten.map((file) => file.deleted as RowSet),
    );
    if (fileName !== null) this.written.add(join(this.table.path, fileName));
    for (const [index, file] of rewritten.entries()) adds.push({ file, vector: descriptors[index] });
    const added = [
      ...adds.map((each) => ({ ...each, dataChange })),
      ...restated.map((file) => ({ file, vector: file.add?.deletionVector ?? null, dataChange: false })),
    ];
    const untold = added.filter(({ file }) => !file.add?.stats || !isStated(file));
    const counts = new Map(untold.map(({ file }) => [file.path, file.records]));
    const columns = withoutPartition(this.columns, this.partition);
    const statistics =
      counts.size === 0 ? null : await readFileStatistics(this.session, counts, columns, this.clustering);
    await flush(this.table.path);
    return [
      ...removes,
      ...added.map(({ file, vector, dataChange }) => {
        const stats = statistics?.get(file.path) ?? file.add?.stats;
        return addAction(this.table.path, file, vector, stats, nowMs, dataChange);
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

const namesOf = (columns: ColumnSchema[]): Map<number, string> =>
  new Map(columns.map(({ attributeNumber, physicalName }) => [attributeNumber, physicalName]));

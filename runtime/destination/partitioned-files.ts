import { randomUUID } from "node:crypto";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import type { ColumnSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import { failed, flush } from "./delta/delta-log";
import type { DuckDbQueries } from "./duckdb-session";
import { writeParquet, writePartitions } from "./parquet-file";
import type { PartitionValues, TableFile } from "./partition";

export interface WrittenFile extends TableFile {
  records: number;
  bytes: number;
}

/** Where files of a table are written. */
export interface FileTarget {
  /** the table's */
  folder: string;
  /** below it; "" for the folder itself */
  below: string;
  /** files are named by it and a uuid */
  prefix: string;
  partition: ColumnSchema[];
  /** no folders of partitions: delta-rs takes paths of the change data feed as they are, where they should be decoded */
  isFlat?: boolean;
  /** for files that aren't whole; on the same file system */
  temporaryPath: string;
  /** told of each file before it is there */
  onFile: (path: string) => void;
}

/**
 * Writes the rows of a query into Parquet files, one at least for each partition that has rows: in folders
 * `<physical name>=<value>`, as Hive names them, without the partition columns. Durable when the promise resolves.
 */
export async function writeTableFiles(
  session: DuckDbQueries,
  query: string,
  columns: ColumnSchema[],
  target: FileTarget,
): Promise<WrittenFile[]> {
  const folder = join(target.folder, target.below);
  if (target.partition.length > 0) return writeSplit(session, query, columns, target);
  const path = join(folder, `${target.prefix}-${randomUUID()}.parquet`);
  await makeFolder(folder);
  target.onFile(path);
  const records = await writeParquet(session, query, columns, path);
  if (records === 0) {
    await rm(path, { force: true });
    return [];
  }
  await flush(path);
  await flushFolders(target.folder, folder);
  return [{ path, partitionValues: {}, records, bytes: (await stat(path)).size }];
}

/** Whole or not at all: files get their places when all are written. */
async function writeSplit(
  session: DuckDbQueries,
  query: string,
  columns: ColumnSchema[],
  target: FileTarget,
): Promise<WrittenFile[]> {
  const temporary = join(target.temporaryPath, randomUUID());
  const files: WrittenFile[] = [];
  try {
    await mkdir(target.temporaryPath, { recursive: true });
    const written = await writePartitions(session, query, columns, target.partition, temporary, target.prefix);
    for (const { filename, count, file_size_bytes: bytes, partition_keys: keys } of written) {
      const name = target.isFlat ? basename(filename) : relative(temporary, filename);
      const path = join(target.folder, target.below, name);
      const partitionValues: PartitionValues = Object.fromEntries(keys.map(({ key, value }) => [key, value || null]));
      await flush(filename);
      await makeFolder(dirname(path));
      target.onFile(path);
      await rename(filename, path);
      failpoint("applier.after-partition-file");
      files.push({ path, partitionValues, records: Number(count), bytes: Number(bytes) });
    }
    for (const folder of new Set(files.map(({ path }) => dirname(path)))) await flush(folder);
    return files;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Makes a folder, and those above it that aren't there, durably. */
export async function makeFolder(path: string): Promise<void> {
  try {
    const made = await mkdir(path, { recursive: true });
    if (made === undefined) return;
    for (let folder = path; folder.length >= made.length; folder = dirname(folder)) await flush(dirname(folder));
  } catch (error) {
    throw failed(path, "made", error);
  }
}

/** Flushes a folder and those above it, up to the table's. */
async function flushFolders(table: string, folder: string): Promise<void> {
  for (let each = folder; each.length >= table.length; each = dirname(each)) await flush(each);
}

/** A file's path in the log: relative, URL-encoded. */
export function logPath(table: string, path: string): string {
  return relative(table, path)
    .split(sep)
    .map((part) => encodeURIComponent(part).replaceAll("%3D", "="))
    .join("/");
}

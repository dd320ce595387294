import { stat } from "node:fs/promises";
import { join } from "node:path";
import { type AddFile, recordCount } from "./delta/actions";
import { deletionVectorPath, readDeletionVector } from "./delta/deletion-vector-store";
import { failed, isAbsent } from "./delta/delta-log";
import type { DeltaTable } from "./delta/delta-table";
import { DuckDbSession, isOutOfMemory, literal, parquet } from "./duckdb-session";

/** A file of a Delta table, with its deletion vector, that can't be read as the log has it. */
export interface FileDamage {
  /** as the log names it */
  path: string;
  /** what is the matter with which file */
  reason: string;
  /** that it has, or had */
  rows: number;
}

/** The first file that isn't there, or is shorter than the log says: a look at the file system, without reading. */
export async function findMissing(table: DeltaTable): Promise<FileDamage | null> {
  for (const add of table.snapshot.files.values()) {
    const reason = await missing(table.path, table.filePath(add), add);
    if (reason !== null) return damageOf(add, reason);
  }
  return null;
}

/** Files that can't be read whole, `max` at most; nothing is looked at after `untilMs`. */
export async function findDamaged(
  table: DeltaTable,
  session: DuckDbSession,
  { max, untilMs }: { max: number; untilMs: number },
): Promise<FileDamage[]> {
  const found: FileDamage[] = [];
  const files = [...table.snapshot.files.values()];
  const sound: AddFile[] = [];
  // What shows without reading first.
  for (const add of files) {
    const reason = await damageShown(table, add);
    if (reason === null) sound.push(add);
    else if (found.push(damageOf(add, reason)) >= max) return found;
  }
  for (const add of sound) {
    if (performance.now() > untilMs) return found;
    const reason = await unreadable(table.filePath(add), session);
    if (reason !== null && found.push(damageOf(add, reason)) >= max) return found;
  }
  return found;
}

/** Looks at one file again; null when it is whole, or isn't the table's any more. */
export async function checkFile(table: DeltaTable, path: string, session: DuckDbSession): Promise<FileDamage | null> {
  const add = table.snapshot.files.get(path);
  if (add === undefined) return null;
  const reason = (await damageShown(table, add)) ?? (await unreadable(table.filePath(add), session));
  return reason === null ? null : damageOf(add, reason);
}

/** What shows without reading the file's rows. */
async function damageShown(table: DeltaTable, add: AddFile): Promise<string | null> {
  return (await missing(table.path, table.filePath(add), add)) ?? damagedVector(table.path, add);
}

function damageOf(add: AddFile, reason: string): FileDamage {
  return { path: add.path, reason, rows: recordCount(add) ?? 0 };
}

async function missing(tablePath: string, file: string, { size, deletionVector }: AddFile): Promise<string | null> {
  const parts = [{ path: file, bytes: size }];
  const vector = deletionVector ? deletionVectorPath(tablePath, deletionVector) : null;
  if (vector !== null && deletionVector) {
    // Length in front, checksum behind (Delta protocol, "Deletion Vector File Storage Format").
    parts.push({ path: vector, bytes: (deletionVector.offset ?? 1) + deletionVector.sizeInBytes + 8 });
  }
  for (const { path, bytes } of parts) {
    const found = await stat(path).catch((error: unknown) => {
      if (isAbsent(error)) return null;
      throw failed(path, "read", error);
    });
    if (found === null) return `${path} is missing`;
    if (found.size < bytes) return `${path} is cut off: it has ${found.size} bytes, not ${bytes}`;
  }
  return null;
}

async function damagedVector(tablePath: string, { deletionVector }: AddFile): Promise<string | null> {
  if (!deletionVector) return null;
  try {
    (await readDeletionVector(tablePath, deletionVector)).dispose();
    return null;
  } catch (error) {
    const path = deletionVectorPath(tablePath, deletionVector) ?? "an inline deletion vector";
    return `${path} is damaged: ${textOf(error)}`;
  }
}

/**
 * Every value of every row is decoded. Parquet without checksums doesn't show each flipped bit.
 * @throws SluiceError `destination` when there isn't the memory to tell
 */
async function unreadable(file: string, session: DuckDbSession): Promise<string | null> {
  const reason = await failureOf(() => decode(file, session));
  if (!isOutOfMemory(reason)) return reason === null ? null : `${file} is damaged: ${textOf(reason)}`;
  // It may be large rows, or a damaged length.
  const roomBytes = await decodedBytes(file, session);
  if (roomBytes > process.availableMemory() / 2) throw reason;
  const roomy = await DuckDbSession.open({
    memoryBytesMax: roomBytes,
    temporaryPath: join(session.temporaryPath, "check", "spill"),
    threads: 1,
  });
  try {
    const still = await failureOf(() => decode(file, roomy));
    return still === null ? null : `${file} is damaged: ${textOf(still)}`;
  } finally {
    await roomy.close();
  }
}

const decode = (file: string, session: DuckDbSession) =>
  session.rows(`SELECT bit_xor(hash(file)) FROM ${parquet([file])} file`);

/** The memory in which one thread decodes the file for certain. */
async function decodedBytes(file: string, session: DuckDbSession): Promise<number> {
  const [{ bytes }] = await session.rows<{ bytes: number }>(
    `SELECT coalesce(max(bytes), 0)::DOUBLE AS bytes
     FROM (SELECT sum(total_uncompressed_size) AS bytes FROM parquet_metadata(${literal(file)}) GROUP BY row_group_id)`,
  );
  return 256 * 1024 * 1024 + 4 * bytes;
}

async function failureOf(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work();
    return null;
  } catch (error) {
    return error ?? new Error("unknown");
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message.split("\n")[0] : String(error);
}

import { readdir, rm, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { failpoint } from "../../failpoint";
import type { AddFile, RemoveFile } from "./actions";
import { deletionVectorPath } from "./deletion-vector-store";
import { failed, isAbsent } from "./delta-log";
import type { DeltaTable } from "./delta-table";

/** Below a table's folder (protocol, "Change Data Files"). */
export const changeDataFolder = "_change_data";

export interface StoredFile {
  /** below the table's folder */
  path: string;
  bytes: number;
  /** when it was written here, or got its name here */
  modifiedMs: number;
}

/**
 * Pure: files of a table that no version within the retention has: neither active, nor removed since `cutoffMs`, nor
 * so young that a writer may still be about to commit them.
 */
export function unneededFiles(files: StoredFile[], needed: ReadonlySet<string>, cutoffMs: number): StoredFile[] {
  return files.filter(({ path, modifiedMs }) => modifiedMs < cutoffMs && !needed.has(path));
}

/** Paths, below the table's folder, of data files and deletion vectors that versions since `cutoffMs` have. */
export async function neededFiles(table: DeltaTable, cutoffMs: number): Promise<Set<string>> {
  const { path: tablePath, snapshot } = table;
  const needed = new Set<string>();
  const take = (file: AddFile | RemoveFile) => {
    needed.add(decodeURIComponent(file.path));
    const vector = file.deletionVector ? deletionVectorPath(tablePath, file.deletionVector) : null;
    if (vector !== null) needed.add(relative(tablePath, vector));
  };
  for (const add of snapshot.files.values()) take(add);
  for (const remove of await table.tombstones(cutoffMs)) take(remove);
  return needed;
}

/** Removes a table's unneeded data files and deletion vectors; of other kinds of files none. A stop amid it harms nothing. */
export async function vacuumTable(
  table: DeltaTable,
  retentionMs: number,
  nowMs = Date.now(),
): Promise<{ files: number; bytes: number }> {
  const cutoffMs = nowMs - retentionMs;
  const tablePath = table.path;
  const stored = await listFiles(tablePath, "");
  const unneeded = unneededFiles(stored, await neededFiles(table, cutoffMs), cutoffMs);
  const removed = { files: 0, bytes: 0 };
  for (const { path, bytes } of unneeded) {
    await rm(join(tablePath, path), { force: true }).catch((error: unknown) => {
      throw failed(join(tablePath, path), "removed", error);
    });
    removed.files++;
    removed.bytes += bytes;
    failpoint("applier.during-vacuum");
  }
  return removed;
}

/** Data files, deletion vectors and files of the change data feed, which no version has; hidden folders (as `_delta_log`) aren't looked into. */
async function listFiles(tablePath: string, folder: string): Promise<StoredFile[]> {
  const files: StoredFile[] = [];
  try {
    for (const entry of await readdir(join(tablePath, folder), { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) {
        if (!/^[._]/.test(entry.name) || entry.name === changeDataFolder)
          files.push(...(await listFiles(tablePath, path)));
      } else if (entry.isFile() && /\.parquet(\..*\.tmp)?$|^deletion_vector_.*\.bin$/.test(entry.name)) {
        const { size, mtimeMs, ctimeMs } = await stat(join(tablePath, path));
        files.push({ path, bytes: size, modifiedMs: Math.max(mtimeMs, ctimeMs) });
      }
    }
  } catch (error) {
    if (!isAbsent(error)) throw failed(join(tablePath, folder), "listed", error);
  }
  return files;
}

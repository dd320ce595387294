import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { wholeCheckpoints } from "./checkpoint";
import { listLog, logFolder } from "./delta-log";

export interface LogFile {
  name: string;
  modifiedMs: number;
}

/**
 * Pure: the files of a log that no version within the retention needs: those before the newest whole checkpoint from
 * which every such version can be read. Time is what the newest commit has, so that a wrong clock between commits
 * deletes nothing; a version is as old as the youngest up to it.
 */
export function expiredLogFiles(files: LogFile[], retentionMs: number): string[] {
  const commits = files
    .map(({ name, modifiedMs }) => ({ version: Number(/^(\d{20})\.json$/.exec(name)?.[1] ?? -1), modifiedMs }))
    .filter(({ version }) => version >= 0)
    .sort((a, b) => a.version - b.version);
  const newest = commits.at(-1);
  if (newest === undefined) return [];
  const cutoffMs = newest.modifiedMs - retentionMs;
  let latestMs = Number.NEGATIVE_INFINITY;
  let oldestKept = newest.version;
  for (const { version, modifiedMs } of commits) {
    latestMs = Math.max(latestMs, modifiedMs);
    if (latestMs < cutoffMs) continue;
    oldestKept = version;
    break;
  }
  const base = wholeCheckpoints(files.map(({ name }) => name)).find(({ version }) => version <= oldestKept);
  if (base === undefined) return [];
  return files
    .filter(({ name }) => {
      const version = /^(\d{20})\.(json|crc|checkpoint\..*)$/.exec(name)?.[1];
      return version !== undefined && Number(version) < base.version;
    })
    .map(({ name }) => name);
}

/** Leftovers of writers that were killed; a live one's are minutes old at most. */
const temporaryMsMax = 86_400_000;

/** Removes what `expiredLogFiles` finds, the oldest first, and temporary files of a day ago. Returns how many. */
export async function cleanLog(tablePath: string, retentionMs: number): Promise<number> {
  const folder = logFolder(tablePath);
  const files: LogFile[] = [];
  for (const name of await listLog(tablePath)) {
    const found = await stat(join(folder, name)).catch(() => null);
    if (found?.isFile()) files.push({ name, modifiedMs: found.mtimeMs });
  }
  const newestMs = Math.max(...files.map(({ modifiedMs }) => modifiedMs));
  const temporary = files.filter(
    ({ name, modifiedMs }) => /^\..*\.tmp$/.test(name) && modifiedMs < newestMs - temporaryMsMax,
  );
  const expired = [...expiredLogFiles(files, retentionMs).sort(), ...temporary.map(({ name }) => name)];
  for (const name of expired) await rm(join(folder, name), { force: true });
  return expired.length;
}

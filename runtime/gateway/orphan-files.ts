import type { ObjectStore } from "../staging/object-store";
import { namedFiles } from "../staging/staged-commit";
import { readCommit, readTail } from "../staging/staging-log";

/** Records looked through for the names of files, newest first; older epochs' orphans stay until another start. */
const recordsMax = 20_000;

/** Clocks of two machines may differ by so much. */
const clockSkewMs = 3_600_000;

/** Names of data files begin with the epoch of the gateway that wrote them: when it started, in base 36, and its pid. */
const epochOf = (key: string): string | null => /^data\/([0-9a-z]+-\d+)-\d+\.parquet$/.exec(key)?.[1] ?? null;
const startedMs = (epoch: string): number => Number.parseInt(epoch, 36);

export function newEpoch(nowMs: number, pid: number): string {
  return `${nowMs.toString(36)}-${pid}`;
}

/**
 * Deletes files that gateways of before have written and no record names: of transactions that were open, and of batches
 * that weren't recorded, when they ended. To be called once a record of this epoch is durable: from then on none of them
 * can write another record, so that what isn't named never will be. Files of epochs that are younger, or whose records
 * are too far back, are left alone.
 * @param sequence newest record known to exist
 * @returns the keys deleted
 */
export async function removeOrphans(store: ObjectStore, epoch: string, sequence: number): Promise<string[]> {
  const candidates = new Map<string, Set<string>>();
  for (const key of await store.list("data")) {
    const writer = epochOf(key);
    if (writer === null || writer === epoch || startedMs(writer) > startedMs(epoch)) continue;
    const files = candidates.get(writer) ?? new Set();
    candidates.set(writer, files.add(key));
  }
  const orphans: string[] = [];
  let scanned = 0;
  const tail = candidates.size === 0 ? sequence : await readTail(store);
  for (let at = sequence; at >= tail && at > 0 && candidates.size > 0 && scanned < recordsMax; at--, scanned++) {
    const commit = await readCommit(store, at);
    for (const path of namedFiles(commit)) candidates.get(epochOf(path) ?? "")?.delete(path);
    // Records older than an epoch name none of its files.
    for (const [writer, files] of candidates) {
      if (at > tail && Date.parse(commit.stagedAt) >= startedMs(writer) - clockSkewMs) continue;
      orphans.push(...files);
      candidates.delete(writer);
    }
  }
  for (const key of orphans) await store.delete(key);
  return orphans;
}

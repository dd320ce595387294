import type { ObjectStore } from "./object-store";
import { logKey, namedFiles } from "./staged-commit";
import { readCommit, readTail } from "./staging-log";

/** Records that one call removes at most, so that applying isn't held up. */
const recordsMax = 500;

/**
 * Removes the oldest staged records with their files: up to a sequence that every reader has applied, and staged before a
 * time. The newest record is what a gateway starts from: it stays. A record goes before its files: one that is there has
 * them all (invariant 2).
 * @returns how many records and files
 */
export async function purgeStaged(
  store: ObjectStore,
  options: { appliedSequence: number; head: number; beforeMs: number },
): Promise<{ records: number; files: number }> {
  const purged = { records: 0, files: 0 };
  const tail = await readTail(store);
  if (tail === 0) return purged;
  const last = Math.min(options.appliedSequence, options.head - 1, tail + recordsMax - 1);
  for (let sequence = tail; sequence <= last; sequence++) {
    const commit = await readCommit(store, sequence);
    if (Date.parse(commit.stagedAt) >= options.beforeMs) break;
    await store.delete(logKey(sequence));
    const files = namedFiles(commit);
    for (const path of files) await store.delete(path);
    purged.records++;
    purged.files += files.length;
  }
  return purged;
}

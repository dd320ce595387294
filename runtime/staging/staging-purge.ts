import { failpoint } from "../failpoint";
import type { ObjectStore } from "./object-store";
import { logKey, namedFiles } from "./staged-commit";
import { readCommit, readTail } from "./staging-log";

/** Records that one call removes at most, so that applying isn't held up. */
const recordsMax = 200;

export interface Purged {
  records: number;
  files: number;
  /** oldest record that is left; 0 when there is none */
  tail: number;
  /** the oldest record is old enough, but somebody may need it */
  isHeld: boolean;
}

/**
 * Removes the oldest staged records with their files: up to a sequence that every reader has applied, and staged before a
 * time. The newest record is what a gateway starts from: it stays. A record goes before its files: one that is there has
 * them all (invariant 2). Files that a stop leaves behind are orphans, which the gateway removes when it starts next.
 */
export async function purgeStaged(
  store: ObjectStore,
  options: { appliedSequence: number; head: number; beforeMs: number; tail?: number },
): Promise<Purged> {
  const tail = await readTail(store, options.tail);
  const purged: Purged = { records: 0, files: 0, tail, isHeld: false };
  if (tail === 0) return purged;
  for (; purged.tail < options.head && purged.records < recordsMax; purged.tail++) {
    const commit = await readCommit(store, purged.tail);
    if (Date.parse(commit.stagedAt) >= options.beforeMs) break;
    if (purged.tail > options.appliedSequence) return { ...purged, isHeld: true };
    await store.delete(logKey(purged.tail));
    failpoint("applier.after-purged-record");
    const files = namedFiles(commit);
    for (const path of files) await store.delete(path);
    purged.records++;
    purged.files += files.length;
  }
  return purged;
}

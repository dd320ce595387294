import { SluiceError } from "../errors";
import { type ApplierProgress, neededAfter, readAllProgress } from "./applier-progress";
import type { ObjectStore } from "./object-store";
import { namedFiles, type StagedCommit } from "./staged-commit";
import { readCommit, readHead, readLogIdentity, readTail } from "./staging-log";
import { purgeStaged } from "./staging-purge";

export interface ReadPurgeOptions {
  /** only what was staged before; milliseconds since 1970 */
  beforeMs: number;
  /**
   * also the last whole snapshot of a table that whoever reads it has passed: it can't be begun anew then, before it has
   * another one
   */
  pastSnapshots: boolean;
  /** nothing is removed */
  isDry: boolean;
}

export interface ReadPurge {
  records: number;
  files: number;
  /** oldest record that is left; 0 when there is none */
  tail: number;
  /** newest record */
  head: number;
  /** what keeps the next record; null where it is younger than asked for, or the newest */
  heldBy: string | null;
}

/**
 * Removes what all who read a staging log have told to need no more: for a log that no applier purges.
 * @throws SluiceError `missing-object` where nobody has told it; `staging` where it can't be read
 */
export async function purgeRead(store: ObjectStore, options: ReadPurgeOptions): Promise<ReadPurge> {
  const { beforeMs, pastSnapshots, isDry } = options;
  const [logId, head, tail] = [await readLogIdentity(store), await readHead(store), await readTail(store)];
  if (logId === null || head === 0) {
    throw new SluiceError("missing-object", `staging ${store.location} has no records`, {
      remedy: "Start the gateway first.",
    });
  }
  const progress = await readAllProgress(store, logId);
  if (progress?.size === 0) {
    throw new SluiceError("missing-object", `staging ${store.location}: nobody has told yet what of it is needed`, {
      remedy:
        "Run an update of the pipeline; its principal needs WRITE VOLUME on staging's volume, as it writes to progress/.",
    });
  }
  if (progress === null) {
    throw new SluiceError("staging", `staging ${store.location}: a file of progress/ can't be read`, {
      remedy: "Run an update of the pipeline, which writes it anew, or remove the file that isn't whole.",
    });
  }
  const commits = new SnapshotBegins();
  /** of records from the tail on, how many files they name */
  const old: number[] = [];
  for (let sequence = tail; sequence <= head; sequence++) {
    const commit = await readCommit(store, sequence);
    commits.add(commit);
    const isOld = Date.parse(commit.stagedAt) < beforeMs && old.length === sequence - tail && sequence < head;
    if (isOld) old.push(namedFiles(commit).length);
  }
  const bound = purgeBound(progress, commits.kept(), pastSnapshots);
  const going = old.slice(0, Math.max(0, bound.sequence - tail + 1));
  const heldBy = going.length < old.length ? bound.by : null;
  if (isDry) {
    const files = going.reduce((sum, count) => sum + count, 0);
    return { records: going.length, files, tail: tail + going.length, head, heldBy };
  }
  const purged = { records: 0, files: 0, tail, head, heldBy };
  while (purged.tail < tail + going.length) {
    const done = await purgeStaged(store, { appliedSequence: bound.sequence, head, beforeMs, tail: purged.tail });
    purged.records += done.records;
    purged.files += done.files;
    if (done.tail <= purged.tail) break;
    purged.tail = done.tail;
  }
  return purged;
}

/** A table whose snapshot a reader may begin with. */
export interface KeptSnapshot {
  tableId: string;
  label: string;
  /** record of its begin; null when no snapshot of the table is left */
  begin: number | null;
}

/** Pure: no record up to `sequence` is needed by a reader, nor to begin a table anew; `by`: who needs the next one. */
export function purgeBound(
  progress: ReadonlyMap<string, ApplierProgress>,
  snapshots: readonly KeptSnapshot[],
  pastSnapshots: boolean,
): { sequence: number; by: string } {
  const read = new Set([...progress.values()].flatMap(({ tables }) => Object.keys(tables)));
  let bound = neededAfter(progress);
  for (const { tableId, label, begin } of snapshots) {
    if (begin === null || (pastSnapshots && read.has(tableId))) continue;
    if (begin - 1 < bound.sequence) bound = { sequence: begin - 1, by: `the last snapshot of ${label}` };
  }
  return bound;
}

/** Where the snapshots begin that tables of the newest record can be begun with: the last whole one, else the one under way. */
class SnapshotBegins {
  private newest: StagedCommit["tables"] = {};
  private readonly open = new Map<string, { snapshotId: string; begin: number }>();
  private readonly whole = new Map<string, number>();

  add({ sequence, events, tables }: StagedCommit): void {
    this.newest = tables;
    for (const event of events) {
      if (event.kind === "snapshot-begin") {
        this.open.set(event.tableId, { snapshotId: event.snapshotId, begin: sequence });
      } else if (event.kind === "snapshot-end") {
        const open = this.open.get(event.tableId);
        if (open?.snapshotId === event.snapshotId) this.whole.set(event.tableId, open.begin);
      }
    }
  }

  kept(): KeptSnapshot[] {
    return Object.entries(this.newest).map(([tableId, { schema, name }]) => ({
      tableId,
      label: `${schema}.${name}`,
      begin: this.whole.get(tableId) ?? this.open.get(tableId)?.begin ?? null,
    }));
  }
}

import type { DeltaTable } from "../destination/delta/delta-table";

/** What the table's own log tells; zeros where it isn't known. */
export function deltaCounters(delta: DeltaTable | null) {
  const own = delta?.snapshot.newestOwn;
  return {
    upserted: own?.upserted ?? 0,
    deleted: own?.deleted ?? 0,
    dropped: own?.dropped ?? 0,
    durationMs: own?.durationMs ?? 0,
    deltaVersion: delta?.exists ? delta.snapshot.version : null,
  };
}

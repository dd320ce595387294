import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { DamagedLogError } from "../destination/delta/delta-log";
import { DeltaTable } from "../destination/delta/delta-table";
import type { DuckDbSession } from "../destination/duckdb-session";
import { tablePath } from "../destination/table-path";
import { log } from "../operate/log";
import type { StagedRecords } from "./staged-records";
import type { Place } from "./table-home";

/**
 * Staged changes of a table after `sequence` that come before its newest complete snapshot, which holds what they have
 * led to; null when there is no such snapshot.
 */
export async function changesBeforeSnapshot(
  records: StagedRecords,
  tableId: string,
  sequence: number,
): Promise<number | null> {
  let changes = 0;
  let begun = { snapshotId: "", changes: 0 };
  let found: number | null = null;
  for (let next = sequence + 1; next <= records.head; next++) {
    for (const event of (await records.read(next)).events.get(tableId) ?? []) {
      if (event.kind === "changes") changes += event.inserts + event.updates + event.deletes;
      if (event.kind === "snapshot-begin") begun = { snapshotId: event.snapshotId, changes };
      if (event.kind === "snapshot-end" && event.snapshotId === begun.snapshotId) found = begun.changes;
    }
  }
  return found;
}

/**
 * Moves a table of ours out of the way whose Delta log can't be read, so that a new snapshot can have its place. Nothing
 * of it is removed.
 * @returns whether there was such a table
 */
export async function setDamagedAside(place: Place, destinationPath: string, session: DuckDbSession): Promise<boolean> {
  const path = tablePath(destinationPath, place);
  try {
    await DeltaTable.open(path, session);
    return false;
  } catch (error) {
    if (!(error instanceof DamagedLogError)) throw error;
    const folder = join(destinationPath, ".sluice", "damaged");
    const target = join(folder, `${encodeURIComponent(`${place.schema}.${place.name}`)}-${Date.now()}`);
    await mkdir(folder, { recursive: true });
    await rename(path, target);
    log("warning", "damaged-table-set-aside", { table: `${place.schema}.${place.name}`, path: target });
    return true;
  }
}

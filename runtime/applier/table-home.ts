import { DeltaTable } from "../destination/delta/delta-table";
import { ownerProperties } from "../destination/delta/table-metadata";
import type { DuckDbSession } from "../destination/duckdb-session";
import { tablePath } from "../destination/table-path";
import { SluiceError } from "../errors";
import { log } from "../operate/log";

export interface Place {
  schema: string;
  name: string;
}

/** Whose rows are looked for. */
export interface TableOwner {
  tableId: string;
  logId: string;
  /** names table and log in the Delta table's txn */
  appId: string;
}

/** Where a table's rows are. */
export interface TableHome {
  place: Place;
  /** the newest version; where another table has taken the place: the last one with this table's rows, for reading only */
  delta: DeltaTable;
  /** another table of the same log has the place now */
  isDisplaced: boolean;
}

export const tableOwner = (logId: string, tableId: string): TableOwner => ({
  tableId,
  logId,
  appId: `sluice-${logId}-${tableId}`,
});

interface Destination {
  session: DuckDbSession;
  destinationPath: string;
}

/** @throws SluiceError `destination` when a table is there that no pipeline of ours has made */
export async function openPlace(place: Place, { session, destinationPath }: Destination): Promise<DeltaTable> {
  const delta = await DeltaTable.open(tablePath(destinationPath, place), session);
  for (const damage of delta.damage)
    log("warning", "delta-checkpoint-passed-over", { path: delta.path, error: damage });
  if (delta.exists && property(delta, "source") === undefined) {
    throw new SluiceError("destination", `Delta table ${delta.path} exists and was not made by Sluice`, {
      remedy: "Choose another destination path, or move that table away.",
    });
  }
  return delta;
}

/**
 * Finds a table's rows at one of the places where it may be. A table that was renamed may have lost its former place to
 * another one before it moved: its rows are in that place's history then.
 */
export async function findHome(places: Place[], owner: TableOwner, destination: Destination): Promise<TableHome> {
  const homes: TableHome[] = [];
  for (const place of places) {
    if (homes.some((home) => isSamePlace(home.place, place))) continue;
    const delta = await openPlace(place, destination);
    homes.push((await displacedHome(place, delta, owner, destination)) ?? { place, delta, isDisplaced: false });
  }
  const rank = (home: TableHome) => (heldSequence(home.delta, owner) ?? -1) + (home.isDisplaced ? 0 : 0.5);
  return homes.reduce((best, home) => (rank(home) > rank(best) ? home : best));
}

async function displacedHome(
  place: Place,
  delta: DeltaTable,
  { tableId, logId, appId }: TableOwner,
  { session }: Destination,
): Promise<TableHome | null> {
  const isTaken = property(delta, "log") === logId && ![tableId, undefined].includes(property(delta, "table"));
  if (!isTaken || !delta.snapshot.txns.has(appId)) return null;
  const version = await delta.lastVersionBefore(
    appId,
    (metaData) => metaData.configuration[ownerProperties.table] !== tableId,
  );
  if (version === null) return null;
  return { place, delta: await DeltaTable.openVersion(delta.path, version, session), isDisplaced: true };
}

/** The staged sequence that a Delta table holds of the owner's rows, by its own log; null when it isn't the owner's. */
export function heldSequence(delta: DeltaTable, { tableId, appId }: TableOwner): number | null {
  const table = property(delta, "table");
  if (table !== undefined && table !== tableId) return null;
  return delta.snapshot.txns.get(appId)?.version ?? null;
}

/** @throws SluiceError `destination` when changes would go into another's table */
export function assertOwned(delta: DeltaTable, owner: TableOwner): void {
  if (isOwned(delta, owner)) return;
  throw new SluiceError("destination", `Delta table ${delta.path} is now written by another pipeline`, {
    remedy: "Give each pipeline its own destination path.",
  });
}

export function isOwned(delta: DeltaTable, { logId, tableId }: TableOwner): boolean {
  return property(delta, "log") === logId && [tableId, undefined].includes(property(delta, "table"));
}

/** The other table of the log that has the place; null when there is none. */
export function takenBy(delta: DeltaTable, { logId, tableId }: TableOwner): string | null {
  const owner = property(delta, "table");
  return owner === undefined || owner === tableId || property(delta, "log") !== logId ? null : owner;
}

export function isSamePlace(a: Place, b: Place): boolean {
  return a.schema === b.schema && a.name === b.name;
}

/** Whose a Delta table of ours is; null of one that no pipeline of ours has made. */
export function ownerOf(delta: DeltaTable): { logId: string; tableId: string | undefined } | null {
  const logId = property(delta, "log");
  return logId === undefined ? null : { logId, tableId: property(delta, "table") };
}

function property(delta: DeltaTable, name: keyof typeof ownerProperties): string | undefined {
  return delta.snapshot.metaData?.configuration[ownerProperties[name]];
}

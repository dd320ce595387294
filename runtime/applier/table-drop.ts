import { lstat, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { DeltaTable } from "../destination/delta/delta-table";
import type { DuckDbSession } from "../destination/duckdb-session";
import { tablePath } from "../destination/table-path";
import { failpoint } from "../failpoint";
import { isOwned, type Place, type TableOwner } from "./table-home";

export type DropOutcome =
  | { kind: "dropped" }
  /** nothing is there: it was never written, or a drop was cut off after its folder had gone */
  | { kind: "absent" }
  | { kind: "kept"; reason: string };

interface Destination {
  session: DuckDbSession;
  destinationPath: string;
}

/**
 * Removes a table's folder, if it is this table's by its newest version. First it is renamed away, at once and whole: who
 * is killed in between leaves no half table, and the rest to `removeDropped`.
 * @throws SluiceError `destination` when its log is damaged
 */
export async function dropTable(place: Place, owner: TableOwner, destination: Destination): Promise<DropOutcome> {
  return dropFolder(tablePath(destination.destinationPath, place), owner, destination);
}

/** The same, of the folder at a path. */
export async function dropFolder(
  path: string,
  owner: TableOwner,
  { destinationPath, session }: Destination,
): Promise<DropOutcome> {
  const entry = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
    throw error;
  });
  if (entry === null) return { kind: "absent" };
  if (!entry.isDirectory()) return { kind: "kept", reason: `${path} is no folder` };
  const delta = await DeltaTable.open(path, session);
  if (!delta.exists) return { kind: "kept", reason: `${path} is no Delta table` };
  if (!isOwned(delta, owner)) return { kind: "kept", reason: `${path} is another table's` };
  const folder = droppedFolder(destinationPath);
  const target = join(folder, `${owner.tableId}-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  failpoint("applier.before-drop");
  await rename(path, target);
  failpoint("applier.after-drop");
  await rm(target, { recursive: true, force: true });
  return { kind: "dropped" };
}

/** What killed processes have left of dropped tables. */
export async function removeDropped(destinationPath: string): Promise<void> {
  await rm(droppedFolder(destinationPath), { recursive: true, force: true });
}

function droppedFolder(destinationPath: string): string {
  return join(destinationPath, ".sluice", "dropped");
}

import { existsSync } from "node:fs";
import { lstat, readdir, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import type { ApplierConfig } from "../config";
import { DeltaTable } from "../destination/delta/delta-table";
import type { DuckDbSession } from "../destination/duckdb-session";
import { folderName } from "../destination/table-path";
import { SluiceError } from "../errors";
import { runHistoryPath } from "../operate/run-place";
import { otherLog, readMadeTables, type TableFate } from "./made-tables";
import { openSession } from "./session";
import { dropFolder, removeDropped } from "./table-drop";
import { ownerOf, tableOwner } from "./table-home";

/**
 * Drops the Delta tables that an applier, which has ended, made of its staging log or a former one, and with them what it has in
 * `.sluice`; all others stay. One that was cut off is finished by the next.
 * @throws SluiceError `destination` when something of it can't be removed
 */
export async function dropPipelineTables(
  config: ApplierConfig,
  destinationPath: string,
  tell: (fate: TableFate) => void,
): Promise<void> {
  if (!existsSync(destinationPath)) return;
  const { logIds, places } = await readMadeTables(config);
  const session = await openSession(config, destinationPath);
  const schemas = new Set(places.map(({ schema }) => join(destinationPath, folderName(schema))));
  try {
    await removeDropped(destinationPath);
    for (const path of await tableFolders(destinationPath)) {
      const fate = await dropIfOurs(path, logIds, { destinationPath, session });
      if (fate.kind === "dropped") schemas.add(dirname(path));
      tell(fate);
    }
    await removeDropped(destinationPath);
  } finally {
    await session.close();
  }
  await rm(runHistoryPath(destinationPath, config.id), { force: true });
  for (const folder of [...schemas, join(destinationPath, ".sluice")]) await removeEmpty(folder);
}

/** Folders with a Delta log, two below the destination. */
async function tableFolders(destinationPath: string): Promise<string[]> {
  const found: string[] = [];
  for (const schema of await folders(destinationPath)) {
    for (const table of await folders(schema)) if (existsSync(join(table, "_delta_log"))) found.push(table);
  }
  return found;
}

async function folders(path: string): Promise<string[]> {
  const names = (await readdir(path)).filter((name) => !name.startsWith(".")).sort();
  const all = names.map((name) => join(path, name));
  const isFolder = await Promise.all(
    all.map((each) =>
      stat(each)
        .then((it) => it.isDirectory())
        .catch(() => false),
    ),
  );
  return all.filter((_, index) => isFolder[index]);
}

async function dropIfOurs(
  path: string,
  logIds: ReadonlySet<string>,
  destination: { destinationPath: string; session: DuckDbSession },
): Promise<TableFate> {
  const kept = (reason: string): TableFate => ({ kind: "kept", path, reason });
  try {
    const owner = ownerOf(await DeltaTable.open(path, destination.session));
    if (owner === null) return kept("it was not made by Sluice");
    if (!logIds.has(owner.logId)) return kept(otherLog(logIds));
    const other = await findOther(path);
    if (other !== null) return kept(`it has something else in it: ${other}`);
    const outcome = await dropFolder(path, tableOwner(owner.logId, owner.tableId ?? basename(path)), destination);
    if (outcome.kind === "kept") return kept(outcome.reason);
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    return kept(`it can't be read: ${error.message}`);
  }
  if (await isThere(path)) {
    throw new SluiceError("destination", `${path} is there again: something writes to it`, {
      remedy: `Stop what writes to it, then run the same again, or remove ${path} by hand.`,
    });
  }
  return { kind: "dropped", path };
}

/** What no Delta table has among its files, whoever wrote them; null when there is nothing. */
async function findOther(path: string): Promise<string | null> {
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    const place = relative(path, join(entry.parentPath, entry.name));
    const [first] = place.split(sep);
    if (first === "_delta_log" || (entry.isDirectory() && entry.name !== "_delta_log")) continue;
    // A writer that was killed leaves files with .tmp behind their names; Hadoop's have a .crc beside them.
    if (entry.isFile() && /\.(parquet|bin)(\..*\.tmp|\.crc)?$/.test(entry.name)) continue;
    return place;
  }
  return null;
}

const isThere = (path: string) =>
  lstat(path).then(
    () => true,
    () => false,
  );

async function removeEmpty(folder: string): Promise<void> {
  await rmdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (!["ENOENT", "ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(error.code ?? "")) throw error;
  });
}

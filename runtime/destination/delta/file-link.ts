import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { AddFile } from "./actions";
import { deletionVectorPath } from "./deletion-vector-store";
import { failed, flush, hasCode, isLinkRefused } from "./delta-log";

/** Gives a data file and its deletion vector's file the same names in another table's folder. */
export async function linkFile(fromTable: string, toTable: string, add: AddFile): Promise<void> {
  const name = decodeURIComponent(add.path);
  await linkInto(join(fromTable, name), join(toTable, name));
  const vector = add.deletionVector;
  const vectorPath = vector ? deletionVectorPath(fromTable, vector) : null;
  if (vector?.storageType !== "u" || vectorPath === null) return;
  await linkInto(vectorPath, join(toTable, relative(fromTable, vectorPath)));
}

async function linkInto(source: string, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await linkOrCopy(source, path, (await stat(source)).size);
  } catch (error) {
    throw failed(path, "written", error);
  }
}

/** A hard link where the file system can, else a copy. Files are never changed, so one that is there already is the same. */
export async function linkOrCopy(source: string, path: string, bytes: number): Promise<void> {
  try {
    await link(source, path);
  } catch (error) {
    if (hasCode(error, "EEXIST")) {
      if ((await stat(path)).size !== bytes) await copyWhole(source, path);
    } else if (isLinkRefused(error)) await copyWhole(source, path);
    else throw failed(path, "written", error);
  }
}

async function copyWhole(source: string, path: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await copyFile(source, temporary, constants.COPYFILE_FICLONE);
    await flush(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw failed(path, "written", error);
  }
}

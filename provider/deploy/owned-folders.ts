import { chownSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { workFolder } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { stagingFoldersOf } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import type { Owner } from "./private-files";

/** Root makes folders for a user without rights; any other user for itself. */
export const isRoot = () => process.geteuid?.() === 0;

/**
 * Makes the folders of a process of another user: the process's own and staging belong to its user; a destination that is there
 * already is left as it is, and must let the user write.
 * @throws SluiceError `process`, `destination`
 */
export function prepareFolders({ directory, config }: ProcessSpec, owner: Owner): void {
  try {
    makeFolder(directory, owner);
    if (isRoot()) for (const path of [directory, ...stagingFoldersOf(config)]) giveTo(path, owner);
    if (config.role === "applier" && !existsSync(workFolder(config))) makeFolder(workFolder(config), owner);
  } catch (cause) {
    throw new SluiceError("process", `a folder for ${directory} can't be made: ${(cause as Error).message}`, {
      remedy: "Choose a stateDir and a destination where this user may write.",
      cause,
    });
  }
  if (config.role === "applier") requireWritable(workFolder(config), owner);
}

/** Folders above that are missing are made too. */
export function makeFolder(path: string, owner: Owner): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined || !isRoot()) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) {
    chownSync(folder, owner.uid, owner.gid);
  }
}

/** With all that is in it. */
export function giveTo(path: string, { uid, gid }: Owner): void {
  if (!existsSync(path)) return;
  const found = lstatSync(path);
  if (found.uid !== uid || found.gid !== gid) lchownSync(path, uid, gid);
  if (!found.isDirectory()) return;
  for (const name of readdirSync(path)) giveTo(join(path, name), { uid, gid });
}

/** One that is empty becomes its own, where root asks. @throws SluiceError `destination` */
export function requireWritable(path: string, { uid, gid }: Owner): void {
  const found = statSync(path);
  if (isRoot() && readdirSync(path).length === 0) {
    chownSync(path, uid, gid);
    return;
  }
  const shift = found.uid === uid ? 6 : found.gid === gid ? 3 : 0;
  if (((found.mode >> shift) & 0o3) === 0o3) return;
  throw new SluiceError(
    "destination",
    `the destination ${path} belongs to user ${found.uid}, and the process's user ${uid} can't write to it`,
    {
      remedy: `Run chown -R ${uid}:${gid} ${path}, or set deployment.user to who may (it is of ${found.uid}:${found.gid}).`,
    },
  );
}

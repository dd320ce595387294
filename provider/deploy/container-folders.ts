import { chownSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { workFolder } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { stagingFoldersOf, variableFile } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { type Owner, writePrivate } from "./private-files";
import { processFiles, readText } from "./process-files";

/** Root makes folders for a user without rights; any other user for itself. */
const isRoot = () => process.geteuid?.() === 0;

/** `uid:gid` of the process where nobody says otherwise. */
export function defaultOwner(): Owner {
  if (isRoot()) return { uid: 65532, gid: 65532 };
  return { uid: process.geteuid?.() ?? 65532, gid: process.getegid?.() ?? 65532 };
}

/**
 * Makes the folders that a container binds: the process's own and staging belong to its user; a destination that is there
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
function makeFolder(path: string, owner: Owner): void {
  const first = mkdirSync(path, { recursive: true, mode: 0o700 });
  if (first === undefined || !isRoot()) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) {
    chownSync(folder, owner.uid, owner.gid);
  }
}

/** With all that is in it. */
function giveTo(path: string, { uid, gid }: Owner): void {
  if (!existsSync(path)) return;
  const found = lstatSync(path);
  if (found.uid !== uid || found.gid !== gid) lchownSync(path, uid, gid);
  if (!found.isDirectory()) return;
  for (const name of readdirSync(path)) giveTo(join(path, name), { uid, gid });
}

function requireWritable(path: string, { uid, gid }: Owner): void {
  const found = statSync(path);
  if (isRoot() && readdirSync(path).length === 0) {
    chownSync(path, uid, gid);
    return;
  }
  const shift = found.uid === uid ? 6 : found.gid === gid ? 3 : 0;
  if (((found.mode >> shift) & 0o3) === 0o3) return;
  throw new SluiceError(
    "destination",
    `the destination ${path} belongs to user ${found.uid}, and the container's user ${uid} can't write to it`,
    { remedy: `Run chown -R ${uid}:${gid} ${path}, or set deployment.user to "${found.uid}:${found.gid}".` },
  );
}

/** Writes the configuration for the container's user alone, and removes the status of the process before. */
export function writeConfiguration(directory: string, configuration: string, owner: Owner): void {
  rmSync(join(directory, processFiles.status), { force: true });
  writeOwn(join(directory, processFiles.configuration), configuration, owner);
}

/** Secrets by the name of their file; a process reads them at each connection. @throws SluiceError `config` */
export function secretsOf({ secretVariables, secretFiles }: ProcessSpec): Record<string, string> {
  const secrets = { ...secretFiles };
  for (const variable of secretVariables) {
    const value = process.env[variable];
    if (value === undefined) {
      throw new SluiceError("config", `the environment variable ${variable} is not set`, {
        remedy: `Set ${variable} where Pulumi runs, or give a file: { file: "/path/to/secret" }.`,
      });
    }
    secrets[variableFile(variable)] = value;
  }
  return secrets;
}

export function writeSecrets(directory: string, secrets: Record<string, string>, owner: Owner): void {
  for (const [name, content] of Object.entries(secrets)) {
    if (readText(join(directory, name)) !== content) writeOwn(join(directory, name), content, owner);
  }
}

const writeOwn = (path: string, text: string, owner: Owner) => writePrivate(path, text, isRoot() ? owner : undefined);

import { chownSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { workFolder } from "../../runtime/config";
import { foldersWritten } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { prepareFolders, requireWritable } from "./owned-folders";
import { type Owner, writePrivate } from "./private-files";
import { environmentOf } from "./process-folder";
import { credentialFile, environmentFile, renderEnvironment } from "./systemd-unit";

/** For the manager, which reads it: this user's. */
export function writeEnvironment(
  spec: ProcessSpec,
  { credentials, isOther }: { credentials: Record<string, string>; isOther: boolean },
): void {
  const left = new Set([...Object.keys(credentials), ...(isOther ? ["HOME"] : [])]);
  const variables = Object.entries(environmentOf(spec)).filter(([name]) => !left.has(name));
  writePrivate(join(spec.directory, environmentFile), renderEnvironment(Object.fromEntries(variables)));
  const folder = join(spec.directory, dirname(credentialFile("any")));
  rmSync(folder, { recursive: true, force: true });
  if (Object.keys(credentials).length > 0) mkdirSync(folder, { mode: 0o700 });
  for (const [name, value] of Object.entries(credentials))
    writePrivate(join(spec.directory, credentialFile(name)), value);
}

/** What a unit of the machine writes to is its user's: it has no capability, also as root. @throws SluiceError */
export function giveFolders(spec: ProcessSpec, owner: Owner): void {
  prepareFolders(spec, owner);
  chownSync(dirname(spec.directory), owner.uid, owner.gid);
}

/** @throws SluiceError `destination` */
export function requireDestination({ config }: ProcessSpec, owner: Owner): void {
  if (config.role === "applier" && existsSync(workFolder(config))) requireWritable(workFolder(config), owner);
}

/** Pure: folders that the process passes through to those that it writes to, and which aren't made its user's. */
export function foldersPassed(spec: ProcessSpec): string[] {
  const deployment = dirname(spec.directory);
  const isOwn = (path: string) => path.startsWith(`${deployment}/`);
  return [...new Set(foldersWritten(spec).map((path) => dirname(isOwn(path) ? deployment : path)))];
}

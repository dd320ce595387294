import { rmSync } from "node:fs";
import { join } from "node:path";
import { variableFile } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { isRoot } from "./owned-folders";
import { type Owner, writePrivate } from "./private-files";
import { processFiles, readText } from "./process-files";
import { variablesOf } from "./process-folder";

/** `uid:gid` of the process where nobody says otherwise. */
export function defaultOwner(): Owner {
  if (isRoot()) return { uid: 65532, gid: 65532 };
  return { uid: process.geteuid?.() ?? 65532, gid: process.getegid?.() ?? 65532 };
}

/** Writes the configuration for the container's user alone, and removes the status of the process before. */
export function writeConfiguration(directory: string, configuration: string, owner: Owner): void {
  rmSync(join(directory, processFiles.status), { force: true });
  writeOwn(join(directory, processFiles.configuration), configuration, owner);
}

/** Secrets by the name of their file; a process reads them at each connection. @throws SluiceError `config` */
export function secretsOf(spec: ProcessSpec): Record<string, string> {
  const variables = Object.entries(variablesOf(spec)).map(([name, value]) => [variableFile(name), value]);
  return { ...spec.secretFiles, ...Object.fromEntries(variables) };
}

export function writeSecrets(directory: string, secrets: Record<string, string>, owner: Owner): void {
  for (const [name, content] of Object.entries(secrets)) {
    if (readText(join(directory, name)) !== content) writeOwn(join(directory, name), content, owner);
  }
}

const writeOwn = (path: string, text: string, owner: Owner) => writePrivate(path, text, isRoot() ? owner : undefined);

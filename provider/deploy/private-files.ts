import { chownSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Owner {
  uid: number;
  gid: number;
}

/** For its owner alone, this user by default; as a whole, under another name first. */
export function writePrivate(path: string, text: string, owner?: Owner): void {
  const temporary = `${path}.tmp`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, text, { mode: 0o600 });
  if (owner !== undefined) chownSync(temporary, owner.uid, owner.gid);
  renameSync(temporary, path);
}

/** Removes secret files that the process reads no more. `secrets`: by their names. */
export function pruneSecrets(directory: string, secrets: Record<string, string>): void {
  for (const name of readdirSync(directory)) {
    if (name.endsWith(".secret") && !(name in secrets)) rmSync(join(directory, name));
  }
}

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import { tetherFile } from "../../runtime/supervisor";
import { readJson } from "./process-files";

/**
 * A process that a create has started is tethered to the provider until the create is done: when the provider is killed
 * before, nobody knows of the process, and it ends by itself.
 */
export function tether(directory: string, file: string = tetherFile): void {
  writeFileSync(join(directory, file), JSON.stringify(identifyProcess(process.pid)));
}

export function untether(directory: string, file: string = tetherFile): void {
  rmSync(join(directory, file), { force: true });
}

/** Folders directly below `stateDir` whose gateway was tethered to a provider that is gone. */
export function abandonedDeployments(stateDir: string, file: string = tetherFile): string[] {
  let names: string[];
  try {
    names = readdirSync(stateDir);
  } catch {
    return [];
  }
  return names
    .map((name) => join(stateDir, name))
    .filter((folder) => {
      const provider = readJson(join(folder, "gateway", file), processIdentitySchema);
      return provider !== null && !isAlive(provider);
    });
}

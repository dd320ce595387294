import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import { tetherFile } from "../../runtime/supervisor";
import { readJson, removeFolder } from "./process-files";

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

const adoptedSchema = z.object({ adopted: z.literal(true) });

/**
 * Ends gateways that were tethered to a provider that is gone, and removes their deployments' folders below `stateDir`; a
 * staging that was to be taken over stays.
 */
export async function sweepAbandoned(
  stateDir: string,
  end: (directory: string) => Promise<void>,
  file: string = tetherFile,
): Promise<void> {
  for (const folder of abandonedDeployments(stateDir, file)) {
    const gateway = join(folder, "gateway");
    await end(gateway);
    const isAdopted = readJson(join(folder, "staging", "owner.json"), adoptedSchema) !== null;
    removeFolder(isAdopted ? gateway : folder);
  }
}

function abandonedDeployments(stateDir: string, file: string): string[] {
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

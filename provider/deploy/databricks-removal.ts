import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import { processFolder, processName, readDescription } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import type { WorkspaceApi } from "./databricks-workspace-api";
import { isAbandoned } from "./host-tether";

/** How long the platform may take for one step. */
export const platformTimeoutMs = 1_200_000;

/** A process's own secrets and its folder, each verified to be gone. @throws SluiceError `timeout` */
export async function removeSources(
  api: WorkspaceApi,
  options: DatabricksOptions,
  directory: string,
  lookMs: number,
): Promise<void> {
  if (options.secretScope === undefined) {
    const scope = processName(directory);
    await api.deleteScope(scope);
    await untilGone(async () => (await api.secretKeys(scope)) === null, `the secret scope ${scope}`, lookMs);
  }
  const folder = processFolder(options, directory);
  await api.removeFolder(folder);
  await untilGone(async () => !(await api.hasPath(folder)), `the folder ${folder}`, lookMs);
}

/** Whose that was, by its description: a process's below a folder, whose create was killed on this machine; else null. */
export function abandonedDirectory(description: string | undefined, stateDir: string): string | null {
  const mine = readDescription(description);
  if (mine === null || mine.tether === null || !mine.directory.startsWith(`${stateDir}/`)) return null;
  return isAbandoned(mine.tether) ? mine.directory : null;
}

export async function untilGone(isGone: () => Promise<boolean>, what: string, lookMs: number): Promise<void> {
  const deadline = Date.now() + platformTimeoutMs;
  while (!(await isGone())) {
    if (Date.now() > deadline) {
      throw new SluiceError("timeout", `${what} isn't gone after ${platformTimeoutMs / 60_000} minutes`, {
        remedy: "Look at it in the workspace, then run the same again.",
      });
    }
    await pause(lookMs);
  }
}

import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import { platformTimeoutMs } from "./databricks-app-health";
import { appFolder, appName, readDescription } from "./databricks-app-source";
import type { AppsApi } from "./databricks-apps-api";
import type { DatabricksOptions } from "./databricks-options";
import { isAbandoned } from "./host-tether";

/** App, secrets, sources; each verified to be gone. @throws SluiceError `timeout` */
export async function removeApp(
  api: AppsApi,
  options: DatabricksOptions,
  directory: string,
  lookMs: number,
): Promise<void> {
  const name = appName(directory);
  const found = await api.app(name);
  if (found !== null) {
    if (readDescription(found.description)?.directory !== directory) return;
    await api.delete(name);
    await untilGone(async () => (await api.app(name)) === null, `the app ${name}`, lookMs);
  }
  if (options.secretScope === undefined) {
    await api.deleteScope(name);
    await untilGone(async () => (await api.secretKeys(name)) === null, `the secret scope ${name}`, lookMs);
  }
  const folder = appFolder(options, directory);
  await api.removeFolder(folder);
  await untilGone(async () => !(await api.hasPath(folder)), `the folder ${folder}`, lookMs);
}

async function untilGone(isGone: () => Promise<boolean>, what: string, lookMs: number): Promise<void> {
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

/** Removes apps of processes below a folder whose create was killed on this machine. */
export async function sweepApps(
  api: AppsApi,
  options: DatabricksOptions,
  stateDir: string,
  lookMs: number,
): Promise<void> {
  for (const { description } of await api.apps()) {
    const mine = readDescription(description);
    if (mine === null || mine.tether === null || !mine.directory.startsWith(`${stateDir}/`)) continue;
    if (isAbandoned(mine.tether)) await removeApp(api, options, mine.directory, lookMs);
  }
}

import type { AppsApi } from "./databricks-apps-api";
import { processName, readDescription } from "./databricks-names";
import type { DatabricksOptions } from "./databricks-options";
import { abandonedDirectory, removeSources, untilGone } from "./databricks-removal";

/** App, secrets, sources; each verified to be gone. @throws SluiceError `timeout` */
export async function removeApp(
  api: AppsApi,
  options: DatabricksOptions,
  directory: string,
  lookMs: number,
): Promise<void> {
  const name = processName(directory);
  const found = await api.app(name);
  if (found !== null) {
    if (readDescription(found.description)?.directory !== directory) return;
    await api.delete(name);
    await untilGone(async () => (await api.app(name)) === null, `the app ${name}`, lookMs);
  }
  await removeSources(api, options, directory, lookMs);
}

/** Removes apps of processes below a folder whose create was killed on this machine. */
export async function sweepApps(
  api: AppsApi,
  options: DatabricksOptions,
  stateDir: string,
  lookMs: number,
): Promise<void> {
  for (const { description } of await api.apps()) {
    const directory = abandonedDirectory(description, stateDir);
    if (directory !== null) await removeApp(api, options, directory, lookMs);
  }
}

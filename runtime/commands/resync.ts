import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import { openFolderStore } from "../staging/folder-store";
import { readStagedLabels, requestResync } from "../staging/resync-request";

/**
 * `sluice resync`: asks the gateway for new snapshots of tables. What the destination has stays readable until each is
 * complete, and is replaced by it then. The processes needn't run: the request waits in staging.
 */
export async function resyncTables(config: RuntimeConfig, labels: string[], asJson: boolean): Promise<void> {
  const store = await openFolderStore(config.stagingPath);
  const requests = [];
  for (const label of labels) requests.push({ table: label, ...(await requestResync(store, label)) });
  if (asJson) process.stdout.write(`${JSON.stringify({ requests })}\n`);
  else for (const { table } of requests) process.stdout.write(`${table}: the gateway will take a new snapshot\n`);
}

/** The same for all tables that are published as of the newest staged record. */
export async function resyncAll(config: RuntimeConfig, asJson: boolean): Promise<void> {
  const labels = await readStagedLabels(await openFolderStore(config.stagingPath));
  if (labels.length === 0) {
    throw new SluiceError("missing-object", `staging ${config.stagingPath} has no tables`, {
      remedy: "Start the gateway first.",
    });
  }
  await resyncTables(config, labels, asJson);
}

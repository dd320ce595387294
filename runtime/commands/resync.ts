import type { RuntimeConfig } from "../config";
import { openFolderStore } from "../staging/folder-store";
import { requestResync } from "../staging/resync-request";

/**
 * `sluice resync`: asks the gateway for new snapshots of tables. What the destination has stays readable until each is
 * complete, and is replaced by it then.
 */
export async function resyncTables(config: RuntimeConfig, labels: string[], asJson: boolean): Promise<void> {
  const store = await openFolderStore(config.stagingPath);
  const requests = [];
  for (const label of labels) requests.push({ table: label, ...(await requestResync(store, label)) });
  if (asJson) process.stdout.write(`${JSON.stringify({ requests })}\n`);
  else for (const { table } of requests) process.stdout.write(`${table}: the gateway will take a new snapshot\n`);
}

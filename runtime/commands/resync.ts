import type { RuntimeConfig } from "../config";
import { SluiceError } from "../errors";
import { acceptHistoryLoss } from "../staging/history-loss";
import { openStaging } from "../staging/open-staging";
import { readStagedLabels, requestResync } from "../staging/resync-request";

/**
 * `sluice resync`: asks the gateway for new snapshots of tables. What the destination has stays readable until each is
 * complete, and is replaced by it then. The processes needn't run: the request waits in staging. `acceptLoss`: of a table
 * that keeps history and is damaged now, what its history has in what is damaged may go; the applier's configuration only.
 */
export async function resyncTables(
  config: RuntimeConfig,
  labels: string[],
  { asJson, acceptLoss }: { asJson: boolean; acceptLoss: boolean },
): Promise<void> {
  if (acceptLoss && config.role !== "applier") {
    throw new SluiceError("config", "sluice resync: --accept-history-loss is for one applier's tables", {
      remedy: "Give the applier's configuration: --config <stateDir>/<deploymentId>/applier/config.json.",
    });
  }
  const store = await openStaging(config);
  const requests = [];
  for (const label of labels) {
    const request = await requestResync(store, label);
    if (acceptLoss) await acceptHistoryLoss(store, config.id, request.tableId);
    requests.push({ table: label, ...request });
  }
  if (asJson) process.stdout.write(`${JSON.stringify({ requests })}\n`);
  else for (const { table } of requests) process.stdout.write(`${table}: the gateway will take a new snapshot\n`);
}

/** The same for all tables that are published as of the newest staged record. */
export async function resyncAll(config: RuntimeConfig, asJson: boolean): Promise<void> {
  const labels = await readStagedLabels(await openStaging(config));
  if (labels.length === 0) {
    throw new SluiceError("missing-object", `staging ${config.stagingPath} has no tables`, {
      remedy: "Start the gateway first.",
    });
  }
  await resyncTables(config, labels, { asJson, acceptLoss: false });
}

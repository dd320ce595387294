import { maintenanceSchema } from "../../../runtime/config";

/** Compaction at every chance, and nothing is kept for readers of older versions. */
export const eagerMaintenance = maintenanceSchema.parse({
  timeShareMax: 1,
  filesMin: 2,
  deletedShareMin: 0.05,
  clusterByKey: true,
  fileRetentionMs: 0,
});

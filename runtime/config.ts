import { z } from "zod";
import { applierConfigSchema } from "./applier-config";
import { gatewayConfigSchema } from "./gateway-config";

export {
  type ApplierConfig,
  applierConfigSchema,
  formerLogsMax,
  type MaintenanceConfig,
  maintenanceSchema,
  workFolder,
} from "./applier-config";
export { type GatewayConfig, gatewayConfigSchema, type TypeOptions, typeOptionsSchema } from "./gateway-config";
export { reservedIds } from "./process-config";
export { type SourceConfig, sourceSchema } from "./source-config";
export { type StagingConfig, volumeStagingShape } from "./staging-config";
export {
  type WarehouseDestination,
  type WarehouseDestinationInput,
  warehouseDestinationSchema,
  warehouseProblem,
} from "./warehouse-config";

/** The only thing that the provider tells the runtime: one JSON file for each process. */
export const runtimeConfigSchema = z.discriminatedUnion("role", [gatewayConfigSchema, applierConfigSchema]);
export type RuntimeConfig = z.infer<typeof runtimeConfigSchema>;
export type RuntimeConfigInput = z.input<typeof runtimeConfigSchema>;

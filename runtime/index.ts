/** What other programs may build on: the configuration file, the status document and the errors of the runtime. */
export {
  type ApplierConfig,
  applierConfigSchema,
  type GatewayConfig,
  gatewayConfigSchema,
  type RuntimeConfig,
  runtimeConfigSchema,
  type SourceConfig,
} from "./config";
export { type ErrorKind, SluiceError } from "./errors";
export type { SecretReference } from "./secret-reference";
export type {
  ApplierStatus,
  ApplierTableStatus,
  GatewayStatus,
  GatewayTableStatus,
  ProcessState,
  SlotHealth,
  StatusDocument,
} from "./status";

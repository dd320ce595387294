export { Connection, type ConnectionArgs } from "./connection";
export { DatabricksSecurables, type DatabricksSecurablesArgs, type SecurablesArgs } from "./databricks-securables";
export {
  DeclarativePipeline,
  type DeclarativePipelineArgs,
  type ExpectationArgs,
  type PipelineDestinationArgs,
} from "./declarative-pipeline";
export {
  type BatchArgs,
  Gateway,
  type GatewayArgs,
  type HealthArgs,
  type SchemaChangeArgs,
  type SnapshotArgs,
  type SpoolArgs,
  type Threshold,
} from "./gateway";
export {
  type DestinationArgs,
  IngestionPipeline,
  type IngestionPipelineArgs,
  type MaintenanceArgs,
  type TableOptionsArgs,
  type TriggerArgs,
} from "./ingestion-pipeline";
export type { ChangeCost, Copies } from "./lifecycle/change-cost";
export {
  type ManagedConnectionArgs,
  type ManagedDestinationArgs,
  type ManagedGatewayArgs,
  type ManagedIngestionPipelineArgs,
  ManagedPipelines,
  type ManagedPipelinesArgs,
} from "./managed-pipelines";
export type { Flavour } from "./postgres/flavour";
export type { UncappedSlotWal } from "./postgres/preflight";
export { type ManagedIngestionArgs, PostgresIngestion, type PostgresIngestionArgs } from "./postgres-ingestion";
export { Publication, type PublicationArgs, type PublishedTableArgs, type PublishedTableOutput } from "./publication";
export { ReplicationSlot, type ReplicationSlotArgs } from "./replication-slot";
export type {
  ClaimArgs,
  DatabricksAppArgs,
  DeploymentArgs,
  DockerArgs,
  DockerSsh,
  DockerTls,
  Inputs,
  KubernetesArgs,
  LocalArgs,
  Preflight,
  ProcessArgs,
  SecretReference,
  Source,
  Strategy,
  Table,
} from "./source";
export type { FolderStagingArgs, StagingArgs, VolumeStagingArgs, WorkspaceArgs } from "./staging";
export type { Catalog, Row } from "./typed/catalog";
export {
  and,
  between,
  type Condition,
  eq,
  ge,
  gt,
  isNotNull,
  isNull,
  le,
  like,
  lt,
  ne,
  not,
  oneOf,
  or,
} from "./typed/row-filter";
export { type TypedTable, type TypedTableOptions, table, tableOptions } from "./typed/table-builders";

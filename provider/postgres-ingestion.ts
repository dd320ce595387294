import * as pulumi from "@pulumi/pulumi";
import type { Connection, ConnectionArgs } from "./connection";
import type { DatabricksSecurables, SecurablesArgs } from "./databricks-securables";
import { DeclarativePipeline, type PipelineDestinationArgs } from "./declarative-pipeline";
import type { BatchArgs, Gateway, HealthArgs, SchemaChangeArgs, SnapshotArgs, SpoolArgs, TypeArgs } from "./gateway";
import { knownWriter, leaveOut } from "./ingestion-modes";
import type {
  DestinationArgs,
  IngestionPipeline,
  MaintenanceArgs,
  TableOptionsArgs,
  TriggerArgs,
} from "./ingestion-pipeline";
import { declareApplier, declareGateway } from "./ingestion-processes";
import { declareSecurables, grantConnection, withPolicy, withVolume } from "./ingestion-securables";
import { declareSource, type SourceArgs, type SourceSide } from "./ingestion-source";
import { type ManagedDestinationArgs, ManagedPipelines } from "./managed-pipelines";
import type { Publication, PublicationArgs, PublishedTableArgs } from "./publication";
import type { ReplicationSlot, ReplicationSlotArgs } from "./replication-slot";
import type { DeploymentArgs, Inputs, Preflight, Source, Strategy, Table } from "./source";
import type { StagingArgs } from "./staging";

export interface PostgresIngestionArgs {
  /** The source database. Another `database` replaces everything; the rest changes in place. */
  source: pulumi.Input<Inputs<Source>>;
  /**
   * Standby of `source` (PostgreSQL 16 and newer) that WAL and rows are read from, by the same role: it has the slot, and
   * the primary no load but that of the publication. `port` defaults to 5432. Another one replaces nothing: replace the
   * slot. See `Source.standby`.
   */
  standby?: pulumi.Input<{ host: string; port?: number }>;
  /** Tables to carry, or what of them (`{ table, columns, where, replicaIdentity }`). One that is added is copied while the others go on; the Delta table of one that leaves stays, or is dropped (`onRemove`). */
  tables?: pulumi.Input<pulumi.Input<Table | PublishedTableArgs>[]>;
  /** Schemas of which all tables are carried, those to come too. See `PublicationArgs.schemas`. */
  schemas?: pulumi.Input<pulumi.Input<string>[]>;
  /** All tables of the database, those to come too. Replaces everything but the connection. See `PublicationArgs`. */
  allTables?: pulumi.Input<boolean>;
  /** Further settings of the publication, see `PublicationArgs`. */
  publication?: Pick<PublicationArgs, "operations" | "viaPartitionRoot" | "generatedColumns" | "adopt" | "onDelete">;
  /** Mode, columns, name or key of tables that aren't copied as they are. */
  tableOptions?: pulumi.Input<pulumi.Input<TableOptionsArgs>[]>;
  /**
   * Where the tables are written: `{ kind: "local", path }`, with an absolute path; or `{ kind: "databricks", mode }`, by a
   * SQL warehouse (`warehouse`) or a declarative pipeline (`pipeline`).
   */
  destination: pulumi.Input<DestinationArgs> | PipelineDestinationArgs;
  /**
   * Takes over publication, slot and staging of a stack that is no more, where they are: `publicationName`, `slotName` and
   * `stateDir` as they were. See `adopt` of each. Default false.
   */
  adopt?: pulumi.Input<boolean>;
  /** Further settings of the slot, see `ReplicationSlotArgs`. */
  slot?: Pick<ReplicationSlotArgs, "adopt" | "onDelete">;
  /** Folder for staging, status and logs; absolute, on the machine that runs Pulumi. Replaces gateway and pipeline. */
  stateDir: pulumi.Input<string>;
  /** Where gateway and applier run: processes of this machine (default), containers, pods, or Databricks Apps and jobs. Restarts them; see `DeploymentArgs`. */
  deployment?: pulumi.Input<DeploymentArgs>;
  /** Default `dbx_pub_{database oid}_{id}`. Replaces everything but the connection. */
  publicationName?: pulumi.Input<string>;
  /** Default `dbx_{database oid}_{id}`. Replaces slot, gateway and pipeline. */
  slotName?: pulumi.Input<string>;
  /** Event triggers that announce changes of tables' definitions; default false. See `PublicationArgs.captureDdl`. */
  captureDdl?: pulumi.Input<boolean>;
  /** Standbys keep the slot too; PostgreSQL 17 and newer; default false. In place. See `ReplicationSlot`. */
  failover?: pulumi.Input<boolean>;
  /** A delete that fails gives up, prints what is left and the SQL that removes it, and counts as done; default false. */
  forceDelete?: pulumi.Input<boolean>;
  /** How new slot, publication and gateway take the place of old ones; default `blue-green`. See `Strategy`. */
  strategy?: pulumi.Input<Strategy>;
  /** When source and machine are looked at; default `preview`. */
  preflight?: pulumi.Input<Preflight>;
  /** What the preflight of the source goes by. */
  connection?: Pick<ConnectionArgs, "flavour" | "uncappedSlotWal" | "longTransactionMs">;
  /** Settings of the gateway: each restarts it in place, but `stagingPath`, and another place in `staging`, which replace it. */
  gateway?: {
    httpPort?: pulumi.Input<number>;
    /** Folder of the staging log; default below `stateDir`. */
    stagingPath?: pulumi.Input<string>;
    /** Where else it lies, as in a Unity Catalog volume; instead of `stagingPath`. */
    staging?: pulumi.Input<StagingArgs>;
    adopt?: pulumi.Input<boolean>;
    batch?: pulumi.Input<BatchArgs>;
    spool?: pulumi.Input<SpoolArgs>;
    snapshot?: pulumi.Input<SnapshotArgs>;
    types?: pulumi.Input<TypeArgs>;
    schemaChanges?: pulumi.Input<SchemaChangeArgs>;
    pollMs?: pulumi.Input<number>;
    onSlotLost?: pulumi.Input<"fail" | "resnapshot">;
    heartbeatMs?: pulumi.Input<number>;
    health?: pulumi.Input<HealthArgs>;
    switchTimeoutMs?: pulumi.Input<number>;
  };
  /**
   * With a destination on Databricks: catalog, schema, volume, cluster policy, grants and secrets that are made there. Names of
   * `destination` and `gateway.staging` are in plain then. Default none.
   */
  securables?: SecurablesArgs;
  /** Settings of the applier: each restarts it in place. */
  applier?: {
    httpPort?: pulumi.Input<number>;
    trigger?: pulumi.Input<TriggerArgs>;
    /** Of tables that leave: `keep`, the default, or `drop`. */
    onRemove?: pulumi.Input<"keep" | "drop">;
    /** Of all tables at delete: `keep`, the default, or `drop`. */
    onDelete?: pulumi.Input<"keep" | "drop">;
    maintenance?: pulumi.Input<MaintenanceArgs>;
    runsKeptMax?: pulumi.Input<number>;
    memoryBytesMax?: pulumi.Input<number>;
  };
}

/** The same where the vendor's own pipelines read the slot and write the tables: nothing of ours runs. */
export interface ManagedIngestionArgs
  extends Pick<
    PostgresIngestionArgs,
    | "source"
    | "tables"
    | "schemas"
    | "publication"
    | "publicationName"
    | "tableOptions"
    | "slot"
    | "slotName"
    | "failover"
    | "adopt"
    | "strategy"
    | "forceDelete"
    | "preflight"
    | "connection"
    | "securables"
  > {
  destination: ManagedDestinationArgs;
}

/** PostgreSQL tables, kept up to date as Delta tables: connection, publication, slot, gateway and pipeline, wired. */
export class PostgresIngestion extends pulumi.ComponentResource {
  readonly connection: Connection;
  /** to the standby that is read from; undefined without `standby` */
  readonly standbyConnection: Connection | undefined;
  readonly publication: Publication;
  readonly slot: ReplicationSlot;
  /** Ours; to ask for it throws where the vendor's own pipelines read the slot (`mode: "managed"`). */
  readonly gateway!: Gateway;
  /** Our applier; to ask for it throws where pipelines of Databricks write the tables (`mode`: `pipeline`, `managed`). */
  readonly pipeline!: IngestionPipeline;
  /** What is made on Databricks, with `securables`; else undefined. */
  readonly securables: DatabricksSecurables | undefined;
  /** The vendor's pipelines, with `mode: "managed"`; else undefined. */
  readonly managed: ManagedPipelines | undefined;
  /** The declarative pipeline over our staging, with `mode: "pipeline"`; else undefined. */
  readonly declarative: DeclarativePipeline | undefined;

  readonly publicationName: pulumi.Output<string>;
  readonly slotName: pulumi.Output<string>;
  /** File with the gateway's status document. */
  readonly gatewayStatusPath!: pulumi.Output<string>;
  /** File with the applier's status document. */
  readonly applierStatusPath!: pulumi.Output<string>;
  readonly destinationPath: pulumi.Output<string>;

  constructor(
    name: string,
    args: PostgresIngestionArgs | ManagedIngestionArgs,
    options?: pulumi.ComponentResourceOptions,
  ) {
    super("sluice:index:PostgresIngestion", name, {}, options);
    const writer = knownWriter(this, args);
    // The engine leaves out its children's deletes too, of which a slot must know.
    const { retainOnDelete } = options ?? {};
    const child = { parent: this, ...(retainOnDelete === undefined ? {} : { retainOnDelete }) };
    const side = declareSource(name, args, writer.by, child);
    this.connection = side.connection;
    this.standbyConnection = side.standbyConnection;
    this.publication = side.publication;
    this.slot = side.slot;
    this.publicationName = side.publication.publicationName;
    this.slotName = side.slot.slotName;
    this.securables = declareSecurables(this, name, args, writer);
    const after = { ...child, dependsOn: this.securables?.made };
    switch (writer.by) {
      case "applier": {
        const own = withVolume(args as PostgresIngestionArgs, this.securables);
        this.gateway = declareGateway(name, own, side, after);
        this.pipeline = declareApplier(name, own, writer.destination, this.gateway, after);
        this.gatewayStatusPath = this.gateway.statusPath;
        this.applierStatusPath = this.pipeline.statusPath;
        this.destinationPath = this.pipeline.destinationPath;
        this.registerOutputs({
          publicationName: this.publicationName,
          slotName: this.slotName,
          gatewayStatusPath: this.gatewayStatusPath,
          applierStatusPath: this.applierStatusPath,
          destinationPath: this.destinationPath,
        });
        return;
      }
      case "managed": {
        const managed = new ManagedPipelines(
          name,
          {
            ...managedArgs(args, side),
            destination: withPolicy(writer.destination, this.securables),
            after: this.securables?.made,
          },
          child,
        );
        if (this.securables !== undefined) {
          grantConnection(name, args.securables ?? {}, managed, this.securables);
        }
        this.managed = managed;
        this.destinationPath = managed.destinationPath;
        const why = "Databricks' own pipelines read the slot and write the tables: see managed";
        for (const absent of ["gateway", "pipeline", "gatewayStatusPath", "applierStatusPath"])
          leaveOut(this, absent, why);
        this.registerOutputs({
          publicationName: this.publicationName,
          slotName: this.slotName,
          destinationPath: this.destinationPath,
        });
        return;
      }
      case "pipeline": {
        const own = withVolume(args as PostgresIngestionArgs, this.securables);
        this.gateway = declareGateway(name, own, side, after);
        const declarative = new DeclarativePipeline(
          name,
          {
            gateway: this.gateway,
            tables: own.tables,
            tableOptions: own.tableOptions,
            destination: writer.destination,
            after: this.securables?.made,
          },
          child,
        );
        this.declarative = declarative;
        this.gatewayStatusPath = this.gateway.statusPath;
        this.destinationPath = declarative.destinationPath;
        for (const absent of ["pipeline", "applierStatusPath"])
          leaveOut(this, absent, "a declarative pipeline writes the tables: see declarative");
        this.registerOutputs({
          publicationName: this.publicationName,
          slotName: this.slotName,
          gatewayStatusPath: this.gatewayStatusPath,
          destinationPath: this.destinationPath,
        });
        return;
      }
    }
  }
}

const managedArgs = (args: SourceArgs, { publication, slot }: SourceSide) => ({
  source: args.source,
  publication,
  slot,
  tables: args.tables,
  schemas: args.schemas,
  tableOptions: args.tableOptions,
});

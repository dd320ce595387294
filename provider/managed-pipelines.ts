import * as pulumi from "@pulumi/pulumi";
import { connectionOptions } from "./databricks/connection-options";
import { knownNow } from "./databricks/known-inputs";
import { checkManagedInputs, type ManagedDestination } from "./databricks/managed-inputs";
import { type ManagedTables, managedObjects } from "./databricks/managed-objects";
import { databricksPackage } from "./databricks/package";
import { gatewayDefaults, gatewayIgnored, ingestionDefaults, ingestionIgnored } from "./databricks/pipeline-defaults";
import { declareSchedule, type Schedule } from "./databricks/pipeline-schedule";
import { unityNameOf } from "./databricks/unity-names";
import type { TableOptionsArgs } from "./ingestion-pipeline";
import type { Properties } from "./lifecycle/lifecycle";
import { orEndProgram, soundInputs } from "./program-error";
import type { Publication, PublishedTableArgs } from "./publication";
import type { ReplicationSlot } from "./replication-slot";
import type { Inputs, Source, Table } from "./source";

/** The connection of Unity Catalog that is made: how Databricks reaches the source. User and password are the source's. */
export interface ManagedConnectionArgs {
  /** Default `<project>_<stack>_<name>`. Another one replaces it, and with it gateway and tables. */
  name?: pulumi.Input<string>;
  /** The source's address as Databricks sees it; default: its `host`. */
  host?: pulumi.Input<string>;
  /** Default: the source's `port`. */
  port?: pulumi.Input<number>;
}

/** The vendor's gateway: a pipeline on classic compute that runs for good. A change restarts it, and a snapshot that runs. */
export interface ManagedGatewayArgs {
  /** Default `<project>-<stack>-<name>-gateway`; unique in the workspace. */
  name?: pulumi.Input<string>;
  /** A cluster policy, where clusters can't be made freely. */
  policyId?: pulumi.Input<string>;
  /** Of the workers; default: the server's choice. */
  nodeTypeId?: pulumi.Input<string>;
  /** Default: the server's choice. */
  driverNodeTypeId?: pulumi.Input<string>;
  /** Workers; default 1 where something of its cluster is said, else the server's choice. */
  workers?: pulumi.Input<number>;
  /** How long it may take until it runs, in milliseconds; default 45 minutes. */
  timeoutMs?: number;
}

/** The vendor's ingestion pipeline: serverless, run when it is triggered. */
export interface ManagedIngestionPipelineArgs {
  /** Default `<project>-<stack>-<name>-ingestion`; unique in the workspace. */
  name?: pulumi.Input<string>;
  tags?: pulumi.Input<Record<string, pulumi.Input<string>>>;
  /** Who is told of its updates: `alerts` are `on-update-success`, `on-update-failure`, `on-update-fatal-failure`, `on-flow-failure`. */
  notifications?: pulumi.Input<{ emailRecipients: string[]; alerts: string[] }>;
}

/** Streaming tables of a Databricks workspace, written by the vendor's own gateway and ingestion pipeline. */
export interface ManagedDestinationArgs {
  kind: "databricks";
  mode: "managed";
  /** Of the tables. Names of Unity Catalog are taken in lower case, as it keeps them. In place: new tables, copied anew. */
  catalog: pulumi.Input<string>;
  /** Of all tables whose options name no other; default: the name of their schema at the source. */
  schema?: pulumi.Input<string>;
  /** Of tables that `tableOptions` doesn't name: `scd1`, the default, or `scd2`. */
  tableMode?: pulumi.Input<"scd1" | "scd2">;
  /**
   * Where the gateway keeps what it has read: a volume that it makes. Default: `catalog`, `schema`, and
   * `<project>_<stack>_<name>`. Another catalog or schema replaces both pipelines, and the tables: it is refused while
   * they are protected.
   */
  staging?: { catalog?: pulumi.Input<string>; schema?: pulumi.Input<string>; name?: pulumi.Input<string> };
  /** A connection of Unity Catalog that is there, by its name; or of the one that is made. */
  connection?: pulumi.Input<string> | ManagedConnectionArgs;
  gateway?: ManagedGatewayArgs;
  ingestion?: ManagedIngestionPipelineArgs;
  /**
   * When the ingestion pipeline runs, in Quartz's syntax (`0 0/15 * * * ?`), by a job; default: when somebody triggers it.
   * One that hasn't succeeded for 25 days may leave gaps. `timeZone` is an IANA name, by default UTC.
   */
  schedule?: { quartzCron: pulumi.Input<string>; timeZone?: pulumi.Input<string>; paused?: pulumi.Input<boolean> };
  /**
   * Gateway and ingestion pipeline can't be deleted or replaced, as the vendor drops the tables with the pipeline; default
   * true. Before `destroy`: false, and `up`.
   */
  protectTables?: boolean;
}

export interface ManagedPipelinesArgs {
  /** The source; its password becomes the connection's. */
  source: pulumi.Input<Inputs<Source>>;
  /** Has the tables; it goes after the pipelines. */
  publication: Publication;
  /** Is read by the gateway; dropped after it has gone. */
  slot: ReplicationSlot;
  /** As the publication's, without column lists and row filters. */
  tables?: pulumi.Input<pulumi.Input<Table | PublishedTableArgs>[]>;
  /** As the publication's: schemas of which all tables are carried. */
  schemas?: pulumi.Input<pulumi.Input<string>[]>;
  /** Mode (`scd1`, `scd2`), `destination`, `include`, `exclude`, `key` and `clusterBy`; anything else is refused. */
  tableOptions?: pulumi.Input<pulumi.Input<TableOptionsArgs>[]>;
  /** Where the tables go, and by which pipelines. */
  destination: ManagedDestinationArgs;
  /** What else there must be before the pipelines, and until they are gone: schemas, grants. */
  after?: pulumi.Resource[];
}

/**
 * Databricks' own gateway and ingestion pipeline (Lakeflow Connect), fed by our publication and slot. They are deleted
 * before the slot, which is then dropped and verified to be gone.
 */
export class ManagedPipelines extends pulumi.ComponentResource {
  /** Of Unity Catalog. */
  readonly connectionName: pulumi.Output<string>;
  /** Id of the gateway, a pipeline. */
  readonly gatewayId: pulumi.Output<string>;
  /** Its page in the workspace. */
  readonly gatewayUrl: pulumi.Output<string>;
  /** Id of the ingestion pipeline. */
  readonly ingestionId: pulumi.Output<string>;
  /** Its page in the workspace. */
  readonly ingestionUrl: pulumi.Output<string>;
  /** The tables' catalog, with their schema where all have one. */
  readonly destinationPath: pulumi.Output<string>;

  constructor(name: string, args: ManagedPipelinesArgs, options?: pulumi.ComponentResourceOptions) {
    super("sluice:index:ManagedPipelines", name, {}, options);
    const { destination, publication, slot } = args;
    const given = { tables: args.tables, schemas: args.schemas, tableOptions: args.tableOptions, destination };
    soundInputs(this, checkManagedInputs(knownNow(given) as Properties));
    const databricks = orEndProgram(this, databricksPackage);
    // What its cluster is of may be known later than all else, which would be unknown with it.
    const {
      policyId: _policy,
      nodeTypeId: _node,
      driverNodeTypeId: _driver,
      ...gatewayNames
    } = destination.gateway ?? {};
    const known = { ...given, destination: { ...destination, gateway: gatewayNames } };
    const parsed = pulumi
      .output(known)
      .apply((all) => soundInputs(this, checkManagedInputs(all as Properties)) as unknown as Parsed);
    const setting = <T>(read: (all: ManagedDestination) => T) => parsed.apply((all) => read(all.destination));
    const child = { parent: this };
    const protect = destination.protectTables ?? true;
    const label = [pulumi.getProject(), pulumi.getStack(), name];
    const source = pulumi.output(args.source) as pulumi.Output<Source>;
    const database = source.apply((all) => all.database);

    this.connectionName = setting(({ connection }) => nameOf(connection) ?? unityNameOf(...label));
    const connection = isNamed(destination.connection)
      ? []
      : [
          new databricks.Connection(
            name,
            {
              name: this.connectionName,
              connectionType: "POSTGRESQL",
              options: pulumi.secret(
                pulumi
                  .all([parsed, source])
                  .apply(([all, reached]) =>
                    orEndProgram(this, () => connectionOptions(all.destination.connection, reached)),
                  ),
              ),
            },
            // The provider's update leaves the name as it was.
            { ...child, additionalSecretOutputs: ["options"], replaceOnChanges: ["name"] },
          ),
        ];
    // The pipelines have its name from here: of one that is updated a preview may not know it, and would replace them.
    const dependsOn = [publication, slot, ...connection, ...(args.after ?? [])];

    const stagingCatalog = setting(({ staging, catalog }) => staging.catalog ?? catalog);
    const stagingSchema = setting(({ staging, schema }) => (staging.schema ?? schema) as string);
    const cluster = clusterOf(destination.gateway, parsed);
    const timeout = `${Math.round((destination.gateway?.timeoutMs ?? 2_700_000) / 1000)}s`;
    const timeouts = { create: timeout, update: timeout, delete: timeout };
    const gateway = new databricks.Pipeline(
      `${name}-gateway`,
      {
        ...gatewayDefaults,
        name: setting((all) => all.gateway.name ?? [...label, "gateway"].join("-")),
        catalog: stagingCatalog,
        schema: stagingSchema,
        ...(cluster === undefined ? {} : { clusters: [cluster] }),
        gatewayDefinition: {
          connectionName: this.connectionName,
          gatewayStorageCatalog: stagingCatalog,
          gatewayStorageSchema: stagingSchema,
          gatewayStorageName: setting(({ staging }) => staging.name ?? unityNameOf(...label)),
          connectionParameters: { sourceCatalog: database },
        },
      },
      {
        ...child,
        protect,
        dependsOn,
        ignoreChanges: gatewayIgnored(cluster !== undefined),
        customTimeouts: timeouts,
      },
    );
    const ingestion = new databricks.Pipeline(
      `${name}-ingestion`,
      {
        ...ingestionDefaults,
        name: setting((all) => all.ingestion.name ?? [...label, "ingestion"].join("-")),
        catalog: setting(({ catalog }) => catalog),
        schema: setting(({ schema, staging }) => (schema ?? staging.schema) as string),
        tags: destination.ingestion?.tags,
        ...(destination.ingestion?.notifications === undefined
          ? {}
          : { notifications: [pulumi.output(destination.ingestion.notifications)] }),
        ingestionDefinition: {
          ingestionGatewayId: gateway.id,
          objects: pulumi.all([parsed, database]).apply(([all, of]) => managedObjects(all, of)),
          sourceConfigurations: [
            {
              catalog: {
                sourceCatalog: database,
                postgres: {
                  slotConfig: { slotName: slot.slotName, publicationName: publication.publicationName },
                },
              },
            },
          ],
        },
      },
      {
        ...child,
        protect,
        dependsOn,
        ignoreChanges: ingestionIgnored(destination.ingestion?.tags !== undefined),
        customTimeouts: timeouts,
      },
    );
    if (destination.schedule !== undefined) {
      declareSchedule(
        name,
        {
          label: label.join("-"),
          schedule: setting(({ schedule }) => schedule as Schedule),
          task: "ingestion",
          pipelineId: ingestion.id,
        },
        // A destroy that is refused leaves the schedule too.
        { ...child, protect },
      );
    }

    this.gatewayId = gateway.id;
    this.gatewayUrl = gateway.url;
    this.ingestionId = ingestion.id;
    this.ingestionUrl = ingestion.url;
    this.destinationPath = setting(({ catalog, schema }) => (schema === undefined ? catalog : `${catalog}.${schema}`));
    this.registerOutputs({
      connectionName: this.connectionName,
      gatewayId: this.gatewayId,
      gatewayUrl: this.gatewayUrl,
      ingestionId: this.ingestionId,
      ingestionUrl: this.ingestionUrl,
      destinationPath: this.destinationPath,
    });
  }
}

type Parsed = ManagedTables & { destination: ManagedDestination };

const isNamed = (connection: ManagedDestinationArgs["connection"]): connection is pulumi.Input<string> =>
  typeof connection === "string" || pulumi.Output.isInstance(connection) || connection instanceof Promise;

const nameOf = (connection: ManagedDestination["connection"]) =>
  typeof connection === "string" ? connection : connection.name;

/** What of its cluster is said; undefined leaves it to the server, and isn't compared. */
function clusterOf(gateway: ManagedGatewayArgs | undefined, parsed: pulumi.Output<Parsed>) {
  const { policyId, nodeTypeId, driverNodeTypeId, workers } = gateway ?? {};
  if ([policyId, nodeTypeId, driverNodeTypeId, workers].every((each) => each === undefined)) return undefined;
  return {
    label: "default",
    numWorkers: parsed.apply(({ destination }) => destination.gateway.workers ?? 1),
    ...(policyId === undefined ? {} : { policyId, applyPolicyDefaultValues: true }),
    ...(nodeTypeId === undefined ? {} : { nodeTypeId }),
    ...(driverNodeTypeId === undefined ? {} : { driverNodeTypeId }),
  };
}

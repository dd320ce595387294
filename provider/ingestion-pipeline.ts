import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import { originOf } from "./resource-origin";
import { guardedDeployment, type ProcessArgs, type Table } from "./source";
import type { StagingArgs } from "./staging";

/** Delta tables at `<path>/<schema>/<table>`; `path` is absolute. */
export interface LocalDestinationArgs {
  kind: pulumi.Input<"local">;
  path: pulumi.Input<string>;
}

/** A secret where it is found: a variable of the environment, or a file. */
export type SecretReferenceArgs = { env: string } | { file: string };

/**
 * Delta tables of a Databricks workspace, written by its SQL warehouse. The workspace and who we are there: `token`, or
 * `clientId` with `clientSecret`, or `profile`; else the environment's DATABRICKS_… variables.
 */
export interface WarehouseDestinationArgs {
  kind: pulumi.Input<"databricks">;
  mode: pulumi.Input<"warehouse">;
  /** The workspace's https:// address; default: the profile's, else DATABRICKS_HOST. */
  host?: pulumi.Input<string>;
  token?: SecretReferenceArgs;
  /** Of a service principal (OAuth, machine-to-machine). */
  clientId?: pulumi.Input<string>;
  clientSecret?: SecretReferenceArgs;
  /** Of ~/.databrickscfg, or of `configFile`. */
  profile?: pulumi.Input<string>;
  configFile?: pulumi.Input<string>;
  /** The SQL warehouse, by its id; or by `httpPath`. */
  warehouseId?: pulumi.Input<string>;
  /** Such as `/sql/1.0/warehouses/<id>`. */
  httpPath?: pulumi.Input<string>;
  catalog: pulumi.Input<string>;
  /** Has all tables but those whose `destination` names another schema, and a table of ours, `_sluice_writers`. */
  schema: pulumi.Input<string>;
  /** Staging's folder as the warehouse sees it, in a Unity Catalog volume (`/Volumes/…`); default: stagingPath. */
  stagedPath?: pulumi.Input<string>;
  /** Tables that are written at a time; default 4. */
  parallelMax?: pulumi.Input<number>;
  /**
   * Staged changes of one statement, in bytes of their files; default 256 MiB. More for a larger warehouse. A statement that
   * takes too long halves it for its table, each one that doesn't doubles it again.
   */
  batchBytesMax?: pulumi.Input<number>;
  /** A statement that takes longer is cancelled, and its batch tried again; default 30 minutes. */
  statementTimeoutMs?: pulumi.Input<number>;
  /** How long a warehouse that is starting is waited for; default 15 minutes. */
  startTimeoutMs?: pulumi.Input<number>;
  /** `spark`: no Databricks, but Spark with Delta Lake 4 behind the same protocol; default `databricks`. */
  engine?: pulumi.Input<"databricks" | "spark">;
}

/** Where the tables are written. */
export type DestinationArgs = LocalDestinationArgs | WarehouseDestinationArgs;

/**
 * `continuous` applies when `intervalMs` (default 500) have passed, or as soon as `rows` changes are staged, where given.
 * `schedule` applies what is staged at the times of `cron`: minute, hour, day of month, month, day of week (or six fields,
 * with seconds in front), in the IANA `timeZone` (default UTC). A time that was missed, as nothing ran or a run went on,
 * is made up for once. `once` applies what is staged at start and ends.
 */
export type TriggerArgs =
  | { kind: "continuous"; intervalMs?: number; rows?: number }
  | { kind: "schedule"; cron: string; timeZone?: string }
  | { kind: "once" };

/** Options of one table; columns are named as the source names them. */
export interface TableOptionsArgs {
  table: Table;
  /**
   * `scd1` (default): the source's rows. `softDelete`: deleted rows stay, with `_deleted_at`. `append`: every change is a
   * row, with `_op`, `_commit_lsn`, `_ordinal`, `_commit_time`. `scd2`: every version is a row, with `valid_from`,
   * `valid_to`, `is_current`.
   */
  mode?: "scd1" | "softDelete" | "append" | "scd2";
  /** Default: schema and name at the source. */
  destination?: { schema?: string; name?: string };
  /** Only these columns. */
  include?: string[];
  /** All columns but these; their values are in no file of the destination. */
  exclude?: string[];
  /** Columns that are kept as SHA-256 of their text, in hexadecimal. Guessable values can be guessed from it. */
  hash?: string[];
  /** For a table without a key: columns that are unique together, to merge its rows by. */
  key?: string[];
  /**
   * Rows are in files apart by the values of these columns: of text (where the empty one becomes NULL), whole numbers,
   * decimals, dates or booleans. A change needs a new snapshot.
   */
  partitionBy?: string[];
  /**
   * The table is clustered by these columns (Delta's liquid clustering), four at most, of numbers, texts, dates or
   * timestamps: compaction puts rows in their order, and `OPTIMIZE` of Spark or Databricks clusters by them. With
   * `partitionBy` it is the order alone. In place.
   */
  clusterBy?: string[];
  /**
   * `append`: an update is two rows, the first with `_op` update_preimage and the row as it was; default false.
   * `PostgresIngestion` sees to what it takes; else name the table in `beforeImages` of the `Gateway` and `fullIdentity` of
   * the `Publication` too.
   */
  beforeImage?: boolean;
  /** `scd1`, `softDelete`: also `_commit_lsn` and `_commit_time` of a row's last change; default false. */
  metadataColumns?: boolean;
  /** `false`: files with deleted rows are written anew, for readers that know no deletion vectors; default true. */
  deletionVectors?: boolean;
  /**
   * `false`: files have the columns' own names, for readers that know no column mapping; a column that is renamed or dropped
   * makes all files be written anew; default true.
   */
  columnMapping?: boolean;
  /**
   * Each commit also tells the rows that it inserts, updates and deletes: Delta's change data feed; default false. Turned on
   * and off in place.
   */
  changeDataFeed?: boolean;
  /** When the table leaves the publication; default: the pipeline's `onRemove`. */
  onRemove?: "keep" | "drop";
  /** What a change of these options does that rows of before can't follow: default `refuse`, a failure of the preview. */
  onChange?: "refuse" | "refresh";
}

/** What the process does between batches to keep tables and staging small. Durations in milliseconds. */
export interface MaintenanceArgs {
  /** Small files, and files with many deleted rows, are written anew; default true. */
  compaction?: boolean;
  /** Files are removed that no version within the retention has; default true. */
  vacuum?: boolean;
  /** How long removed files stay, where the table has no `delta.deletedFileRetentionDuration`; default 7 days. */
  fileRetentionMs?: number;
  /** Staged commits stay so long at least, and until they are applied; default 7 days. */
  stagingRetentionMs?: number;
  /** Part of the applier's time that compaction may take; default 0.3. No batch that is due waits longer than an interval. */
  timeShareMax?: number;
  /** Bytes of files that one compaction reads; default 64 MiB. */
  bytesMax?: number;
  /** So many small files of about one size become one; default 8. */
  filesMin?: number;
  /** A file is written anew when this part of its rows is deleted; default 0.2. */
  deletedShareMin?: number;
  /**
   * Once a table hasn't changed for so long, every file with a deleted row is written anew: for readers to whom a deletion
   * vector is dear (delta-rs), of tables that rest between changes. Default: it isn't.
   */
  purgeAfterIdleMs?: number;
  /** Rows of a compacted file are in the order of the table's key; default false. */
  clusterByKey?: boolean;
}

export interface IngestionPipelineArgs extends ProcessArgs {
  /** `gateway.deploymentId`. Another one goes on in its folder. */
  deploymentId: pulumi.Input<string>;
  /** `gateway.stagingPath`. */
  stagingPath: pulumi.Input<string>;
  /** `gateway.incarnation`. Another staging's copies replace the tables' rows when they are whole; in place. */
  stagingIncarnation: pulumi.Input<string>;
  /** The Gateway's `staging`, where it has one. Restarts the process. */
  staging?: pulumi.Input<StagingArgs>;
  /** Restarts the process; tables at the former place stay there. */
  destination: pulumi.Input<DestinationArgs>;
  /** Default `{ kind: "continuous" }`. Restarts the process. */
  trigger?: pulumi.Input<TriggerArgs>;
  /** The publication's tables, so that a preview tells what becomes of those that leave; it has no other use. */
  tables?: pulumi.Input<pulumi.Input<Table>[]>;
  /**
   * What becomes of the Delta table of a table that leaves the publication, also as it was dropped at the source: `keep`,
   * the default, or `drop`. A table's own `onRemove` goes first. Tables that have left before stay. Restarts the process.
   */
  onRemove?: pulumi.Input<"keep" | "drop">;
  /**
   * What a delete does with the Delta tables that this pipeline made of its staging, or of one before it, in its present destination:
   * `keep`, the default, or `drop`. Tables of others stay, and ones with other files among theirs, with a warning each. An
   * update or a replacement drops none.
   */
  onDelete?: pulumi.Input<"keep" | "drop">;
  /** Tables that aren't copied as they are. Restarts the process; what rows of before can't follow is refused. */
  tableOptions?: pulumi.Input<pulumi.Input<TableOptionsArgs>[]>;
  /** Restarts the process. */
  maintenance?: pulumi.Input<MaintenanceArgs>;
  /** Runs of each table that the history keeps (`sluice runs`); default 50. Restarts the process. */
  runsKeptMax?: pulumi.Input<number>;
  /** Memory for finding the rows that a batch changes, in bytes; default 1 GiB. Restarts the process. */
  memoryBytesMax?: pulumi.Input<number>;
}

const provider = new StoredProvider("IngestionPipeline");

/**
 * The supervised process that applies what is staged to Delta tables, exactly once. Delete stops it; the tables stay, unless
 * `onDelete` says otherwise.
 */
export class IngestionPipeline extends pulumi.dynamic.Resource {
  /** File with the status document. */
  declare readonly statusPath: pulumi.Output<string>;
  /** `healthy`, or what `refresh` found: `dead`, `failed`, `absent`. */
  declare readonly processState: pulumi.Output<string>;
  /** Version of Sluice that it runs: this package's, or what `refresh` found. */
  declare readonly runtimeVersion: pulumi.Output<string>;
  /** Content of the image that its container was made of; undefined for a process of this machine. */
  declare readonly imageDigest: pulumi.Output<string | undefined>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;
  /** The destination's `path`; of a warehouse `<catalog>.<schema>`. */
  declare readonly destinationPath: pulumi.Output<string>;

  constructor(name: string, args: IngestionPipelineArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = {
      statusPath: undefined,
      processState: undefined,
      runtimeVersion: undefined,
      imageDigest: undefined,
      destinationPath: undefined,
      changeCost: undefined,
    };
    const deployment = guardedDeployment(args.deployment);
    super(
      provider,
      name,
      { ...outputs, ...args, deployment, origin: originOf(name) },
      options,
      moduleName,
      "IngestionPipeline",
    );
  }
}

import { dirname } from "node:path";
import { z } from "zod";
import { workspaceProblem, workspaceSchema, workspaceShape } from "./databricks-config";
import { scheduleProblem } from "./schedule";
import { type SourceConfig, sourceSchema } from "./source-config";
import { onRemoveSchema, tableOptionsListSchema } from "./table-options";

export { type SourceConfig, sourceSchema };

/** Where a measure becomes a warning, and critical. */
const threshold = (warning: number, critical: number) =>
  z
    .strictObject({ warning: z.number().min(0).default(warning), critical: z.number().min(0).default(critical) })
    .prefault({});

const minuteMs = 60_000;
const gibibyte = 1024 ** 3;

export const volumeStagingShape = {
  /** local copies of staged files that are kept beside those in use; default 2 GiB */
  cacheBytesMax: z
    .int()
    .min(0)
    .default(2 * gibibyte),
  /** files that are sent at a time; default 4 */
  uploadsMax: z.int().min(1).max(8).default(4),
};

/** What kind of place `stagingPath` is in; default a folder of this machine. */
const stagingSchema = z
  .discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("folder") }),
    /** a folder of a Unity Catalog volume: `stagingPath` is `/Volumes/<catalog>/<schema>/<volume>/…` */
    z.strictObject({
      kind: z.literal("volume"),
      workspace: workspaceSchema,
      /** a local folder for files on their way, of this process alone; absolute */
      localPath: z.string().min(1),
      ...volumeStagingShape,
    }),
  ])
  .prefault({ kind: "folder" });
export type StagingConfig = z.infer<typeof stagingSchema>;

/** Ids that no deployment has: documents of the staging log, which are the gateway's, have these names. */
export const reservedIds = ["gateway", "source"] as const;

const common = {
  version: z.literal(1),
  /** names this deployment in logs, `application_name`, Delta's `txn.appId` */
  id: z.string().min(1),
  /** where the status document is written, replaced as a whole */
  statusPath: z.string().min(1),
  http: z
    .strictObject({
      /** port of /healthz, /status and /metrics; default 0: any free one, told in the status */
      port: z.int().min(0).max(65535).default(0),
      /** default 127.0.0.1; 0.0.0.0 in a container whose port is published */
      host: z.enum(["127.0.0.1", "0.0.0.0"]).optional(),
    })
    .prefault({}),
};

/** How values are kept where there is a choice. It is part of each table's stored schema: a change copies those tables again. */
export const typeOptionsSchema = z.strictObject({
  /** numeric without precision; default `decimal`: DECIMAL(38, 18), `string`: STRING, its digits as PostgreSQL has them */
  unconstrainedNumeric: z.enum(["decimal", "string"]).default("decimal"),
  /**
   * arrays; default `text`: STRING, as PostgreSQL writes them; `nested`: ARRAY of what their elements' type is kept as.
   * Then bounds are lost, and an array of more than one dimension is a value that its Delta type can't hold; in a key so
   * is one whose lower bound isn't 1.
   */
  arrays: z.enum(["text", "nested"]).default("text"),
  /**
   * a value that its Delta type can't hold; default `null`: NULL, counted, `stop`: its table stops and says so, the others
   * go on. In a key it always stops the table: NULL would make one row of two.
   */
  unrepresentable: z.enum(["null", "stop"]).default("null"),
});
export type TypeOptions = z.infer<typeof typeOptionsSchema>;

export const gatewayConfigSchema = z.strictObject({
  ...common,
  role: z.literal("gateway"),
  source: sourceSchema,
  publication: z.string().min(1),
  slot: z.string().min(1),
  /** the staging log's folder, absolute */
  stagingPath: z.string().min(1),
  staging: stagingSchema,
  /**
   * when the slot is gone, invalidated, or ahead of staging, so that changes are lost: `fail` (the default) stops with
   * the remedy; `resnapshot` makes the slot anew and copies every table again, old data readable meanwhile
   */
  onSlotLost: z.enum(["fail", "resnapshot"]).default("fail"),
  /**
   * how long a transient error of staging is tried again before the gateway stops; default 900,000. A full disk is
   * waited for without end.
   */
  stagingRetryMsMax: z.int().min(0).default(900_000),
  /** when spooled changes are cut into a staged commit, always at a commit boundary */
  batch: z
    .strictObject({
      /** default 64 MiB, at most 1 GiB */
      bytesMax: z
        .int()
        .min(1024)
        .max(1024 * 1024 * 1024)
        .default(64 * 1024 * 1024),
      /** default 500,000 */
      rowsMax: z.int().min(1).default(500_000),
      /** default 1,000 */
      ageMsMax: z.int().min(10).default(1_000),
      /**
       * a row (or a change with its old row) of more bytes stops its table, in the stream and in a copy; default 128 MiB.
       * The gateway takes about five times as much memory, the applier six to twelve times all such rows of a batch, by mode.
       */
      rowBytesMax: z
        .int()
        .min(1024)
        .max(1024 * 1024 * 1024)
        .default(128 * 1024 * 1024),
    })
    .prefault({}),
  /** files of changes that no staged commit names yet: of a batch, and of transactions that are open or large */
  spool: z
    .strictObject({
      /**
       * once they have so many bytes nothing more is read until there is room; transactions that are open then are given
       * up and read at their commit. It bounds the largest transaction. Default 64 GiB
       */
      bytesMax: z
        .int()
        .min(1024 * 1024)
        .default(64 * gibibyte),
      /**
       * when a large transaction is read: default `early`, as the server decodes it (PostgreSQL 14 and later); or
       * `commit`: the server spools it on its own disk until its commit
       */
      largeTransactions: z.enum(["early", "commit"]).default("early"),
    })
    .prefault({}),
  snapshot: z
    .strictObject({
      /** connections that copy, over all tables and their ranges; default 2 */
      workers: z.int().min(1).max(64).default(2),
      /** a table with more bytes on disk (TOAST included) is copied in ranges of about as many; default 64 MiB */
      rangeBytes: z
        .int()
        .min(8192)
        .default(64 * 1024 * 1024),
    })
    .prefault({}),
  types: typeOptionsSchema.prefault({}),
  /**
   * tables of which the row before each update is staged too, for destinations with `beforeImage`, as far as the replica
   * identity sends it (FULL): their updates take twice the room in staging; default []
   */
  beforeImages: z.array(z.strictObject({ schema: z.string().min(1), name: z.string().min(1) })).default([]),
  schemaChanges: z
    .strictObject({
      /**
       * a column's wider type for which PostgreSQL wrote all rows anew (integer to bigint), where the Publication has no
       * `captureDdl`, which tells exactly: default `resnapshot`, the table is copied again, as ALTER COLUMN … USING leaves
       * no trace by which its values could be told from the old ones; `follow` trusts that USING isn't used.
       */
      onRewrittenWidening: z.enum(["follow", "resnapshot"]).default("resnapshot"),
    })
    .prefault({}),
  /** how often the slot and the publication's tables are looked at; default 2,000 */
  pollMs: z.int().min(100).default(2_000),
  /** a stream in which nothing comes for so long, though answers are asked for, is made again; default 60,000 */
  silenceMsMax: z.int().min(1_000).default(60_000),
  /**
   * a logical message is written to the source's WAL when nothing was acknowledged for so long, so that the slot moves
   * on; default 60,000; 0 is off. Never on a standby.
   */
  heartbeatMs: z
    .int()
    .refine((value) => value === 0 || value >= 1_000, "0, or at least 1000")
    .default(60_000),
  /** thresholds of the alerts in status and log */
  health: z
    .strictObject({
      /** behind the server; default 5 min and 1 h */
      lagMs: threshold(5 * minuteMs, 60 * minuteMs),
      /** WAL kept for the slot; default 10 and 50 GiB */
      retainedBytes: threshold(10 * gibibyte, 50 * gibibyte),
      /** projected time until the slot is lost, less is worse; default 6 h and 1 h */
      lossMs: threshold(360 * minuteMs, 60 * minuteMs),
      /** age of a transaction that holds the slot; default 10 min and 1 h */
      transactionMs: threshold(10 * minuteMs, 60 * minuteMs),
    })
    .prefault({}),
});
export type GatewayConfig = z.infer<typeof gatewayConfigSchema>;

export const maintenanceSchema = z
  .strictObject({
    /** small files, and files with many deleted rows, are written anew; default true */
    compaction: z.boolean().default(true),
    /** files are removed that no version within the retention has; default true */
    vacuum: z.boolean().default(true),
    /** how long removed files stay, where the table has no `delta.deletedFileRetentionDuration`; default 7 days */
    fileRetentionMs: z
      .int()
      .min(0)
      .default(7 * 86_400_000),
    /** staged commits stay so long at least, and until every applier has them; default 7 days */
    stagingRetentionMs: z
      .int()
      .min(0)
      .default(7 * 86_400_000),
    /** part of the applier's time that it may take; default 0.3 */
    timeShareMax: z.number().gt(0).max(1).default(0.3),
    /**
     * files read by one compaction, in bytes; default 64 MiB. Less where it would take longer than the trigger's interval:
     * no batch that is due waits longer than that.
     */
    bytesMax: z
      .int()
      .min(1024 * 1024)
      .default(64 * 1024 * 1024),
    /** so many small files of about one size become one; default 8 */
    filesMin: z.int().min(2).default(8),
    /** a file is written anew when this part of its rows is deleted; default 0.2 */
    deletedShareMin: z.number().gt(0).max(1).default(0.2),
    /**
     * once a table hasn't changed for so long, every file with a deleted row is written anew; default: it isn't. For
     * readers to whom a deletion vector is dear (delta-rs), of tables that rest between changes.
     */
    purgeAfterIdleMs: z.int().min(0).optional(),
    /** rows of a compacted file are in the order of the table's key; default false */
    clusterByKey: z.boolean().default(false),
  })
  .prefault({});
export type MaintenanceConfig = z.infer<typeof maintenanceSchema>;

export const warehouseDestinationSchema = z
  .strictObject({
    kind: z.literal("databricks"),
    mode: z.literal("warehouse"),
    /** the workspace, and who we are there */
    ...workspaceShape,
    /** the SQL warehouse, by its id; or by `httpPath` */
    warehouseId: z.string().min(1).optional(),
    /** such as `/sql/1.0/warehouses/<id>` */
    httpPath: z.string().startsWith("/").optional(),
    catalog: z.string().min(1),
    /** has all tables but those whose options name another one, and a table of ours (`_sluice_writers`) */
    schema: z.string().min(1),
    /** staging's folder as the warehouse sees it, a folder of a volume (`/Volumes/…`); default: stagingPath */
    stagedPath: z.string().startsWith("/").optional(),
    /** tables that are written at a time; default 4 */
    parallelMax: z.int().min(1).max(64).default(4),
    /**
     * staged changes of one statement, in bytes of their files; default 256 MiB. More for a larger warehouse. A statement
     * that takes too long halves it for its table, each one that doesn't doubles it again.
     */
    batchBytesMax: z
      .int()
      .min(64 * 1024)
      .default(256 * 1024 * 1024),
    /** a statement that takes longer is cancelled, and its batch tried again; default 1,800,000 */
    statementTimeoutMs: z.int().min(1_000).default(1_800_000),
    /** how long a warehouse that is starting is waited for; default 900,000 */
    startTimeoutMs: z.int().min(0).default(900_000),
    /** `spark`: no Databricks, but Spark with Delta Lake behind the same protocol, as in tests; default `databricks` */
    engine: z.enum(["databricks", "spark"]).default("databricks"),
  })
  .superRefine((destination, context) => {
    const problem = warehouseProblem(destination);
    if (problem !== null) context.addIssue({ code: "custom", path: [problem.property], message: problem.message });
  });
export type WarehouseDestination = z.infer<typeof warehouseDestinationSchema>;
export type WarehouseDestinationInput = z.input<typeof warehouseDestinationSchema>;

/** Pure: why settings of a warehouse can't go together; null when they can. */
export function warehouseProblem(settings: Record<string, unknown>): { property: string; message: string } | null {
  const [hasId, hasPath] = ["warehouseId", "httpPath"].map((key) => settings[key] !== undefined);
  if (hasId === hasPath) return { property: "warehouseId", message: "give warehouseId or httpPath, and not both" };
  return workspaceProblem(settings);
}

/** So many former staging logs of a pipeline are remembered. */
export const formerLogsMax = 100;

export const applierConfigSchema = z.strictObject({
  ...common,
  role: z.literal("applier"),
  stagingPath: z.string().min(1),
  staging: stagingSchema,
  destination: z.discriminatedUnion("kind", [
    /** Delta tables at `<path>/<schema>/<table>` */
    z.strictObject({ kind: z.literal("local"), path: z.string().min(1) }),
    /** Delta tables of a Databricks workspace, written by its SQL warehouse */
    warehouseDestinationSchema,
  ]),
  trigger: z
    .discriminatedUnion("kind", [
      /** applies for ever: when `intervalMs` (default 500) have passed, or `rows` changes are staged, where given */
      z.strictObject({
        kind: z.literal("continuous"),
        intervalMs: z.int().min(10).default(500),
        rows: z.int().min(1).optional(),
      }),
      /** at the times of `cron` (see Schedule) in the IANA `timeZone` (default UTC) applies what is staged then */
      z
        .strictObject({ kind: z.literal("schedule"), cron: z.string().min(1), timeZone: z.string().default("UTC") })
        .superRefine((schedule, context) => {
          const problem = scheduleProblem(schedule);
          if (problem !== null) context.addIssue({ code: "custom", path: [problem.of], message: problem.message });
        }),
      /** applies what is staged at start and exits 0 */
      z.strictObject({ kind: z.literal("once") }),
    ])
    .prefault({ kind: "continuous" }),
  maintenance: maintenanceSchema,
  /** runs of each table that the history keeps; default 50 */
  runsKeptMax: z.int().min(1).max(10_000).default(50),
  /** what becomes of a table's rows when it leaves the publication; a table's own `onRemove` goes first; default keep */
  onRemove: onRemoveSchema.default("keep"),
  /** tables that aren't as the defaults have them; default [] */
  tables: tableOptionsListSchema,
  /** staging logs that this pipeline had before this one: `sluice drop-tables` drops what was made of them too */
  formerLogs: z.array(z.string().min(1)).max(formerLogsMax).optional(),
  /** DuckDB's memory limit; default 1 GiB */
  memoryBytesMax: z
    .int()
    .min(64 * 1024 * 1024)
    .default(1024 * 1024 * 1024),
});
export type ApplierConfig = z.infer<typeof applierConfigSchema>;

/** A local folder of the applier's own: beside its tables, or where they aren't here beside its status. */
export function workFolder({
  destination,
  statusPath,
}: {
  destination: { kind: "local"; path: string } | { kind: "databricks" };
  statusPath: string;
}): string {
  return destination.kind === "local" ? destination.path : dirname(statusPath);
}

/** The only thing that the provider tells the runtime: one JSON file for each process. */
export const runtimeConfigSchema = z.discriminatedUnion("role", [gatewayConfigSchema, applierConfigSchema]);
export type RuntimeConfig = z.infer<typeof runtimeConfigSchema>;
export type RuntimeConfigInput = z.input<typeof runtimeConfigSchema>;

import { z } from "zod";
import { processShape } from "./process-config";
import { sourceSchema } from "./source-config";
import { stagingSchema } from "./staging-config";

/** Where a measure becomes a warning, and critical. */
const threshold = (warning: number, critical: number) =>
  z
    .strictObject({ warning: z.number().min(0).default(warning), critical: z.number().min(0).default(critical) })
    .prefault({});

const minuteMs = 60_000;
const gibibyte = 1024 ** 3;

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
  ...processShape,
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

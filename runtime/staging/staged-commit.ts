import { z } from "zod";

/**
 * A staged commit: one numbered, immutable record at `log/<20 digits>.json`. Its files exist before it does
 * (invariant 2); the gateway acknowledges `endLsn` only after it is durable (invariant 1).
 *
 * Parquet of a snapshot holds the table's columns under their physical names (`c1`, `c2`, …) and nothing else, so that
 * it can join a Delta table as it is. Parquet of changes has in front:
 *   `_op`          TINYINT   0 insert, 1 update, 2 delete, 3 delete because the key changed: the row with the next
 *                            ordinal is the same source row under its new key; 4, in files with `beforeImages`:
 *                            the whole row before the update with the next ordinal, which is no change itself
 *   `_commit_lsn`  BIGINT    LSN of the source transaction's commit record
 *   `_ordinal`     BIGINT    order within the transaction, from 0; (commit LSN, ordinal) orders all changes
 *   `_commit_time` TIMESTAMP microseconds since 1970, UTC
 *   `_unchanged`   VARCHAR   attribute numbers whose TOAST value was not sent, as `,5,7,`; NULL when none. Those columns
 *                            are NULL in the row and keep their old value.
 * A delete holds what the replica identity gives: key columns (others NULL), or with FULL every column.
 * For a table without a key an update is a delete (op 2) of the old row and an insert of the new.
 */
export { changeOp } from "../change/change-op";

export const stagedFileSchema = z.strictObject({
  /** key in the object store: `data/<name>.parquet` */
  path: z.string(),
  rows: z.int().min(0),
  bytes: z.int().min(0),
  /**
   * of changes: rows whose `_ordinal` is at or above it are of a subtransaction that was rolled back after the file was
   * written; they aren't read, and `rows` doesn't count them
   */
  ordinalEnd: z.int().min(0).optional(),
  /** of changes: `_op` 4 may be among them */
  beforeImages: z.literal(true).optional(),
});
export type StagedFile = z.infer<typeof stagedFileSchema>;

/**
 * The transaction that all rows of an event belong to. Files of a large transaction are written before it commits: in
 * them `_commit_lsn` and `_commit_time` are NULL, and a reader takes these.
 */
export const stagedTransactionSchema = z.strictObject({
  commitLsn: z.string().regex(/^\d+$/),
  commitTimeMicros: z.string().regex(/^-?\d+$/),
});
export type StagedTransaction = z.infer<typeof stagedTransactionSchema>;

const table = { tableId: z.string(), schemaId: z.int().min(1) };

/**
 * Events are in order for each table. Where a table has a snapshot, changes between its `snapshot-begin` and its
 * `snapshot-end` are those that the snapshot does not hold: they are applied after all of the snapshot's rows.
 * A later `snapshot-begin` makes an unfinished earlier one void, and a finished one replaces all of the table's rows.
 * `snapshot-begin` stands before every other event of its table in its record. Files of a snapshot stand in its
 * `snapshot-rows` events only (any number, 0 for an empty table). Of a table with a key, a snapshot that was resumed by
 * another process may hold a row twice, in an older and a newer state; then the changes up to the record of its
 * `snapshot-end` hold that row too, as an upsert or a delete of its key.
 */
export const stagedEventSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("snapshot-begin"), ...table, snapshotId: z.string(), rowsEstimate: z.number() }),
  z.strictObject({
    kind: z.literal("snapshot-rows"),
    ...table,
    snapshotId: z.string(),
    files: z.array(stagedFileSchema),
  }),
  z.strictObject({ kind: z.literal("snapshot-end"), ...table, snapshotId: z.string(), rows: z.int().min(0) }),
  z.strictObject({
    kind: z.literal("changes"),
    ...table,
    transaction: stagedTransactionSchema.optional(),
    files: z.array(stagedFileSchema),
    inserts: z.int().min(0),
    updates: z.int().min(0),
    deletes: z.int().min(0),
  }),
  z.strictObject({ kind: z.literal("truncate"), ...table, transaction: stagedTransactionSchema.optional() }),
  /**
   * From here on the table's changes have this schema; its columns are those of before by their physical names. `fill`:
   * one row that holds, under physical names, what rows of before have in new columns (pg_attribute.attmissingval);
   * new columns that aren't in it are NULL in those rows.
   */
  z.strictObject({ kind: z.literal("schema"), ...table, fill: stagedFileSchema.optional() }),
  /** left the publication; the destination keeps its rows */
  z.strictObject({ kind: z.literal("removed"), ...table }),
]);
export type StagedEvent = z.infer<typeof stagedEventSchema>;

/**
 * A snapshot whose end isn't staged yet: what a gateway needs to go on with it. The stream is filtered by the *first*
 * snapshot's visibility for all its life, also after a resume; its end waits for the horizon of the *last*.
 */
export const stagedSnapshotSchema = z.strictObject({
  schemaId: z.int().min(1),
  /** ranges that are left may be copied under a later snapshot: keyed, and no update leaves a value unsent */
  resumable: z.boolean(),
  /** of the first snapshot: pg_current_snapshot()'s xmin, xmax and running transactions, 64 bits wide, and its horizon */
  xmin: z.string(),
  xmax: z.string(),
  running: z.array(z.string()),
  horizonLsn: z.string(),
  /** of a standby's: transactions whose commit record begins below it are seen, from `horizonLsn` on they aren't */
  seenBelowLsn: z.string().optional(),
  /** horizon of the newest snapshot that ranges were copied under; the first's when it was never resumed */
  lastHorizonLsn: z.string(),
  startedAt: z.iso.datetime(),
  /** of the ranges that are done */
  rows: z.int().min(0),
  bytes: z.int().min(0),
  rowsEstimate: z.number(),
  parts: z.array(
    z.strictObject({
      relationId: z.string(),
      fileNode: z.string(),
      bytes: z.int().min(0),
      rangeBlocks: z.int().min(1),
      ranges: z.int().min(1),
      /** indexes of the ranges whose rows are staged up to this record, as runs: `0-3,7` */
      done: z.string(),
    }),
  ),
});
export type StagedSnapshot = z.infer<typeof stagedSnapshotSchema>;

/** Of records; 2: files may have `beforeImages`, which a reader of version 1 would take for changes. */
export const stagedCommitVersion = { newest: 2 } as const;

export const stagedCommitSchema = z.strictObject({
  /** the least that a reader must know */
  version: z.literal([1, 2]),
  /** from 1, without gaps */
  sequence: z.int().min(1),
  /** names the gateway process that wrote it */
  epoch: z.string(),
  /** `endLsn` of the record before, in text form */
  startLsn: z.string(),
  /**
   * every change that commits at or before it, of every table past its snapshot, is in this record or an earlier one;
   * after a lost slot it may go back, when no table is past its snapshot
   */
  endLsn: z.string(),
  stagedAt: z.iso.datetime(),
  events: z.array(stagedEventSchema),
  /** every known table after this record, so that a gateway starts from the newest record alone */
  tables: z.record(
    z.string(),
    z.strictObject({
      schemaId: z.int().min(1),
      schema: z.string(),
      name: z.string(),
      /** id of the newest begun snapshot; null before the first */
      snapshotId: z.string().nullable(),
      snapshotComplete: z.boolean(),
      snapshots: z.int().min(0),
      /** the snapshot that isn't complete */
      snapshot: stagedSnapshotSchema.optional(),
      /** condition that the publication puts on rows, as pg_get_expr() writes it */
      rowFilter: z.string().optional(),
      /** tells this membership in the publication from an earlier or later one */
      membership: z.string().optional(),
      /** of a partitioned table published by its root: pg_relation_filenode() of each leaf whose rows it holds, by oid */
      leaves: z.record(z.string(), z.string()).optional(),
    }),
  ),
});
export type StagedCommit = z.infer<typeof stagedCommitSchema>;

export function logKey(sequence: number): string {
  return `log/${String(sequence).padStart(20, "0")}.json`;
}

export function schemaKey(tableId: string, schemaId: number): string {
  return `schema/${tableId}/${schemaId}.json`;
}

/** Files that a record names. */
export function namedFiles(commit: StagedCommit): string[] {
  return commit.events.flatMap((event) => {
    if ("files" in event) return event.files.map(({ path }) => path);
    return event.kind === "schema" && event.fill !== undefined ? [event.fill.path] : [];
  });
}

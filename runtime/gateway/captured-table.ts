import type { SealedRows } from "../change/sealed-rows";
import { TableSpool } from "../change/spool";
import { keyColumns, type TableSchema } from "../change/table-schema";
import type { GatewayConfig } from "../config";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { quoteTable } from "../postgres/identifier";
import type { Lsn } from "../postgres/lsn";
import type { StagedCommit } from "../staging/staged-commit";
import type { GatewayTableState, GatewayTableStatus } from "../status";
import { type CopyPart, copiedShare } from "./copy-ranges";
import { toStaged } from "./snapshot-resume";
import type { SnapshotVisibility } from "./snapshot-visibility";

/** What happens to a streamed change of a table. */
export type CaptureState =
  /**
   * Its changes are dropped: the next snapshot will hold them. `droppedXids` are the transactions dropped so far; a
   * snapshot that doesn't see one of them is not taken.
   */
  | { kind: "pending"; droppedXids: Set<number> }
  /** Its changes are spooled, except those that the snapshot holds (`visibility` null: restarted after the snapshot). */
  | { kind: "capturing"; schema: TableSchema; spool: TableSpool; visibility: SnapshotVisibility | null }
  /** As pending, until a snapshot has been taken; the next attempt is at the table's `retryAtMs`. */
  | { kind: "failed"; droppedXids: Set<number>; message: string; remedy?: string };

/** A snapshot that runs, waits to be resumed, or waits for its end to be staged. */
export interface SnapshotProgress {
  snapshotId: string;
  schemaId: number;
  resumable: boolean;
  /** of the first snapshot: the stream is filtered by it, whatever is resumed later */
  visibility: SnapshotVisibility;
  /** of the newest snapshot: the stream must pass it before the end is staged */
  lastHorizonLsn: Lsn;
  /**
   * End of flushed WAL, read so long after the newest snapshot that all commits which it sees are flushed: passing it is
   * as good as passing the horizon, which on an idle server may stay unflushed. null until then
   */
  settledLsn: Lsn | null;
  startedAt: string;
  /** of the ranges that are done */
  rows: number;
  bytes: number;
  rowsEstimate: number;
  parts: CopyPart[];
  /** when the last range was done; null before */
  copiedAtMs: number | null;
  /** when this process took it up, and the share that was copied then */
  resumedAtMs: number;
  shareAtResume: number;
}

/** One published table: its capture state, its running snapshot, its counters. Changed by gateway code only. */
export class CapturedTable {
  capture: CaptureState = { kind: "pending", droppedXids: new Set() };
  /** the snapshot that isn't complete in staging */
  snapshot: SnapshotProgress | null = null;
  /** newest schema written to staging; 0 before the first */
  schemaId = 0;
  /** a snapshot is being taken or waits to be registered: what was dropped must be known until then */
  snapshotTaken = false;
  snapshotId: string | null = null;
  snapshotComplete = false;
  /** its newest snapshot that has ended, and the staged commit with that end: only what is durable is told */
  ended: { snapshot: SnapshotProgress; sequence: number } | null = null;
  snapshots = 0;
  snapshotRows = 0;
  inserts = 0;
  updates = 0;
  deletes = 0;
  rowsEstimate = 0;
  bytesEstimate = 0;
  failures = 0;
  /** why its snapshot doesn't start or go on */
  waitingFor: string | undefined;
  /** no attempt at its snapshot before */
  retryAtMs = 0;
  /** RELATION messages received: what was read of the catalog before one may be older than it */
  relations = 0;
  /**
   * on a standby: transactions with an id below `xid` may have written to it, unstreamed, before it became a member of
   * the publication as it is, and are waited for before a snapshot
   */
  olderThan: { membership: string; xid: bigint } | null = null;
  /** why it was to be copied again; null while it never was */
  pendingReason: string | null = null;
  /** the schema of the rows that were cut last: those after it are streamed again when the connection is lost */
  private cutSchema: TableSchema | null = null;
  /** condition that the publication puts on its rows, as of its newest snapshot */
  rowFilter: string | null = null;
  /** its membership in the publication as of its newest snapshot; null when an earlier version took it */
  membership: string | null = null;
  /** of a partitioned table: file node of each leaf whose rows its newest snapshot holds, by oid; else null */
  leaves: ReadonlyMap<string, string> | null = null;
  readonly unrepresentable: Record<string, number> = {};

  /** `beforeImages`: tables of which the rows before updates are staged */
  constructor(
    readonly tableId: string,
    public schema: string,
    public name: string,
    private readonly beforeImages: GatewayConfig["beforeImages"] = [],
  ) {}

  /** takes the changes that are captured; null when they are dropped */
  get spool(): TableSpool | null {
    return this.capture.kind === "capturing" ? this.capture.spool : null;
  }

  /** For changes of this schema. */
  newSpool(schema: TableSchema): TableSpool {
    const isNamed = this.beforeImages.some((table) => table.schema === schema.schema && table.name === schema.name);
    if (isNamed && schema.replicaIdentity !== "f" && keyColumns(schema).length > 0) {
      log("warning", "no-before-images", {
        table: `${schema.schema}.${schema.name}`,
        reason: "its replica identity doesn't send whole old rows",
        remedy: `ALTER TABLE ${quoteTable(schema)} REPLICA IDENTITY FULL`,
      });
    }
    return new TableSpool(schema, "changes", isNamed);
  }

  /** Changes from now on are dropped until a new snapshot holds them. */
  await(reason?: string): void {
    if (reason !== undefined) this.pendingReason = reason;
    this.capture = { kind: "pending", droppedXids: new Set() };
    this.waitingFor = undefined;
    this.snapshot = null;
    this.snapshotComplete = false;
    this.ended = null;
  }

  /** Rows from here on have this schema. */
  adopt(schema: TableSchema): void {
    if (this.capture.kind !== "capturing") return;
    this.capture = { ...this.capture, schema, spool: this.newSpool(schema) };
    this.schemaId = schema.schemaId;
    this.schema = schema.schema;
    this.name = schema.name;
  }

  markCut(): void {
    this.cutSchema = this.capture.kind === "capturing" ? this.capture.schema : null;
  }

  /** Takes back the schemas adopted since the last cut. */
  restoreCut(): void {
    const { capture, cutSchema } = this;
    if (capture.kind === "capturing" && cutSchema !== null && cutSchema !== capture.schema) this.adopt(cutSchema);
  }

  /** @throws SluiceError `conflict` when this snapshot isn't under way any more */
  requireSnapshot(progress: SnapshotProgress): void {
    if (this.snapshot === progress) return;
    throw new SluiceError("conflict", `snapshot of ${this.schema}.${this.name}: overtaken by a newer one`, {
      remedy: "Nothing is to be done: the newer snapshot copies the table.",
    });
  }

  /** As `await`, until `retryAtMs`; what the destination has stays readable. */
  fail(error: SluiceError, retryAtMs: number): void {
    this.await();
    const { message, remedy } = error;
    this.retryAtMs = retryAtMs;
    this.capture = { kind: "failed", droppedXids: new Set(), message, remedy };
  }

  /** Adds what was sealed to the counters. */
  count(sealed: Pick<SealedRows, "inserts" | "updates" | "deletes" | "unrepresentable">): void {
    this.inserts += sealed.inserts;
    this.updates += sealed.updates;
    this.deletes += sealed.deletes;
    for (const [column, count] of Object.entries(sealed.unrepresentable)) {
      this.unrepresentable[column] = (this.unrepresentable[column] ?? 0) + count;
    }
  }

  staged(): StagedCommit["tables"][string] {
    return {
      schemaId: Math.max(this.schemaId, 1),
      schema: this.schema,
      name: this.name,
      snapshotId: this.snapshotId,
      snapshotComplete: this.snapshotComplete,
      snapshots: this.snapshots,
      ...(this.snapshot === null ? {} : { snapshot: toStaged(this.snapshot) }),
      ...(this.rowFilter === null ? {} : { rowFilter: this.rowFilter }),
      ...(this.membership === null ? {} : { membership: this.membership }),
      ...(this.leaves === null ? {} : { leaves: Object.fromEntries(this.leaves) }),
    };
  }

  /** `stagedSequence`: of the newest commit that is durable */
  status(stagedSequence: number): GatewayTableStatus {
    return {
      tableId: this.tableId,
      schema: this.schema,
      name: this.name,
      state: this.stateForStatus(stagedSequence),
      snapshotRows: this.snapshotRows,
      snapshots: this.snapshots,
      ...(this.pendingReason === null ? {} : { snapshotReason: this.pendingReason }),
      inserts: this.inserts,
      updates: this.updates,
      deletes: this.deletes,
      unrepresentable: this.unrepresentable,
    };
  }

  private stateForStatus(stagedSequence: number): GatewayTableState {
    const capture = this.capture;
    switch (capture.kind) {
      case "pending":
        return { kind: "pending", waitingFor: this.waitingFor ?? this.pendingReason ?? undefined };
      case "failed":
        return { kind: "failed", message: capture.message, remedy: capture.remedy };
      case "capturing": {
        const ending = this.ended !== null && this.ended.sequence > stagedSequence ? this.ended.snapshot : null;
        const snapshot = this.snapshot ?? ending;
        if (snapshot === null) return { kind: "streaming" };
        const { rows, bytes, rowsEstimate, startedAt, parts } = snapshot;
        return {
          kind: "snapshot",
          rows,
          bytes,
          rowsEstimate,
          startedAt,
          rangesDone: parts.reduce((sum, part) => sum + part.done.size, 0),
          ranges: parts.reduce((sum, part) => sum + part.ranges, 0),
          secondsLeft: secondsLeft(snapshot, Date.now()),
          waitingFor: this.waitingFor,
        };
      }
    }
  }
}

/** At the speed since this process took the snapshot up; null before its first range is done. */
export function secondsLeft(snapshot: SnapshotProgress, nowMs: number): number | null {
  const share = copiedShare(snapshot.parts);
  const gained = share - snapshot.shareAtResume;
  if (gained <= 0) return null;
  return Math.round(((1 - share) / gained) * ((nowMs - snapshot.resumedAtMs) / 1_000));
}

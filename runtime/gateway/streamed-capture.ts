import { isDeepStrictEqual } from "node:util";
import { hasShape } from "../change/schema-change";
import { overflowRowsMax, type TransactionMeta } from "../change/spool";
import { SluiceError } from "../errors";
import type { Lsn } from "../postgres/lsn";
import type { Relation, StreamedTransactionHandler } from "../postgres/pgoutput-handler";
import type { Capture } from "./capture";
import type { CapturedTable } from "./captured-table";
import { type OpenTable, OpenTransaction } from "./open-transaction";
import { type CaptureLimits, RowCapture, type TruncateEvent } from "./row-capture";
import { isVisible, type SnapshotVisibility } from "./snapshot-visibility";
import type { BatchItem, Stager } from "./stager";

/** Of the logical messages of a transaction only ours are kept until its commit. */
const ownMessages = "sluice.";

/**
 * Takes the blocks of transactions that are still open. Each lies apart until it commits; then what it has of a table
 * joins the batch, in the order of commits, if the table has been captured in one way since its first change, and its
 * snapshot doesn't hold the transaction. Else it is dropped as any transaction is of a table that isn't captured.
 *
 * A table can't be captured by a snapshot that doesn't see an open transaction of which changes were dropped
 * (`unseenXid`): so a transaction is in the snapshot's rows, or all of its changes come under one capture.
 */
export class StreamedCapture extends RowCapture<OpenTable> implements StreamedTransactionHandler {
  private readonly open = new Map<number, OpenTransaction>();
  private current: OpenTransaction | null = null;
  private last: OpenTable | null = null;
  /** in buffers of all open transactions */
  private bytes = 0;
  private rows = 0;

  constructor(
    private readonly capture: Capture,
    private readonly stager: Stager,
    limits: CaptureLimits,
  ) {
    super(limits);
  }

  protected get meta(): TransactionMeta {
    return this.now.meta;
  }

  get count(): number {
    return this.open.size;
  }

  /** A transaction that has changes of the table and that the snapshot doesn't see, as it is still open. */
  unseenXid(relationId: number, visibility: SnapshotVisibility): number | null {
    for (const { xid, tables } of this.open.values()) {
      if (tables.has(relationId) && !isVisible(visibility, xid)) return xid;
    }
    return null;
  }

  isOpen(xid: number): boolean {
    return this.open.has(xid);
  }

  /** Whether an open transaction has changes of the table. */
  touches(relationId: number): boolean {
    for (const { tables } of this.open.values()) if (tables.has(relationId)) return true;
    return false;
  }

  /** Tables of which the open transaction has changes that will count, with what it has said of their columns. */
  describedTables(xid: number): { table: CapturedTable; relation: Relation }[] {
    const transaction = this.open.get(xid);
    if (transaction === undefined) return [];
    return [...transaction.tables.values()].flatMap((entry) => {
      const { table, relationId } = entry;
      const relation = transaction.relations.get(relationId);
      if (table === null || relation === undefined || !isCurrent(entry, table) || entry.broken !== null) return [];
      return [{ table, relation }];
    });
  }

  /** Its changes of the table don't count, as they can't be told: the table is copied again if it commits. */
  distrust(xid: number, table: CapturedTable): void {
    const entry = this.open.get(xid)?.tables.get(Number(table.tableId));
    if (entry !== undefined) entry.broken ??= { ordinal: 0, error: null };
  }

  /** The connection is gone: the server sends open transactions again, from their beginning. */
  detach(): void {
    for (const transaction of this.open.values()) transaction.dropAll();
    this.open.clear();
    this.bytes = 0;
    this.rows = 0;
    this.leave();
  }

  streamStart(xid: number, isFirst: boolean): void {
    let transaction = this.open.get(xid);
    if (transaction === undefined) {
      if (!isFirst) throw unknownTransaction(xid, "a later block");
      transaction = new OpenTransaction(xid, this.stager);
      this.open.set(xid, transaction);
    }
    this.current = transaction;
    this.last = null;
  }

  subtransaction(xid: number): void {
    this.current?.enter(xid);
  }

  streamStop(): void {
    this.leave();
  }

  relation(relation: Relation): void {
    const { relations, tables, xid } = this.now;
    relations.set(relation.relationId, relation);
    this.last = null;
    this.capture.openRelation(xid, relation, tables.has(relation.relationId));
  }

  protected truncated(entry: OpenTable, event: TruncateEvent): void {
    this.now.push(entry, event);
  }

  message(prefix: string, content: Buffer, lsn: bigint): void {
    if (!prefix.startsWith(ownMessages)) return;
    this.now.messages.push({ ordinal: this.now.meta.nextOrdinal++, prefix, content, lsn });
  }

  streamAbort(xid: number, subxid: number): void {
    const transaction = this.open.get(xid);
    // Of a transaction that was rolled back before its first block nothing has come.
    if (transaction === undefined) return;
    if (subxid !== xid) {
      transaction.abortSubtransaction(subxid);
      return;
    }
    this.open.delete(xid);
    this.release(transaction);
    transaction.dropAll();
  }

  streamCommit(xid: number, commitLsn: bigint, endLsn: bigint, commitTimeMicros: bigint): void {
    const transaction = this.open.get(xid);
    if (transaction === undefined) throw unknownTransaction(xid, "the commit");
    this.open.delete(xid);
    this.release(transaction);
    const { capture } = this;
    capture.begin(commitLsn, commitTimeMicros, xid);
    transaction.seal();
    for (const entry of [...transaction.tables.values()]) this.settle(transaction, entry, commitLsn as Lsn);
    const staged = { commitLsn: String(commitLsn), commitTimeMicros: String(commitTimeMicros) };
    const items = transaction.items.map((item): BatchItem => {
      if (item.kind === "event") return { kind: "event", event: item.event };
      const { rows, ordinalEnd } = item;
      const written = ordinalEnd === null ? rows.written : this.stager.cutOff(rows.written, ordinalEnd);
      const table = capture.tables.get(item.relationId);
      const { unrepresentable } = item;
      written.then(
        (counts) => table?.count({ ...counts, unrepresentable }),
        () => {},
      );
      return { ...rows, written, transaction: staged };
    });
    capture.takeStreamed(items, transaction.changes);
    for (const { prefix, content, lsn } of transaction.messages) capture.message(prefix, content, lsn, true);
    for (const relation of transaction.relations.values()) {
      if (!isDeepStrictEqual(capture.relationOf(relation.relationId), relation)) capture.relation(relation);
    }
    capture.commit(endLsn);
  }

  /** Whether what the transaction has of the table counts is decided at its commit; what doesn't is dropped here. */
  private settle(transaction: OpenTransaction, entry: OpenTable, commitLsn: Lsn): void {
    const { capture } = this;
    const table = capture.tables.get(entry.relationId);
    if (table?.capture.kind !== "capturing") {
      transaction.dropTable(entry);
      capture.dropChange(entry.relationId);
      return;
    }
    if (!capture.isTaken(table, transaction.xid, commitLsn)) {
      transaction.dropTable(entry);
      return;
    }
    if (isCurrent(entry, table) && entry.broken === null) {
      capture.sealTable(table);
      return;
    }
    const error = entry.broken?.error ?? null;
    transaction.dropTable(entry);
    if (error !== null) capture.refused(table, error);
    else capture.sendBack(table, "its columns changed: a new snapshot follows");
  }

  private get now(): OpenTransaction {
    if (this.current === null) throw new SluiceError("internal", "a change of no open transaction");
    return this.current;
  }

  private leave(): void {
    this.current = null;
    this.last = null;
  }

  /** The table's part of the transaction, whose spool takes the change; null when it is dropped. */
  protected target(relationId: number): OpenTable | null {
    let entry = this.last;
    if (entry?.relationId !== relationId) {
      entry = this.now.tables.get(relationId) ?? this.enterTable(relationId);
      this.last = entry;
      this.checkShape(entry);
    }
    if (entry.capture === null) return null;
    if (!isCurrent(entry, entry.table)) {
      this.now.dropTable(entry);
      return null;
    }
    return entry.broken === null ? entry : null;
  }

  private enterTable(relationId: number): OpenTable {
    const table = this.capture.tables.get(relationId) ?? null;
    const capture = table?.capture.kind === "capturing" ? table.capture : null;
    const spool = (capture && table?.newSpool(capture.schema)) ?? null;
    const entry: OpenTable = { relationId, table, capture, spool, broken: null };
    this.now.tables.set(relationId, entry);
    return entry;
  }

  /** The transaction's own RELATION goes before the one that is valid for all. */
  private checkShape(entry: OpenTable): void {
    if (entry.capture === null || entry.broken !== null) return;
    const relation = this.now.relations.get(entry.relationId) ?? this.capture.relationOf(entry.relationId);
    if (relation === undefined || hasShape(entry.capture.schema, relation)) return;
    entry.broken = { ordinal: this.now.meta.nextOrdinal++, error: null };
  }

  /** A value that must not be lost: it stops the table only if it is committed. */
  protected refused(entry: OpenTable, error: SluiceError): void {
    entry.broken = { ordinal: this.now.meta.nextOrdinal++, error };
  }

  protected spooled(bytes: number): void {
    this.now.spooled(bytes);
    this.bytes += bytes;
    this.rows++;
    if (this.bytes < this.limits.bytesMax && this.rows < Math.min(this.limits.rowsMax, overflowRowsMax)) return;
    const largest = [...this.open.values()].reduce((a, b) => (b.bytes > a.bytes ? b : a));
    this.release(largest);
    largest.seal();
  }

  /** Its buffers become files, or go. */
  private release(transaction: OpenTransaction): void {
    this.bytes -= transaction.bytes;
    this.rows -= transaction.rows;
  }
}

/** Captured still as when the transaction's first change of it came. */
function isCurrent(entry: OpenTable, table: CapturedTable | null): boolean {
  return (
    entry.capture !== null &&
    table?.capture === entry.capture &&
    entry.capture.schema === entry.spool?.schema &&
    entry.table === table
  );
}

function unknownTransaction(xid: number, what: string): SluiceError {
  return new SluiceError("protocol", `pgoutput: ${what} of transaction ${xid} came, but not its first block`, {
    remedy: "Restart the gateway; if it comes again, report it with the server's version.",
  });
}

import type { CapturedTable } from "./captured-table";
import { isVisible, type SnapshotVisibility } from "./snapshot-visibility";

/**
 * Transactions of which changes were dropped, by relation: a snapshot that doesn't see one of them can't begin the
 * capture of the table. Those of a table that isn't captured are kept in it.
 */
export class DroppedTransactions {
  /** of relations that aren't known yet */
  private readonly unknown = new Map<number, Set<number>>();

  constructor(private readonly tables: ReadonlyMap<number, CapturedTable>) {}

  /** A change of a relation that isn't captured is dropped. */
  add(relationId: number, xid: number): void {
    const table = this.tables.get(relationId);
    if (table !== undefined) {
      this.addTo(table, xid);
      return;
    }
    const xids = this.unknown.get(relationId) ?? new Set();
    this.unknown.set(relationId, xids.add(xid));
  }

  addTo({ capture }: CapturedTable, xid: number): void {
    if (capture.kind !== "capturing") capture.droppedXids.add(xid);
  }

  /** The table is known from now on. */
  handOver({ tableId, capture }: CapturedTable): void {
    const relationId = Number(tableId);
    const xids = this.unknown.get(relationId);
    if (xids === undefined || capture.kind !== "pending") return;
    for (const xid of xids) capture.droppedXids.add(xid);
    this.unknown.delete(relationId);
  }

  /** One that the snapshot doesn't see; null when it sees all. */
  unseenXid({ capture }: CapturedTable, visibility: SnapshotVisibility): number | null {
    if (capture.kind === "capturing") return null;
    for (const xid of capture.droppedXids) if (!isVisible(visibility, xid)) return xid;
    return null;
  }

  /** All transactions with an id below are seen by every snapshot to come; one already taken may not see them. */
  forgetBelow(isBelow: (xid: number) => boolean): void {
    const sets = [...this.unknown.values()];
    for (const { capture, snapshotTaken } of this.tables.values()) {
      if (capture.kind !== "capturing" && !snapshotTaken) sets.push(capture.droppedXids);
    }
    for (const xids of sets) {
      for (const xid of xids) if (isBelow(xid)) xids.delete(xid);
    }
  }

  /** The past is lost: every table waits for a snapshot that is taken from now on. */
  clear(): void {
    this.unknown.clear();
  }
}

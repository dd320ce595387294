import { overflowRowsMax } from "../change/spool";
import type { StagedEvent } from "../staging/staged-commit";
import type { CaptureLimits } from "./row-capture";
import { type BatchItem, type Stager, tableOf } from "./stager";

/** What is received and in no staged commit yet: what the next one will say, and how much it waits for. */
export class PendingBatch {
  /** of changes, sealed or in spools still */
  bytes = 0;
  private rows = 0;
  private items: BatchItem[] = [];
  /** snapshot events and removals: kept when the stream is read again from the last staged position */
  private control: StagedEvent[] = [];
  private readonly takeBacks = new Map<StagedEvent, () => void>();
  /** of them in buffers still */
  private unsealedRows = 0;
  private unsealedBytes = 0;
  private readonly overflowRows: number;
  /** when it got its first item; null while it is empty */
  private oldestMs: number | null = null;
  /** a table went back to pending, which the next record must say */
  private statesChanged = false;

  constructor(
    private readonly stager: Stager,
    private readonly limits: CaptureLimits,
    private readonly now: () => number,
  ) {
    this.overflowRows = Math.min(limits.rowsMax, overflowRowsMax);
  }

  get isEmpty(): boolean {
    return this.oldestMs === null;
  }

  /** It is full or old. */
  get isDue(): boolean {
    if (this.oldestMs === null) return false;
    const { rowsMax, bytesMax, ageMsMax } = this.limits;
    return this.rows >= rowsMax || this.bytes >= bytesMax || this.now() - this.oldestMs >= ageMsMax;
  }

  /**
   * A change went into a spool. @returns whether all spools are to be sealed: a large transaction, or batch, overflows
   * into files that the record at its end will name (invariant 7)
   */
  countRow(bytes: number): boolean {
    this.rows++;
    if (this.oldestMs === null) this.touch();
    this.bytes += bytes;
    this.unsealedRows++;
    this.unsealedBytes += bytes;
    return this.unsealedBytes >= this.limits.bytesMax || this.unsealedRows >= this.overflowRows;
  }

  /** Nothing is in spools any more. */
  markSealed(): void {
    this.unsealedRows = 0;
    this.unsealedBytes = 0;
  }

  add(item: BatchItem): void {
    this.items.push(item);
    this.touch();
  }

  /** What a streamed transaction has, in order. */
  addStreamed(items: BatchItem[], changes: number): void {
    this.rows += changes;
    this.items.push(...items);
    this.touch();
  }

  /** @param takeBack what to do when the connection is lost before the event is staged, and it goes */
  addControl(event: StagedEvent, takeBack?: () => void): void {
    this.control.push(event);
    if (takeBack !== undefined) this.takeBacks.set(event, takeBack);
    this.touch();
  }

  /** A record must come, though it may have no events. */
  recordStates(): void {
    this.statesChanged = true;
    this.touch();
  }

  touches(tableId: string): boolean {
    return (
      this.items.some((item) => tableOf(item) === tableId) || this.control.some((event) => event.tableId === tableId)
    );
  }

  /** What is sealed of the table won't be staged. */
  dropTable(tableId: string): void {
    const isOurs = (item: BatchItem) => tableOf(item) === tableId;
    this.stager.discard(this.items.filter(isOurs));
    this.items = this.items.filter((item) => !isOurs(item));
  }

  /** What is told of the table's snapshot under way, or of every one, is void; it may not end. */
  dropSnapshotEvents(tableId?: string): void {
    this.control = this.control.filter(
      (event) => event.kind === "removed" || (tableId !== undefined && event.tableId !== tableId),
    );
  }

  /** The connection is gone: what will be sent again goes, and so do events that hold at the position reached. */
  takeBack(): void {
    this.stager.discard(this.items);
    this.items = [];
    for (const takeBack of this.takeBacks.values()) takeBack();
    this.control = this.control.filter((event) => !this.takeBacks.has(event));
    this.takeBacks.clear();
    this.rows = 0;
    this.bytes = 0;
    this.markSealed();
    if (this.control.length === 0 && !this.statesChanged) this.oldestMs = null;
  }

  /** All of it, in order; null when there is nothing to say. The batch is empty then. */
  take(): BatchItem[] | null {
    const events: BatchItem[] = this.control.map((event) => ({ kind: "event", event }));
    const items = [...events, ...this.items];
    const isWanted = items.length > 0 || this.statesChanged;
    this.control = [];
    this.takeBacks.clear();
    this.items = [];
    this.rows = 0;
    this.bytes = 0;
    this.oldestMs = null;
    this.statesChanged = false;
    return isWanted ? items : null;
  }

  private touch(): void {
    this.oldestMs ??= this.now();
  }
}

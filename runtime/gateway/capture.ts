import type { PublicationLook } from "../change/publication-membership";
import { hasShape } from "../change/schema-change";
import { overflowRowsMax, type TransactionMeta } from "../change/spool";
import type { TableSchema } from "../change/table-schema";
import { requireRowSize } from "../change/unrepresentable-value";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { formatLsn, type Lsn, maxLsn } from "../postgres/lsn";
import type { PgoutputHandler, Relation } from "../postgres/pgoutput";
import type { StagedCommit, StagedEvent, StagedFile } from "../staging/staged-commit";
import type { CapturedTable } from "./captured-table";
import { unrepresentableRetryMs } from "./snapshot-scheduler";
import { isVisible, judge, type SnapshotVisibility } from "./snapshot-visibility";
import { type BatchItem, type Stager, tableOf } from "./stager";
import { StreamedCapture } from "./streamed-capture";

export interface CaptureLimits {
  bytesMax: number;
  rowsMax: number;
  ageMsMax: number;
  rowBytesMax: number;
}

/** The transaction in which a relation is described. */
export interface DescribedIn {
  xid: number;
  /** null: not committed yet, so the catalog doesn't show what it has changed itself */
  commitLsn: Lsn | null;
}

export interface CaptureEvents {
  /** The batch or a file can't be staged: nothing more is to be read. */
  onFailed(error: unknown): void;
  /** A table went back to pending: it needs a snapshot. */
  onPending(table: CapturedTable): void;
  /** A value stopped a table (`unrepresentable`); it has failed. */
  onStopped(table: CapturedTable, error: SluiceError): void;
  /** A captured table is described by the stream: it may have changed. What follows waits until that is decided. */
  onRelation(table: CapturedTable, relation: Relation, described: DescribedIn): void;
  /** A logical message in a transaction; `takes` tells whether changes of a table are captured here. */
  onMessage(prefix: string, content: Buffer, takes: (table: CapturedTable) => boolean): void;
  onStaged(): void;
}

/**
 * Routes streamed changes into spools and cuts them into staged commits at commit boundaries. Everything is
 * synchronous but the writing, which `Stager` does behind it.
 */
export class Capture implements PgoutputHandler {
  /** transactions that are streamed before their end */
  readonly streamed: StreamedCapture;
  readonly tables = new Map<number, CapturedTable>();
  /** the publication as it was looked at last; null before the first look */
  publicationLook: PublicationLook | null = null;
  transactions = 0;
  changes = 0;
  /** all that commits at or before it is staged, spooled or dropped by rule */
  boundaryLsn: Lsn;

  private readonly relations = new Map<number, Relation>();
  /** transactions with changes of relations that aren't known yet */
  private readonly unknownXids = new Map<number, Set<number>>();
  private inTransaction = false;
  /** whether `boundaryLsn` is true: not from the loss of a connection to the next start of the stream */
  private attached = true;
  private xid = 0;
  private readonly transaction: TransactionMeta = { commitLsn: 0n, commitTimeMicros: 0n, nextOrdinal: 0 };
  private items: BatchItem[] = [];
  /** snapshot events and removals: kept when the stream is read again from the last staged position */
  private control: StagedEvent[] = [];
  private readonly takeBacks = new Map<StagedEvent, () => void>();
  private pendingRows = 0;
  private pendingBytes = 0;
  /** of them in buffers still */
  private unsealedRows = 0;
  private unsealedBytes = 0;
  private readonly overflowRows: number;
  /** when the batch got its first item; null while it is empty */
  private oldestMs: number | null = null;
  /** a table went back to pending, which the next record must say */
  private statesChanged = false;
  private boundaryActions: (() => void)[] = [];
  private lastRelationId = -1;
  private lastTarget: CapturedTable | null = null;

  constructor(
    private readonly stager: Stager,
    private readonly limits: CaptureLimits,
    private readonly events: CaptureEvents,
    private readonly now: () => number = Date.now,
  ) {
    this.boundaryLsn = stager.stagedLsn;
    this.overflowRows = Math.min(limits.rowsMax, overflowRowsMax);
    this.streamed = new StreamedCapture(this, stager, limits);
  }

  /** Nothing received is waiting for staging. */
  get idle(): boolean {
    return this.betweenTransactions && this.oldestMs === null && this.stager.idle;
  }

  get bytesHeld(): number {
    return this.pendingBytes + this.stager.bytesInFlight;
  }

  add(table: CapturedTable): void {
    const relationId = Number(table.tableId);
    const dropped = this.unknownXids.get(relationId);
    if (dropped !== undefined && table.capture.kind === "pending") {
      for (const xid of dropped) table.capture.droppedXids.add(xid);
      this.unknownXids.delete(relationId);
    }
    this.tables.set(relationId, table);
    this.lastRelationId = -1;
  }

  remove(table: CapturedTable): void {
    this.atBoundary(() => {
      this.separate(table);
      this.tables.delete(Number(table.tableId));
      this.lastRelationId = -1;
      this.control.push({ kind: "removed", tableId: table.tableId, schemaId: Math.max(table.schemaId, 1) });
      this.touch();
    });
  }

  /**
   * The table's changes are dropped from here on: `change` makes it pending or failed. A record must say so before what
   * is dropped may be acknowledged (invariant 1), or a restart would go on behind it.
   */
  drop(table: CapturedTable, change: () => void): void {
    const isRecorded = table.snapshotComplete || table.snapshot !== null;
    change();
    if (this.inTransaction && table.capture.kind !== "capturing") table.capture.droppedXids.add(this.xid);
    this.lastRelationId = -1;
    if (isRecorded) this.recordStates();
  }

  /** What the newest record says of a table isn't so any more: the next must come before anything is acknowledged. */
  recordStates(): void {
    this.statesChanged = true;
    this.touch();
  }

  /** Runs now, or at the end of the transaction that is being received. */
  atBoundary(action: () => void): void {
    if (this.betweenTransactions) action();
    else this.boundaryActions.push(action);
  }

  /**
   * A snapshot event of a table; `snapshot-begin` never shares a record with what came before it.
   * @param takeBack for an event that holds at the position reached: when the connection is lost before it is cut, the
   *   stream goes back, and so does it
   */
  pushSnapshotEvent(table: CapturedTable, event: StagedEvent, takeBack?: () => void): void {
    if (event.kind === "snapshot-begin") {
      this.separate(table);
      table.markCut();
    }
    this.control.push(event);
    if (takeBack !== undefined) this.takeBacks.set(event, takeBack);
    this.touch();
  }

  /** All transactions with an id below are seen by every snapshot to come; one already taken may not see them. */
  forgetDroppedBelow(isBelow: (xid: number) => boolean): void {
    const sets = [...this.unknownXids.values()];
    for (const table of this.tables.values()) {
      if (table.capture.kind !== "capturing" && !table.snapshotTaken) sets.push(table.capture.droppedXids);
    }
    for (const xids of sets) {
      for (const xid of xids) if (isBelow(xid)) xids.delete(xid);
    }
  }

  /** The connection is gone: what isn't cut yet will be sent again. Nothing is cut until `attach`. */
  detach(): void {
    this.inTransaction = false;
    this.attached = false;
    this.streamed.detach();
    this.stager.discard(this.items);
    this.items = [];
    for (const table of this.tables.values()) {
      if (table.capture.kind === "capturing") table.capture.spool.seal();
      table.restoreCut();
    }
    for (const takeBack of this.takeBacks.values()) takeBack();
    this.control = this.control.filter((event) => !this.takeBacks.has(event));
    this.takeBacks.clear();
    this.pendingRows = 0;
    this.pendingBytes = 0;
    this.unsealedRows = 0;
    this.unsealedBytes = 0;
    if (this.control.length === 0 && !this.statesChanged) this.oldestMs = null;
    this.relations.clear();
    this.lastRelationId = -1;
  }

  /**
   * The slot's past is lost, and with it what every table was to go on from: all wait for a snapshot that is taken from
   * now on. Only while detached.
   */
  restart(reason: string): void {
    this.unknownXids.clear();
    // What is told of snapshots under way is void; none of them may end.
    this.control = this.control.filter(({ kind }) => kind === "removed");
    for (const table of this.tables.values()) table.await(reason);
  }

  /** Snapshots that aren't complete are void: each is taken again. Only while detached. */
  restartSnapshots(reason: string): void {
    for (const table of this.tables.values()) {
      if (table.capture.kind !== "capturing" || table.snapshotComplete) continue;
      this.control = this.control.filter(({ kind, tableId }) => tableId !== table.tableId || kind === "removed");
      table.await(reason);
    }
  }

  /** Whether no table goes on from what is staged: then nothing of the past is missed. */
  get startsAnew(): boolean {
    return [...this.tables.values()].every((table) => table.capture.kind !== "capturing");
  }

  /** Every table's state, as a record keeps it. */
  stagedTables(): StagedCommit["tables"] {
    return Object.fromEntries([...this.tables.values()].map((table) => [table.tableId, table.staged()]));
  }

  /** The stream starts at `startLsn`, before which all is staged. */
  attach(startLsn: Lsn): void {
    this.attached = true;
    this.boundaryLsn = startLsn;
    this.runBoundaryActions();
  }

  begin(commitLsn: bigint, commitTimeMicros: bigint, xid: number): void {
    this.inTransaction = true;
    this.xid = xid;
    this.transaction.commitLsn = commitLsn;
    this.transaction.commitTimeMicros = commitTimeMicros;
    this.transaction.nextOrdinal = 0;
    this.lastRelationId = -1;
  }

  commit(endLsn: bigint): void {
    this.inTransaction = false;
    this.transactions++;
    this.boundaryLsn = maxLsn(this.boundaryLsn, endLsn as Lsn);
    this.runBoundaryActions();
    this.cutIfDue();
  }

  keepalive(lsn: Lsn): void {
    if (this.idle) this.boundaryLsn = maxLsn(this.boundaryLsn, lsn);
  }

  relation(relation: Relation): void {
    this.relations.set(relation.relationId, relation);
    this.lastRelationId = -1;
    const table = this.tables.get(relation.relationId);
    if (table === undefined) return;
    table.relations++;
    const commitLsn = this.transaction.commitLsn as Lsn;
    if (this.takes(table)) this.events.onRelation(table, relation, { xid: this.xid, commitLsn });
  }

  /** From here on rows of the table have this schema. */
  changeSchema(table: CapturedTable, schema: TableSchema, fill: StagedFile | undefined): void {
    if (table.capture.kind !== "capturing") return;
    this.sealTable(table);
    table.adopt(schema);
    const event: StagedEvent = { kind: "schema", tableId: table.tableId, schemaId: schema.schemaId };
    this.items.push({ kind: "event", event: fill === undefined ? event : { ...event, fill } });
    this.lastRelationId = -1;
    this.touch();
  }

  insert(relationId: number, buffer: Buffer, newTuple: number, end: number): void {
    const table = this.target(relationId);
    if (table?.capture.kind !== "capturing") return;
    let bytes: number;
    try {
      requireRowSize(table.capture.schema, end - newTuple, this.limits.rowBytesMax);
      bytes = table.capture.spool.appendInsert(buffer, newTuple, end, this.transaction);
    } catch (error) {
      this.stopped(table, error);
      return;
    }
    this.spooled(bytes);
  }

  update(
    relationId: number,
    buffer: Buffer,
    oldTuple: number,
    oldKind: "K" | "O" | null,
    newTuple: number,
    end: number,
  ): void {
    const table = this.target(relationId);
    if (table?.capture.kind !== "capturing") return;
    let bytes: number;
    try {
      requireRowSize(table.capture.schema, end - (oldTuple === -1 ? newTuple : oldTuple), this.limits.rowBytesMax);
      bytes = table.capture.spool.appendUpdate(buffer, oldTuple, oldKind, newTuple, end, this.transaction);
    } catch (error) {
      this.stopped(table, error);
      return;
    }
    this.spooled(bytes);
  }

  delete(relationId: number, buffer: Buffer, oldTuple: number, oldKind: "K" | "O", end: number): void {
    const table = this.target(relationId);
    if (table?.capture.kind !== "capturing") return;
    let bytes: number;
    try {
      requireRowSize(table.capture.schema, end - oldTuple, this.limits.rowBytesMax);
      bytes = table.capture.spool.appendDelete(buffer, oldTuple, oldKind, end, this.transaction);
    } catch (error) {
      this.stopped(table, error);
      return;
    }
    this.spooled(bytes);
  }

  message(prefix: string, content: Buffer, _lsn: bigint, transactional: boolean): void {
    if (transactional) this.events.onMessage(prefix, content, (table) => this.takes(table));
  }

  /** A RELATION message in a block of an open transaction that has no change of the table yet, or has some. */
  openRelation(xid: number, relation: Relation, hasChanges: boolean): void {
    const table = this.tables.get(relation.relationId);
    if (table === undefined) return;
    table.relations++;
    if (table.capture.kind !== "capturing" || hasChanges) return;
    const { visibility } = table.capture;
    if (visibility !== null && isVisible(visibility, xid)) return;
    this.events.onRelation(table, relation, { xid, commitLsn: null });
  }

  /** What a streamed transaction has, in order, at its commit: between `begin` and `commit`. */
  takeStreamed(items: BatchItem[], changes: number): void {
    this.changes += changes;
    if (items.length === 0) return;
    this.pendingRows += changes;
    this.items.push(...items);
    this.touch();
  }

  /** The relation as the stream has described it for all transactions. */
  relationOf(relationId: number): Relation | undefined {
    return this.relations.get(relationId);
  }

  /** The transaction has changes of a relation that isn't captured. */
  dropChange(relationId: number): void {
    this.decide(relationId);
  }

  /** From here on the table's changes are dropped until it has been copied again. */
  sendBack(table: CapturedTable, reason: string): void {
    this.sealTable(table);
    this.drop(table, () => table.await(reason));
    this.events.onPending(table);
  }

  /**
   * Why the pending table can't be captured by the snapshot: a transaction whose changes of it were dropped isn't seen.
   * Null when all are. Between transactions only.
   */
  unseen(table: CapturedTable, visibility: SnapshotVisibility): string | null {
    const open = this.streamed.unseenXid(Number(table.tableId), visibility);
    if (open !== null) return `transaction ${open}, which has written to it and is still open`;
    const { replay } = visibility;
    if (replay !== null) {
      if (replay.seenBelowLsn >= this.boundaryLsn) return null;
      return `the standby to replay up to ${formatLsn(this.boundaryLsn)}, which is streamed already; it is at ${formatLsn(replay.seenBelowLsn)}`;
    }
    if (table.capture.kind === "capturing") return null;
    for (const xid of table.capture.droppedXids) {
      if (!isVisible(visibility, xid)) return `transaction ${xid}, which has written to it and is still open`;
    }
    return null;
  }

  truncate(relationIds: number[]): void {
    const transaction = {
      commitLsn: String(this.transaction.commitLsn),
      commitTimeMicros: String(this.transaction.commitTimeMicros),
    };
    for (const relationId of relationIds) {
      const table = this.target(relationId);
      if (table?.capture.kind !== "capturing") continue;
      this.sealTable(table);
      this.items.push({
        kind: "event",
        event: { kind: "truncate", tableId: table.tableId, schemaId: table.capture.schema.schemaId, transaction },
      });
      this.touch();
    }
  }

  /** Cuts when the batch is full or old; only between transactions. */
  cutIfDue(): void {
    if (!this.betweenTransactions || this.oldestMs === null) return;
    const due =
      this.pendingRows >= this.limits.rowsMax ||
      this.pendingBytes >= this.limits.bytesMax ||
      this.now() - this.oldestMs >= this.limits.ageMsMax;
    if (due) this.cut();
  }

  /** Everything received so far becomes a staged commit; call it between transactions only. */
  cut(): void {
    this.sealAll();
    const events: BatchItem[] = this.control.map((event) => ({ kind: "event", event }));
    const items = [...events, ...this.items];
    this.control = [];
    this.takeBacks.clear();
    this.items = [];
    this.pendingRows = 0;
    this.pendingBytes = 0;
    this.oldestMs = null;
    if (items.length === 0 && !this.statesChanged) return;
    this.statesChanged = false;
    const tables = this.stagedTables();
    for (const table of this.tables.values()) table.markCut();
    this.stager.commit(items, this.boundaryLsn, tables).then(
      () => this.events.onStaged(),
      (error: unknown) => this.events.onFailed(error),
    );
  }

  get betweenTransactions(): boolean {
    return this.attached && !this.inTransaction;
  }

  /** `boundaryLsn` is true. */
  get streaming(): boolean {
    return this.attached;
  }

  private runBoundaryActions(): void {
    if (this.boundaryActions.length === 0) return;
    const actions = this.boundaryActions;
    this.boundaryActions = [];
    for (const action of actions) action();
  }

  /** The table whose spool takes the change, or null when it is dropped. */
  private target(relationId: number): CapturedTable | null {
    if (relationId === this.lastRelationId) return this.lastTarget;
    this.lastRelationId = relationId;
    this.lastTarget = this.decide(relationId);
    return this.lastTarget;
  }

  private decide(relationId: number): CapturedTable | null {
    const table = this.tables.get(relationId);
    if (table === undefined) {
      const xids = this.unknownXids.get(relationId) ?? new Set();
      this.unknownXids.set(relationId, xids.add(this.xid));
      return null;
    }
    const capture = table.capture;
    switch (capture.kind) {
      case "pending":
      case "failed":
        capture.droppedXids.add(this.xid);
        return null;
      case "capturing": {
        if (!this.takes(table)) return null;
        const relation = this.relations.get(relationId);
        if (relation !== undefined && !hasShape(capture.schema, relation)) {
          this.sendBack(table, "its columns are not those that were decided on");
          return null;
        }
        return table;
      }
    }
  }

  /** Whether changes of the table are captured in this transaction: those that its snapshot holds are not. */
  private takes(table: CapturedTable): boolean {
    return this.isTaken(table, this.xid, this.transaction.commitLsn as Lsn);
  }

  /**
   * Whether changes of the captured table in this transaction are to be taken: those that its snapshot holds are not. It
   * is copied again when nobody can tell.
   */
  isTaken(table: CapturedTable, xid: number, commitLsn: Lsn): boolean {
    if (table.capture.kind !== "capturing") return false;
    const { visibility } = table.capture;
    if (visibility === null) return true;
    switch (judge(visibility, xid, commitLsn)) {
      case "seen":
        return false;
      case "unseen":
        return true;
      case "unknown":
        // Its end is staged when the stream has passed all that it may hold.
        if (table.snapshotComplete) return true;
        this.sendBack(table, "a transaction was replayed by the standby in the moment of its snapshot");
        return false;
    }
  }

  /**
   * A value that must not be lost stops its table: nothing of it that isn't staged yet will be, so that the destination
   * keeps it as it was at the end of a transaction.
   */
  stopped(table: CapturedTable, error: unknown): void {
    if (!(error instanceof SluiceError) || error.kind !== "unrepresentable") throw error;
    const isOurs = (item: BatchItem) => tableOf(item) === table.tableId;
    this.stager.discard(this.items.filter(isOurs));
    this.items = this.items.filter((item) => !isOurs(item));
    this.drop(table, () => table.fail(error, this.now() + unrepresentableRetryMs));
    this.events.onStopped(table, error);
  }

  private spooled(bytes: number): void {
    this.changes++;
    this.pendingRows++;
    if (this.oldestMs === null) this.touch();
    this.pendingBytes += bytes;
    this.unsealedRows++;
    this.unsealedBytes += bytes;
    // A large transaction, or batch, overflows into files that the record at its end will name (invariant 7).
    if (this.unsealedBytes < this.limits.bytesMax && this.unsealedRows < this.overflowRows) return;
    failpoint("gateway.before-overflow");
    this.sealAll();
  }

  private touch(): void {
    this.oldestMs ??= this.now();
  }

  private sealAll(): void {
    this.unsealedRows = 0;
    this.unsealedBytes = 0;
    for (const table of this.tables.values()) this.sealTable(table);
  }

  /** What its spool holds joins the batch. */
  sealTable(table: CapturedTable): void {
    if (table.capture.kind !== "capturing") return;
    const { spool } = table.capture;
    if (spool.rows === 0) return;
    const sealed = spool.seal();
    if (sealed === null) return;
    table.count(sealed);
    const { tableId, schemaId } = sealed.schema;
    this.items.push({ kind: "rows", tableId, schemaId, written: this.stager.writeRows(sealed) });
  }

  /** What is pending of the table goes into a record before the next one. */
  private separate(table: CapturedTable): void {
    const touches =
      this.items.some((item) => tableOf(item) === table.tableId) ||
      this.control.some((event) => event.tableId === table.tableId) ||
      (table.capture.kind === "capturing" && table.capture.spool.rows > 0);
    if (touches) this.cut();
  }
}

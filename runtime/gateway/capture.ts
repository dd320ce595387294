import type { PublicationLook } from "../change/publication-membership";
import { hasShape } from "../change/schema-change";
import type { TransactionMeta } from "../change/spool";
import type { TableSchema } from "../change/table-schema";
import type { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { formatLsn, type Lsn, maxLsn } from "../postgres/lsn";
import type { PgoutputHandler, Relation } from "../postgres/pgoutput-handler";
import type { StagedCommit, StagedEvent, StagedFile } from "../staging/staged-commit";
import type { CaptureEvents } from "./capture-events";
import type { CapturedTable } from "./captured-table";
import { DroppedTransactions } from "./dropped-transactions";
import { PendingBatch } from "./pending-batch";
import { type CaptureLimits, RowCapture, type TruncateEvent } from "./row-capture";
import { unrepresentableRetryMs } from "./snapshot-scheduler";
import { isVisible, judge, type SnapshotVisibility } from "./snapshot-visibility";
import type { BatchItem, Stager } from "./stager";
import { StreamedCapture } from "./streamed-capture";

/**
 * Routes streamed changes into spools and cuts them into staged commits at commit boundaries. Everything is
 * synchronous but the writing, which `Stager` does behind it.
 */
export class Capture extends RowCapture<CapturedTable> implements PgoutputHandler {
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
  private inTransaction = false;
  /** whether `boundaryLsn` is true: not from the loss of a connection to the next start of the stream */
  private attached = true;
  private xid = 0;
  protected readonly meta: TransactionMeta = { commitLsn: 0n, commitTimeMicros: 0n, nextOrdinal: 0 };
  private readonly dropped = new DroppedTransactions(this.tables);
  private readonly batch: PendingBatch;
  private boundaryActions: (() => void)[] = [];
  private lastRelationId = -1;
  private lastTarget: CapturedTable | null = null;

  constructor(
    private readonly stager: Stager,
    limits: CaptureLimits,
    private readonly events: CaptureEvents,
    private readonly now: () => number = Date.now,
  ) {
    super(limits);
    this.boundaryLsn = stager.stagedLsn;
    this.batch = new PendingBatch(stager, limits, now);
    this.streamed = new StreamedCapture(this, stager, limits);
  }

  /** Nothing received is waiting for staging. */
  get idle(): boolean {
    return this.betweenTransactions && this.batch.isEmpty && this.stager.idle;
  }

  get bytesHeld(): number {
    return this.batch.bytes + this.stager.bytesInFlight;
  }

  add(table: CapturedTable): void {
    this.dropped.handOver(table);
    this.tables.set(Number(table.tableId), table);
    this.lastRelationId = -1;
  }

  remove(table: CapturedTable): void {
    this.atBoundary(() => {
      this.separate(table);
      this.tables.delete(Number(table.tableId));
      this.lastRelationId = -1;
      this.batch.addControl({ kind: "removed", tableId: table.tableId, schemaId: Math.max(table.schemaId, 1) });
    });
  }

  /**
   * The table's changes are dropped from here on: `change` makes it pending or failed. A record must say so before what
   * is dropped may be acknowledged (invariant 1), or a restart would go on behind it.
   */
  drop(table: CapturedTable, change: () => void): void {
    const isRecorded = table.snapshotComplete || table.snapshot !== null;
    change();
    if (this.inTransaction) this.dropped.addTo(table, this.xid);
    this.lastRelationId = -1;
    if (isRecorded) this.recordStates();
  }

  /** What the newest record says of a table isn't so any more: the next must come before anything is acknowledged. */
  recordStates(): void {
    this.batch.recordStates();
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
    this.batch.addControl(event, takeBack);
  }

  /** All transactions with an id below are seen by every snapshot to come; one already taken may not see them. */
  forgetDroppedBelow(isBelow: (xid: number) => boolean): void {
    this.dropped.forgetBelow(isBelow);
  }

  /** The connection is gone: what isn't cut yet will be sent again. Nothing is cut until `attach`. */
  detach(): void {
    this.inTransaction = false;
    this.attached = false;
    this.streamed.detach();
    for (const table of this.tables.values()) {
      table.spool?.seal();
      table.restoreCut();
    }
    this.batch.takeBack();
    this.relations.clear();
    this.lastRelationId = -1;
  }

  /**
   * The slot's past is lost, and with it what every table was to go on from: all wait for a snapshot that is taken from
   * now on. Only while detached.
   */
  restart(reason: string): void {
    this.dropped.clear();
    this.batch.dropSnapshotEvents();
    for (const table of this.tables.values()) table.await(reason);
  }

  /** Snapshots that aren't complete are void: each is taken again. Only while detached. */
  restartSnapshots(reason: string): void {
    for (const table of this.tables.values()) {
      if (table.capture.kind !== "capturing" || table.snapshotComplete) continue;
      this.batch.dropSnapshotEvents(table.tableId);
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
    this.meta.commitLsn = commitLsn;
    this.meta.commitTimeMicros = commitTimeMicros;
    this.meta.nextOrdinal = 0;
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
    const commitLsn = this.meta.commitLsn as Lsn;
    if (this.takes(table)) this.events.onRelation(table, relation, { xid: this.xid, commitLsn });
  }

  /** From here on rows of the table have this schema. */
  changeSchema(table: CapturedTable, schema: TableSchema, fill: StagedFile | undefined): void {
    if (table.capture.kind !== "capturing") return;
    this.sealTable(table);
    table.adopt(schema);
    const event: StagedEvent = { kind: "schema", tableId: table.tableId, schemaId: schema.schemaId };
    this.batch.add({ kind: "event", event: fill === undefined ? event : { ...event, fill } });
    this.lastRelationId = -1;
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
    if (items.length > 0) this.batch.addStreamed(items, changes);
  }

  /** The relation as the stream has described it for all transactions. */
  relationOf(relationId: number): Relation | undefined {
    return this.relations.get(relationId);
  }

  /** The transaction has changes of a relation that isn't captured. */
  dropChange(relationId: number): void {
    this.dropped.add(relationId, this.xid);
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
    const dropped = this.dropped.unseenXid(table, visibility);
    return dropped === null ? null : `transaction ${dropped}, which has written to it and is still open`;
  }

  protected truncated(table: CapturedTable, event: TruncateEvent): void {
    this.sealTable(table);
    const transaction = {
      commitLsn: String(this.meta.commitLsn),
      commitTimeMicros: String(this.meta.commitTimeMicros),
    };
    this.batch.add({ kind: "event", event: { ...event, transaction } });
  }

  /** Cuts when the batch is full or old; only between transactions. */
  cutIfDue(): void {
    if (this.betweenTransactions && this.batch.isDue) this.cut();
  }

  /** Everything received so far becomes a staged commit; call it between transactions only. */
  cut(): void {
    this.sealAll();
    const items = this.batch.take();
    if (items === null) return;
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
  protected target(relationId: number): CapturedTable | null {
    if (relationId === this.lastRelationId) return this.lastTarget;
    this.lastRelationId = relationId;
    this.lastTarget = this.decide(relationId);
    return this.lastTarget;
  }

  private decide(relationId: number): CapturedTable | null {
    const table = this.tables.get(relationId);
    if (table?.capture.kind !== "capturing") {
      this.dropped.add(relationId, this.xid);
      return null;
    }
    if (!this.takes(table)) return null;
    const relation = this.relations.get(relationId);
    if (relation !== undefined && !hasShape(table.capture.schema, relation)) {
      this.sendBack(table, "its columns are not those that were decided on");
      return null;
    }
    return table;
  }

  /** Whether changes of the table are captured in this transaction: those that its snapshot holds are not. */
  private takes(table: CapturedTable): boolean {
    return this.isTaken(table, this.xid, this.meta.commitLsn as Lsn);
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
  refused(table: CapturedTable, error: SluiceError): void {
    this.batch.dropTable(table.tableId);
    this.drop(table, () => table.fail(error, this.now() + unrepresentableRetryMs));
    this.events.onStopped(table, error);
  }

  protected spooled(bytes: number): void {
    this.changes++;
    if (!this.batch.countRow(bytes)) return;
    failpoint("gateway.before-overflow");
    this.sealAll();
  }

  private sealAll(): void {
    this.batch.markSealed();
    for (const table of this.tables.values()) this.sealTable(table);
  }

  /** What its spool holds joins the batch. */
  sealTable(table: CapturedTable): void {
    if (table.spool === null || table.spool.rows === 0) return;
    const sealed = table.spool.seal();
    if (sealed === null) return;
    table.count(sealed);
    const { tableId, schemaId } = sealed.schema;
    this.batch.add({ kind: "rows", tableId, schemaId, written: this.stager.writeRows(sealed) });
  }

  /** What is pending of the table goes into a record before the next one. */
  private separate(table: CapturedTable): void {
    if (this.batch.touches(table.tableId) || (table.spool !== null && table.spool.rows > 0)) this.cut();
  }
}

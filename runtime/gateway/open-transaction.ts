import type { TableSpool, TransactionMeta } from "../change/spool";
import type { SluiceError } from "../errors";
import type { Relation } from "../postgres/pgoutput-handler";
import type { StagedEvent } from "../staging/staged-commit";
import type { CapturedTable, CaptureState } from "./captured-table";
import type { BatchRows, Stager } from "./stager";

type Capturing = Extract<CaptureState, { kind: "capturing" }>;

/** What an open transaction has of one table. */
export interface OpenTable {
  readonly relationId: number;
  readonly table: CapturedTable | null;
  /** what captured the table when its first change came; null when nothing did or does: all its changes are dropped */
  capture: Capturing | null;
  spool: TableSpool | null;
  /** from this ordinal on its changes are dropped: a value is refused, or (null) its columns aren't those of its schema */
  broken: { ordinal: number; error: SluiceError | null } | null;
}

type OpenItem =
  | {
      kind: "rows";
      relationId: number;
      rows: BatchRows;
      unrepresentable: Record<string, number>;
      firstOrdinal: number;
      lastOrdinal: number;
      ordinalEnd: number | null;
    }
  | { kind: "event"; relationId: number; ordinal: number; event: StagedEvent };

/** A logical message, kept until the commit. */
export interface OpenMessage {
  ordinal: number;
  prefix: string;
  content: Buffer;
  lsn: bigint;
}

/**
 * A large transaction that is streamed before its end: its rows lie apart, in buffers and files of their own, until it
 * commits. Ordinals are never used twice: what a rolled back subtransaction had is cut off by them.
 */
export class OpenTransaction {
  readonly meta: TransactionMeta = { commitLsn: 0n, commitTimeMicros: 0n, nextOrdinal: 0, isOpen: true };
  readonly tables = new Map<number, OpenTable>();
  /** valid in this transaction only, until it commits */
  readonly relations = new Map<number, Relation>();
  messages: OpenMessage[] = [];
  items: OpenItem[] = [];
  /** in buffers, not yet handed to the writer */
  bytes = 0;
  rows = 0;
  changes = 0;
  /** subtransactions in the order of their first change, and the ordinal of it */
  private subxids: number[] = [];
  private readonly firstOrdinals = new Map<number, number>();

  constructor(
    readonly xid: number,
    private readonly stager: Stager,
  ) {}

  /** What follows is of this subtransaction. */
  enter(subxid: number): void {
    if (subxid === this.xid || this.firstOrdinals.has(subxid)) return;
    this.subxids.push(subxid);
    this.firstOrdinals.set(subxid, this.meta.nextOrdinal);
  }

  spooled(bytes: number): void {
    this.bytes += bytes;
    this.rows++;
    this.changes++;
  }

  /** The event stands behind all that the table has so far. */
  push(entry: OpenTable, event: StagedEvent): void {
    this.sealTable(entry);
    this.items.push({ kind: "event", relationId: entry.relationId, ordinal: this.meta.nextOrdinal++, event });
  }

  /** Buffers become files. */
  seal(): void {
    for (const entry of this.tables.values()) this.sealTable(entry);
    this.bytes = 0;
    this.rows = 0;
  }

  private sealTable(entry: OpenTable): void {
    const sealed = entry.spool?.seal() ?? null;
    if (sealed === null) return;
    const { tableId, schemaId } = sealed.schema;
    const ordinals = sealed.columns[2].buffer.i64;
    const firstOrdinal = Number(ordinals[0]);
    const lastOrdinal = Number(ordinals[sealed.rows - 1]);
    const rows: BatchRows = { kind: "rows", tableId, schemaId, written: this.stager.writeRows(sealed) };
    const { relationId } = entry;
    this.items.push({
      kind: "rows",
      relationId,
      rows,
      unrepresentable: sealed.unrepresentable,
      firstOrdinal,
      lastOrdinal,
      ordinalEnd: null,
    });
  }

  /**
   * A subtransaction was rolled back: with it goes all that came since its first change, which is its own and that of
   * subtransactions in it.
   */
  abortSubtransaction(subxid: number): void {
    const ordinalEnd = this.firstOrdinals.get(subxid);
    if (ordinalEnd === undefined) return;
    while (this.subxids.length > 0) {
      const last = this.subxids[this.subxids.length - 1];
      if ((this.firstOrdinals.get(last) as number) < ordinalEnd) break;
      this.subxids.pop();
      this.firstOrdinals.delete(last);
      if (last === subxid) break;
    }
    for (const entry of this.tables.values()) {
      entry.spool?.truncate(ordinalEnd);
      if (entry.broken !== null && entry.broken.ordinal >= ordinalEnd) entry.broken = null;
    }
    this.messages = this.messages.filter((message) => message.ordinal < ordinalEnd);
    const kept: OpenItem[] = [];
    for (const item of this.items) {
      const first = item.kind === "rows" ? item.firstOrdinal : item.ordinal;
      if (first >= ordinalEnd) {
        if (item.kind === "rows") this.stager.discard([item.rows]);
        continue;
      }
      if (item.kind === "rows" && item.lastOrdinal >= ordinalEnd) item.ordinalEnd = ordinalEnd;
      kept.push(item);
    }
    this.items = kept;
  }

  /** All that it has of a table goes, and what still comes of it is dropped. */
  dropTable(entry: OpenTable): void {
    entry.capture = null;
    entry.spool = null;
    entry.broken = null;
    this.discard(this.items.filter((item) => item.relationId === entry.relationId));
    this.items = this.items.filter((item) => item.relationId !== entry.relationId);
  }

  /** It was rolled back, or comes again on the next connection. */
  dropAll(): void {
    this.discard(this.items);
    this.items = [];
    this.tables.clear();
  }

  private discard(items: OpenItem[]): void {
    this.stager.discard(items.flatMap((item) => (item.kind === "rows" ? [item.rows] : [])));
  }
}

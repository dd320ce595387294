/**
 * Messages of pgoutput (PostgreSQL documentation, section 55.9 "Logical Replication Message Formats"). Row messages are
 * given by their offsets, not decoded: the spool reads their bytes.
 */
export interface Relation {
  relationId: number;
  schema: string;
  name: string;
  replicaIdentity: string;
  columns: { name: string; typeOid: number; typeModifier: number; isKey: boolean }[];
}

/**
 * Calls are synchronous; `buffer` may be reused by the caller after they return. Of a row message the offsets of its
 * tuples are given, and `end`, where the message ends; what reads a tuple checks it against these bounds and throws
 * `MalformedBytes`.
 */
export interface PgoutputHandler {
  begin(commitLsn: bigint, commitTimeMicros: bigint, xid: number): void;
  /** @param endLsn position after the commit record */
  commit(endLsn: bigint): void;
  relation(relation: Relation): void;
  insert(relationId: number, buffer: Buffer, newTuple: number, end: number): void;
  /** @param oldTuple -1 when there is none; it ends one byte before `newTuple` */
  update(
    relationId: number,
    buffer: Buffer,
    oldTuple: number,
    oldKind: "K" | "O" | null,
    newTuple: number,
    end: number,
  ): void;
  delete(relationId: number, buffer: Buffer, oldTuple: number, oldKind: "K" | "O", end: number): void;
  truncate(relationIds: number[]): void;
  /**
   * What pg_logical_emit_message wrote. A transactional one comes in its transaction, at its place; another comes at
   * once, between transactions, even when its transaction is rolled back.
   * @param content a copy
   */
  message(prefix: string, content: Buffer, lsn: bigint, transactional: boolean): void;
}

/**
 * Takes blocks of transactions that are still open, from protocol 2 on: what comes between `streamStart` and
 * `streamStop` is of that transaction. A relation is valid for it alone, and for all once it has committed.
 */
export interface StreamedTransactionHandler extends Omit<PgoutputHandler, "begin" | "commit"> {
  /** @param isFirst first block of the transaction */
  streamStart(xid: number, isFirst: boolean): void;
  /** What follows in the block is of this subtransaction (or of the transaction itself), until the next call. */
  subtransaction(xid: number): void;
  streamStop(): void;
  streamCommit(xid: number, commitLsn: bigint, endLsn: bigint, commitTimeMicros: bigint): void;
  /** @param subxid equal to `xid` when the whole transaction is rolled back */
  streamAbort(xid: number, subxid: number): void;
}

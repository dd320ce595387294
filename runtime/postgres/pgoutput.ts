import { SluiceError } from "../errors";

/**
 * Messages of pgoutput, protocol version 1 (PostgreSQL documentation, section 55.9 "Logical Replication Message
 * Formats"). Row messages are given by their offsets, not decoded: the spool reads their bytes.
 */
export interface Relation {
  relationId: number;
  schema: string;
  name: string;
  replicaIdentity: string;
  columns: { name: string; typeOid: number; typeModifier: number; isKey: boolean }[];
}

/** Calls are synchronous; `message` may be reused by the caller after they return. */
export interface PgoutputHandler {
  begin(commitLsn: bigint, commitTimeMicros: bigint, xid: number): void;
  /** @param endLsn position after the commit record */
  commit(endLsn: bigint): void;
  relation(relation: Relation): void;
  insert(relationId: number, message: Buffer, newTuple: number): void;
  /** @param oldTuple -1 when there is none */
  update(relationId: number, message: Buffer, oldTuple: number, oldKind: "K" | "O" | null, newTuple: number): void;
  delete(relationId: number, message: Buffer, oldTuple: number, oldKind: "K" | "O"): void;
  truncate(relationIds: number[]): void;
}

/** PostgreSQL counts microseconds from 2000-01-01, everything else from 1970-01-01. */
const epochOffsetMicros = 946_684_800_000_000n;

const tag = { B: 66, C: 67, D: 68, I: 73, K: 75, M: 77, N: 78, O: 79, R: 82, T: 84, U: 85, Y: 89 } as const;

/** @throws SluiceError `unsupported` on a message that protocol 1 doesn't have */
export function readMessage(message: Buffer, handler: PgoutputHandler): void {
  switch (message[0]) {
    case tag.I:
      handler.insert(message.readUInt32BE(1), message, 6);
      return;
    case tag.U:
      readUpdate(message, handler);
      return;
    case tag.D:
      handler.delete(message.readUInt32BE(1), message, 6, message[5] === tag.K ? "K" : "O");
      return;
    case tag.B:
      handler.begin(
        message.readBigUInt64BE(1),
        message.readBigInt64BE(9) + epochOffsetMicros,
        message.readUInt32BE(17),
      );
      return;
    case tag.C:
      handler.commit(message.readBigUInt64BE(10));
      return;
    case tag.R:
      handler.relation(readRelation(message));
      return;
    case tag.T:
      handler.truncate(readTruncate(message));
      return;
    case tag.O: // origin: changes are taken wherever they came from
    case tag.Y: // type: names only, the catalog is asked where they matter
    case tag.M: // logical message: not asked for
      return;
    default:
      throw new SluiceError(
        "unsupported",
        `pgoutput sent an unknown message ${JSON.stringify(String.fromCharCode(message[0]))}`,
      );
  }
}

function readUpdate(message: Buffer, handler: PgoutputHandler): void {
  const relationId = message.readUInt32BE(1);
  if (message[5] === tag.N) {
    handler.update(relationId, message, -1, null, 6);
    return;
  }
  const oldKind = message[5] === tag.K ? "K" : "O";
  handler.update(relationId, message, 6, oldKind, endOfTuple(message, 6) + 1);
}

/** Offset after the TupleData that starts at `offset`. */
function endOfTuple(message: Buffer, offset: number): number {
  const columns = message.readInt16BE(offset);
  let at = offset + 2;
  for (let column = 0; column < columns; column++) {
    const kind = message[at++];
    if (kind === 116 /* t */ || kind === 98 /* b */) at += 4 + message.readInt32BE(at);
  }
  return at;
}

function readRelation(message: Buffer): Relation {
  let at = 5;
  const text = () => {
    const end = message.indexOf(0, at);
    const value = message.toString("utf8", at, end);
    at = end + 1;
    return value;
  };
  const schema = text();
  const name = text();
  const replicaIdentity = String.fromCharCode(message[at++]);
  const count = message.readInt16BE(at);
  at += 2;
  const columns: Relation["columns"] = [];
  for (let index = 0; index < count; index++) {
    const isKey = (message[at++] & 1) === 1;
    const columnName = text();
    columns.push({
      name: columnName,
      typeOid: message.readUInt32BE(at),
      typeModifier: message.readInt32BE(at + 4),
      isKey,
    });
    at += 8;
  }
  // An empty namespace means pg_catalog.
  return {
    relationId: message.readUInt32BE(1),
    schema: schema === "" ? "pg_catalog" : schema,
    name,
    replicaIdentity,
    columns,
  };
}

function readTruncate(message: Buffer): number[] {
  const count = message.readInt32BE(1);
  return Array.from({ length: count }, (_, index) => message.readUInt32BE(6 + index * 4));
}

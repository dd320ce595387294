import { MalformedBytes, MessageBytes } from "./message-bytes";
import { malformedMessage, unaskedStream, unreadMessage } from "./pgoutput-error";
import type { PgoutputHandler, Relation, StreamedTransactionHandler } from "./pgoutput-handler";
import { skipTuple } from "./tuple-data";

/** PostgreSQL counts microseconds from 2000-01-01, everything else from 1970-01-01. */
const epochOffsetMicros = 946_684_800_000_000n;

const tag = {
  begin: 66, // B
  commit: 67, // C
  origin: 79, // O
  relation: 82, // R
  type: 89, // Y
  insert: 73, // I
  update: 85, // U
  delete: 68, // D
  truncate: 84, // T
  message: 77, // M
  streamStart: 83, // S
  streamStop: 69, // E
  streamCommit: 99, // c
  streamAbort: 65, // A
} as const;

const tupleNew = 78; // N
const tupleKey = 75; // K
const tupleOld = 79; // O

type Place = "outside" | "transaction" | "block";

/**
 * Reads one connection's messages, in order. `streamed` null: protocol 1, which has no open transactions.
 * @throws SluiceError `protocol` on a message that isn't well-formed or out of place, with its kind and the offset in
 *   it; `unsupported` on a message that wasn't asked for
 */
export class PgoutputReader {
  private readonly fields = new MessageBytes();
  private place: Place = "outside";
  private blockXid = 0;
  private subxid = 0;
  /** what takes rows now */
  private target: Omit<PgoutputHandler, "begin" | "commit">;

  constructor(
    private readonly handler: PgoutputHandler,
    private readonly streamed: StreamedTransactionHandler | null = null,
  ) {
    this.target = handler;
  }

  /** Reads the message `buffer[start, end)`. */
  read(buffer: Buffer, start: number, end: number): void {
    try {
      this.dispatch(buffer, start, end);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      throw malformedMessage(buffer, start, end, error);
    }
  }

  private dispatch(buffer: Buffer, start: number, end: number): void {
    if (start >= end) throw new MalformedBytes(start, "no bytes");
    const kind = buffer[start];
    switch (kind) {
      case tag.insert:
      case tag.update:
      case tag.delete:
        this.readRow(kind, buffer, start, end);
        return;
      case tag.begin:
      case tag.commit:
      case tag.origin:
      case tag.relation:
      case tag.type:
      case tag.truncate:
      case tag.message:
        this.fields.open(buffer, start + 1, end);
        this.readControl(kind, start);
        return;
      case tag.streamStart:
      case tag.streamStop:
      case tag.streamCommit:
      case tag.streamAbort:
        if (this.streamed === null) throw unaskedStream(kind);
        this.fields.open(buffer, start + 1, end);
        this.readStream(kind, this.streamed, start);
        return;
      default:
        throw unreadMessage(kind);
    }
  }

  private readRow(kind: 73 | 85 | 68, buffer: Buffer, start: number, end: number): void {
    let at = start + 1;
    if (this.place === "block") at = this.readBlockXid(buffer, at, end);
    else if (this.place === "outside") throw new MalformedBytes(start, "a row outside of a transaction");
    if (end - at < 7) throw new MalformedBytes(at, "cut off before its tuple");
    const relationId = buffer.readUInt32BE(at);
    const tuple = buffer[at + 4];
    at += 5;
    const handler = this.target;
    if (kind === tag.insert) {
      if (tuple !== tupleNew) throw badTuple(tuple, at - 1);
      handler.insert(relationId, buffer, at, end);
      return;
    }
    if (kind === tag.update && tuple === tupleNew) {
      handler.update(relationId, buffer, -1, null, at, end);
      return;
    }
    if (tuple !== tupleKey && tuple !== tupleOld) throw badTuple(tuple, at - 1);
    const oldKind = tuple === tupleKey ? "K" : "O";
    if (kind === tag.delete) {
      handler.delete(relationId, buffer, at, oldKind, end);
      return;
    }
    const newTag = skipTuple(buffer, at, end);
    if (newTag >= end) throw new MalformedBytes(newTag, "cut off before its new tuple");
    if (buffer[newTag] !== tupleNew) throw badTuple(buffer[newTag], newTag);
    handler.update(relationId, buffer, at, oldKind, newTag + 1, end);
  }

  /** The id that stands in front of a message in a block. @returns the offset after it */
  private readBlockXid(buffer: Buffer, at: number, end: number): number {
    if (end - at < 4) throw new MalformedBytes(at, "cut off in its transaction id");
    this.setSubtransaction(buffer.readUInt32BE(at), at);
    return at + 4;
  }

  private setSubtransaction(xid: number, at: number): void {
    if (xid === this.subxid) return;
    if (xid === 0) throw new MalformedBytes(at, "transaction id 0");
    this.subxid = xid;
    this.streamed?.subtransaction(xid);
  }

  private readControl(kind: 66 | 67 | 79 | 82 | 89 | 84 | 77, start: number): void {
    const { fields, handler, target } = this;
    switch (kind) {
      case tag.begin: {
        this.expect("outside", start);
        const commitLsn = fields.uint64();
        const commitTime = fields.int64();
        const xid = fields.uint32();
        fields.close();
        this.place = "transaction";
        handler.begin(commitLsn, commitTime + epochOffsetMicros, xid);
        return;
      }
      case tag.commit: {
        this.expect("transaction", start);
        fields.uint8();
        fields.uint64();
        const endLsn = fields.uint64();
        fields.int64();
        fields.close();
        this.place = "outside";
        handler.commit(endLsn);
        return;
      }
      case tag.origin:
        // Changes are taken wherever they came from.
        fields.uint64();
        fields.text();
        fields.close();
        return;
      case tag.type:
        // Names only: the catalog is asked where they matter.
        this.readXid();
        fields.uint32();
        fields.text();
        fields.text();
        fields.close();
        return;
      case tag.relation: {
        if (this.place === "outside") throw new MalformedBytes(start, "a relation outside of a transaction");
        this.readXid();
        const relation = readRelation(fields);
        fields.close();
        target.relation(relation);
        return;
      }
      case tag.truncate: {
        if (this.place === "outside") throw new MalformedBytes(start, "a truncate outside of a transaction");
        this.readXid();
        const at = fields.at;
        const count = fields.int32();
        fields.uint8();
        const ids = new Array<number>(fields.count(count, 4, at));
        for (let index = 0; index < ids.length; index++) ids[index] = fields.uint32();
        fields.close();
        target.truncate(ids);
        return;
      }
      case tag.message: {
        this.readXid();
        const flags = fields.uint8();
        const lsn = fields.uint64();
        const prefix = fields.text();
        const at = fields.at;
        const content = fields.bytes(fields.int32(), at);
        fields.close();
        target.message(prefix, content, lsn, (flags & 1) === 1);
        return;
      }
    }
  }

  private readStream(kind: 83 | 69 | 99 | 65, streamed: StreamedTransactionHandler, start: number): void {
    const { fields } = this;
    switch (kind) {
      case tag.streamStart: {
        this.expect("outside", start);
        const xid = fields.uint32();
        const isFirst = fields.uint8() === 1;
        fields.close();
        if (xid === 0) throw new MalformedBytes(start + 1, "transaction id 0");
        this.place = "block";
        this.target = streamed;
        this.blockXid = xid;
        this.subxid = xid;
        streamed.streamStart(xid, isFirst);
        return;
      }
      case tag.streamStop:
        this.expect("block", start);
        fields.close();
        this.place = "outside";
        this.target = this.handler;
        this.blockXid = 0;
        streamed.streamStop();
        return;
      case tag.streamCommit: {
        this.expect("outside", start);
        const xid = fields.uint32();
        fields.uint8();
        const commitLsn = fields.uint64();
        const endLsn = fields.uint64();
        const commitTime = fields.int64();
        fields.close();
        streamed.streamCommit(xid, commitLsn, endLsn, commitTime + epochOffsetMicros);
        return;
      }
      case tag.streamAbort: {
        this.expect("outside", start);
        const xid = fields.uint32();
        const subxid = fields.uint32();
        fields.close();
        streamed.streamAbort(xid, subxid);
        return;
      }
    }
  }

  private readXid(): void {
    if (this.place !== "block") return;
    const { at } = this.fields;
    this.setSubtransaction(this.fields.uint32(), at);
  }

  private expect(place: Place, start: number): void {
    if (this.place === place) return;
    const where =
      this.place === "block"
        ? `a block of transaction ${this.blockXid}`
        : this.place === "transaction"
          ? "a transaction"
          : "no transaction";
    throw new MalformedBytes(start, `out of place: ${where} is open`);
  }
}

function badTuple(kind: number, at: number): MalformedBytes {
  return new MalformedBytes(at, `a tuple of unknown kind ${JSON.stringify(String.fromCharCode(kind))}`);
}

function readRelation(fields: MessageBytes): Relation {
  const relationId = fields.uint32();
  const schema = fields.text();
  const name = fields.text();
  const replicaIdentity = String.fromCharCode(fields.uint8());
  const at = fields.at;
  const count = fields.count(fields.int16(), 10, at);
  const columns: Relation["columns"] = [];
  for (let index = 0; index < count; index++) {
    const isKey = (fields.uint8() & 1) === 1;
    columns.push({ isKey, name: fields.text(), typeOid: fields.uint32(), typeModifier: fields.int32() });
  }
  // An empty namespace means pg_catalog.
  return { relationId, schema: schema === "" ? "pg_catalog" : schema, name, replicaIdentity, columns };
}

/** Messages of pgoutput, made by hand (PostgreSQL documentation, section 55.9). */
export const int8 = (value: number) => Buffer.from([value & 0xff]);
export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}
export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value | 0);
  return bytes;
}
export function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
}
export const text = (value: string) => Buffer.from(`${value}\0`);
export const letter = (value: string) => Buffer.from(value, "latin1");

/** NULL, `undefined` for a TOAST value that was not sent, or text. */
export type TupleValue = string | null | undefined;

export function tuple(values: TupleValue[]): Buffer {
  const parts = values.map((value) => {
    if (value === null) return letter("n");
    if (value === undefined) return letter("u");
    const bytes = Buffer.from(value);
    return Buffer.concat([letter("t"), int32(bytes.length), bytes]);
  });
  return Buffer.concat([int16(values.length), ...parts]);
}

/** In a block of an open transaction each message has its (sub)transaction's id in front. */
const prefix = (xid: number | undefined) => (xid === undefined ? Buffer.alloc(0) : int32(xid));

export const message = {
  begin: (commitLsn: bigint, xid: number) => Buffer.concat([letter("B"), int64(commitLsn), int64(0n), int32(xid)]),
  commit: (commitLsn: bigint, endLsn: bigint) =>
    Buffer.concat([letter("C"), int8(0), int64(commitLsn), int64(endLsn), int64(0n)]),
  relation: (
    relationId: number,
    name: string,
    columns: { name: string; typeOid: number; typeModifier?: number; isKey?: boolean }[],
    xid?: number,
  ) =>
    Buffer.concat([
      letter("R"),
      prefix(xid),
      int32(relationId),
      text("public"),
      text(name),
      letter("d"),
      int16(columns.length),
      ...columns.map((column) =>
        Buffer.concat([
          int8(column.isKey ? 1 : 0),
          text(column.name),
          int32(column.typeOid),
          int32(column.typeModifier ?? -1),
        ]),
      ),
    ]),
  insert: (relationId: number, values: TupleValue[], xid?: number) =>
    Buffer.concat([letter("I"), prefix(xid), int32(relationId), letter("N"), tuple(values)]),
  update: (relationId: number, values: TupleValue[], old?: { kind: "K" | "O"; values: TupleValue[] }, xid?: number) =>
    Buffer.concat([
      letter("U"),
      prefix(xid),
      int32(relationId),
      ...(old === undefined ? [] : [letter(old.kind), tuple(old.values)]),
      letter("N"),
      tuple(values),
    ]),
  delete: (relationId: number, kind: "K" | "O", values: TupleValue[], xid?: number) =>
    Buffer.concat([letter("D"), prefix(xid), int32(relationId), letter(kind), tuple(values)]),
  truncate: (relationIds: number[], xid?: number) =>
    Buffer.concat([letter("T"), prefix(xid), int32(relationIds.length), int8(0), ...relationIds.map(int32)]),
  logical: (name: string, content: string, lsn: bigint, transactional: boolean, xid?: number) =>
    Buffer.concat([
      letter("M"),
      prefix(xid),
      int8(transactional ? 1 : 0),
      int64(lsn),
      text(name),
      int32(Buffer.byteLength(content)),
      Buffer.from(content),
    ]),
  origin: (lsn: bigint, name: string) => Buffer.concat([letter("O"), int64(lsn), text(name)]),
  type: (typeOid: number, name: string, xid?: number) =>
    Buffer.concat([letter("Y"), prefix(xid), int32(typeOid), text("public"), text(name)]),
  streamStart: (xid: number, isFirst: boolean) => Buffer.concat([letter("S"), int32(xid), int8(isFirst ? 1 : 0)]),
  streamStop: () => letter("E"),
  streamCommit: (xid: number, commitLsn: bigint, endLsn: bigint) =>
    Buffer.concat([letter("c"), int32(xid), int8(0), int64(commitLsn), int64(endLsn), int64(0n)]),
  streamAbort: (xid: number, subxid: number) => Buffer.concat([letter("A"), int32(xid), int32(subxid)]),
};

// Contract: every message of pgoutput is read within its own bytes, in its place. What isn't well-formed is refused with
// the message's kind and the offset in it, and what wasn't asked for with the reason: never a guess, never another
// exception (invariants 3 and 4).
import { describe, expect, it } from "vitest";
import { TableSpool, type TransactionMeta } from "../../../runtime/change/spool";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { SluiceError } from "../../../runtime/errors";
import { PgoutputReader } from "../../../runtime/postgres/pgoutput";
import type { PgoutputHandler, StreamedTransactionHandler } from "../../../runtime/postgres/pgoutput-handler";
import { int16, int32, letter, message, text } from "../../support/pgoutput-messages";

const schema: TableSchema = {
  version: 1,
  tableId: "7",
  schemaId: 1,
  schema: "public",
  name: "item",
  replicaIdentity: "d",
  columns: [
    {
      attributeNumber: 1,
      name: "id",
      physicalName: "c1",
      typeOid: 23,
      typeModifier: -1,
      typeName: "integer",
      deltaType: "integer",
      keyOrdinal: 1,
    },
    {
      attributeNumber: 2,
      name: "body",
      physicalName: "c2",
      typeOid: 25,
      typeModifier: -1,
      typeName: "text",
      deltaType: "string",
      keyOrdinal: null,
    },
  ],
};

/** What the reader calls, as text; rows go into a spool. */
function recorder(): { calls: string[]; handler: PgoutputHandler & StreamedTransactionHandler; spool: TableSpool } {
  const calls: string[] = [];
  const spool = new TableSpool(schema, "changes");
  const transaction: TransactionMeta = { commitLsn: 0n, commitTimeMicros: 0n, nextOrdinal: 0 };
  return {
    calls,
    spool,
    handler: {
      begin: (lsn, _time, xid) => calls.push(`begin ${lsn} ${xid}`),
      commit: (endLsn) => calls.push(`commit ${endLsn}`),
      relation: ({ relationId, name, columns }) =>
        calls.push(
          `relation ${relationId} ${name} ${columns.map((column) => `${column.name}${column.isKey ? "*" : ""}`)}`,
        ),
      insert: (id, buffer, tuple, end) => {
        spool.appendInsert(buffer, tuple, end, transaction);
        calls.push(`insert ${id}`);
      },
      update: (id, buffer, oldTuple, oldKind, tuple, end) => {
        spool.appendUpdate(buffer, oldTuple, oldKind, tuple, end, transaction);
        calls.push(`update ${id} ${oldKind}`);
      },
      delete: (id, buffer, tuple, kind, end) => {
        spool.appendDelete(buffer, tuple, kind, end, transaction);
        calls.push(`delete ${id} ${kind}`);
      },
      truncate: (ids) => calls.push(`truncate ${ids}`),
      message: (name, content, lsn, transactional) => calls.push(`message ${name} ${content} ${lsn} ${transactional}`),
      streamStart: (xid, isFirst) => calls.push(`start ${xid} ${isFirst}`),
      subtransaction: (xid) => calls.push(`subtransaction ${xid}`),
      streamStop: () => calls.push("stop"),
      streamCommit: (xid, lsn, endLsn) => calls.push(`stream commit ${xid} ${lsn} ${endLsn}`),
      streamAbort: (xid, subxid) => calls.push(`abort ${xid} ${subxid}`),
    },
  };
}

/** Each message stands between other bytes, as in a socket's buffer: a read beyond its end would not fail by itself. */
function read(messages: Buffer[], isStreamed = true): { calls: string[]; spool: TableSpool } {
  const { calls, handler, spool } = recorder();
  const reader = new PgoutputReader(handler, isStreamed ? handler : null);
  for (const bytes of messages) {
    reader.read(Buffer.concat([Buffer.alloc(5, 0xee), bytes, Buffer.alloc(50)]), 5, 5 + bytes.length);
  }
  return { calls, spool };
}

function refusal(messages: Buffer[], isStreamed = true): { kind: string; message: string } {
  try {
    read(messages, isStreamed);
  } catch (error) {
    if (error instanceof SluiceError) return { kind: error.kind, message: error.message };
    throw error;
  }
  throw new Error("it was not refused");
}

const begin = message.begin(100n, 5);
const columns = [
  { name: "id", typeOid: 23, isKey: true },
  { name: "body", typeOid: 25 },
];

describe("pgoutput", () => {
  it("reads a transaction's messages, and what stands beside its rows", () => {
    const { calls, spool } = read([
      message.logical("beat", "x", 90n, false),
      begin,
      message.origin(3n, "elsewhere"),
      message.type(999, "mood"),
      message.relation(7, "item", columns),
      message.insert(7, ["1", null]),
      message.update(7, ["1", undefined]),
      message.update(7, ["2", "b"], { kind: "K", values: ["1", null] }),
      message.delete(7, "K", ["2", null]),
      message.truncate([7, 8]),
      message.logical("ddl", "{}", 95n, true),
      message.commit(100n, 108n),
    ]);
    expect(calls).toEqual([
      "message beat x 90 false",
      "begin 100 5",
      "relation 7 item id*,body",
      "insert 7",
      "update 7 null",
      "update 7 K",
      "delete 7 K",
      "truncate 7,8",
      "message ddl {} 95 true",
      "commit 108",
    ]);
    expect(spool.rows).toBe(5);
  });

  it("reads blocks of open transactions, with the subtransaction of what stands in them", () => {
    const { calls } = read([
      message.streamStart(50, true),
      message.relation(7, "item", columns, 50),
      message.insert(7, ["1", "a"], 50),
      message.insert(7, ["2", "a"], 51),
      message.insert(7, ["3", "a"], 51),
      message.truncate([7], 50),
      message.logical("ddl", "{}", 95n, true, 52),
      message.streamStop(),
      message.streamAbort(50, 51),
      message.streamStart(50, false),
      message.streamStop(),
      begin,
      message.commit(100n, 108n),
      message.streamCommit(50, 200n, 208n),
    ]);
    expect(calls).toEqual([
      "start 50 true",
      "relation 7 item id*,body",
      "insert 7",
      "subtransaction 51",
      "insert 7",
      "insert 7",
      "subtransaction 50",
      "truncate 7",
      "subtransaction 52",
      "message ddl {} 95 true",
      "stop",
      "abort 50 51",
      "start 50 false",
      "stop",
      "begin 100 5",
      "commit 108",
      "stream commit 50 200 208",
    ]);
  });

  it.each<[string, Buffer[], string]>([
    ["nothing", [Buffer.alloc(0)], "empty message of 0 bytes: no bytes (at byte 0)"],
    ["a cut Begin", [begin.subarray(0, 12)], "Begin message of 12 bytes: cut off where an int64 should be (at byte 9)"],
    ["a long Begin", [Buffer.concat([begin, int16(0)])], "Begin message of 23 bytes: 2 bytes too many (at byte 21)"],
    ["a row without a transaction", [message.insert(7, ["1", "a"])], "Insert message of 20 bytes: a row outside"],
    ["a Begin in a transaction", [begin, begin], "Begin message of 21 bytes: out of place: a transaction is open"],
    ["a Commit without a Begin", [message.commit(1n, 2n)], "Commit message of 26 bytes: out of place: no transaction"],
    [
      "an unknown tuple",
      [begin, Buffer.concat([letter("I"), int32(7), letter("X"), int16(0)])],
      'unknown kind "X" (at byte 5)',
    ],
    [
      "a negative length",
      [begin, badLength(-5)],
      "Insert message of 20 bytes: a value of -5 bytes, where 1 follow (at byte 15)",
    ],
    ["an oversized length", [begin, badLength(2)], "a value of 2 bytes, where 1 follow (at byte 15)"],
    ["a short length", [begin, badLength(0)], "1 bytes after the last column (at byte 19)"],
    ["too few columns", [begin, message.insert(7, ["1"])], "a row of 1 columns, where 2 are known (at byte 6)"],
    [
      "a column count below zero",
      [begin, Buffer.concat([letter("I"), int32(7), letter("N"), int16(-1)])],
      "a row of 65535 columns",
    ],
    [
      "a value of unknown kind",
      [begin, Buffer.concat([letter("I"), int32(7), letter("N"), int16(2), letter("zz")])],
      'unknown kind "z" (at byte 8)',
    ],
    [
      "a negative truncate",
      [begin, Buffer.concat([letter("T"), int32(-1), Buffer.alloc(1)])],
      "a count of -1, where 0 bytes follow (at byte 1)",
    ],
    [
      "a huge truncate",
      [begin, Buffer.concat([letter("T"), int32(2 ** 30), Buffer.alloc(5)])],
      "a count of 1073741824",
    ],
    [
      "a relation's count",
      [begin, Buffer.concat([letter("R"), int32(7), text("a"), text("b"), letter("d"), int16(900)])],
      "a count of 900",
    ],
    [
      "an endless name",
      [begin, Buffer.concat([letter("R"), int32(7), letter("public")])],
      "a string without its end (at byte 5)",
    ],
    [
      "a message's length",
      [Buffer.concat([letter("M"), Buffer.alloc(9), text("p"), int32(-2)])],
      "a length of -2, where 0 bytes follow (at byte 12)",
    ],
    [
      "an update's old tuple",
      [begin, Buffer.concat([letter("U"), int32(7), letter("K"), int16(1), letter("t"), int32(99)])],
      "a value of 99 bytes, where 0 follow (at byte 9)",
    ],
    [
      "an update without a new tuple",
      [begin, Buffer.concat([letter("U"), int32(7), letter("K"), int16(1), letter("n")])],
      "cut off before its new tuple (at byte 9)",
    ],
    [
      "a block in a block",
      [message.streamStart(5, true), message.streamStart(6, true)],
      "out of place: a block of transaction 5 is open",
    ],
    ["a stop without a block", [message.streamStop()], "Stream Stop message of 1 bytes: out of place"],
    ["transaction id 0", [message.streamStart(0, true)], "transaction id 0 (at byte 1)"],
  ])("refuses %s", (_what, messages, part) => {
    const { kind, message: refused } = refusal(messages);
    expect(kind).toBe("protocol");
    expect(refused).toContain("pgoutput: malformed ");
    expect(refused).toContain(part);
  });

  it("refuses what wasn't asked for, with the reason", () => {
    expect(refusal([Buffer.from("b123")])).toEqual({
      kind: "unsupported",
      message: "pgoutput: a Begin Prepare message came, though two-phase commit was not asked for",
    });
    expect(refusal([message.streamStart(5, true)], false).message).toContain("no open transactions were asked for");
    expect(refusal([Buffer.from("?")]).message).toBe('pgoutput: a message of unknown kind "?" (byte 63)');
  });
});

/** An Insert of `1` and `a`, whose last length is another one. */
function badLength(length: number): Buffer {
  const bytes = message.insert(7, ["1", "a"]);
  bytes.writeInt32BE(length, bytes.length - 5);
  return Buffer.concat([bytes]);
}

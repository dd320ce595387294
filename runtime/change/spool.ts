import { SluiceError } from "../errors";
import { int16At, int32At, MalformedBytes } from "../postgres/message-bytes";
import { lengthBinary, lengthUnchanged, locateTuple } from "../postgres/tuple-data";
import { changeOp } from "./change-op";
import type { ColumnBuffer } from "./column-buffer";
import type { BinaryReader, TextReader } from "./column-type";
import { refusedCopyRow, refusedTuple } from "./refused-row";
import { RowBuffers } from "./row-buffers";
import { metaColumns, type SealedColumn, type SealedRows } from "./sealed-rows";
import { keyColumns, type TableSchema } from "./table-schema";
import { UnrepresentableValue } from "./unrepresentable-value";

/** The streamed transaction that rows belong to. */
export interface TransactionMeta {
  commitLsn: bigint;
  commitTimeMicros: bigint;
  /** counts up with each row that is spooled */
  nextOrdinal: number;
  /** not committed yet: commit LSN and time are NULL in its rows */
  isOpen?: boolean;
}

/** Rows after which a spool overflows into a file, whatever a batch may have: so memory stays flat (invariant 7). */
export const overflowRowsMax = 200_000;

/** in place of a type's binary length: there is no reader for it */
const unreadable = -2;

/**
 * Rows of one table in column buffers. Changes come as pgoutput's TupleData (PostgreSQL documentation, section 55.9),
 * copied rows as COPY BINARY's tuples; both are read by the same type table. No object is made for a row.
 * An append that throws (`unrepresentable`: a value that must not be lost) leaves a spool to be thrown away.
 */
export class TableSpool extends RowBuffers {
  bytes = 0;
  inserts = 0;
  updates = 0;
  deletes = 0;
  private readonly textReaders: readonly TextReader[];
  private readonly binaryReaders: readonly BinaryReader[];
  /** of a value in binary form; -1 when it varies */
  private readonly binaryBytes: Int32Array;
  private readonly keyed: boolean;
  private readonly hasLists: boolean;
  /** offset and length of each value of the tuple that was located last, and of an old tuple */
  private readonly newAt: Int32Array;
  private readonly newLength: Int32Array;
  private readonly oldAt: Int32Array;
  private readonly oldLength: Int32Array;

  /** `beforeImages`: the row before an update is a row of its own, where the table has a key and the source sends it whole */
  constructor(
    schema: TableSchema,
    kind: "changes" | "snapshot",
    private readonly beforeImages = false,
  ) {
    super(schema, kind);
    this.textReaders = this.types.map((type) => type.readText);
    this.binaryReaders = this.types.map((type) => type.readBinary ?? type.readText);
    this.binaryBytes = Int32Array.from(this.types, (type) =>
      type.readBinary === null ? unreadable : (type.binaryBytes ?? -1),
    );
    this.keyed = keyColumns(schema).length > 0;
    this.hasLists = this.types.some((type) => type.element !== undefined);
    const count = schema.columns.length;
    this.newAt = new Int32Array(count);
    this.newLength = new Int32Array(count);
    this.oldAt = new Int32Array(count);
    this.oldLength = new Int32Array(count);
  }

  /**
   * A tuple in `buffer[newTuple, end)`. @returns bytes that it counts for, here and below
   * @throws MalformedBytes, here and below, when it doesn't fill these bytes
   */
  appendInsert(buffer: Buffer, newTuple: number, end: number, transaction: TransactionMeta): number {
    this.locate(buffer, newTuple, end, this.newAt, this.newLength);
    this.writeTuple(buffer, changeOp.insert, this.newAt, this.newLength, transaction);
    this.inserts++;
    return this.count(end - newTuple);
  }

  /** @param oldTuple -1 when there is none; it ends one byte before `newTuple` */
  appendUpdate(
    buffer: Buffer,
    oldTuple: number,
    oldKind: "K" | "O" | null,
    newTuple: number,
    end: number,
    transaction: TransactionMeta,
  ): number {
    this.writeUpdate(buffer, oldTuple, oldKind, newTuple, end, transaction);
    this.updates++;
    return this.count(end - (oldKind === null ? newTuple : oldTuple));
  }

  private writeUpdate(
    buffer: Buffer,
    oldTuple: number,
    oldKind: "K" | "O" | null,
    newTuple: number,
    end: number,
    transaction: TransactionMeta,
  ): void {
    const { newAt, newLength, oldAt, oldLength } = this;
    this.locate(buffer, newTuple, end, newAt, newLength);
    if (oldKind === null) {
      this.writeTuple(buffer, changeOp.update, newAt, newLength, transaction);
      return;
    }
    this.locate(buffer, oldTuple, newTuple - 1, oldAt, oldLength);
    if (oldKind === "O") {
      // A whole old row holds what was not sent again.
      for (let index = 0; index < newAt.length; index++) {
        // A value not sent is never NULL: the old row of a partition whose identity isn't FULL, though its root's is, has
        // its key only.
        if (newLength[index] !== lengthUnchanged || oldLength[index] < 0) continue;
        newAt[index] = oldAt[index];
        newLength[index] = oldLength[index];
      }
    }
    if (!this.keyed) {
      this.writeTuple(buffer, changeOp.delete, oldAt, oldLength, transaction);
      this.writeTuple(buffer, changeOp.insert, newAt, newLength, transaction);
      return;
    }
    if (this.keyChanged(buffer)) {
      this.writeTuple(buffer, changeOp.deleteOldKey, oldAt, oldLength, transaction);
    } else if (this.beforeImages && oldKind === "O") {
      this.writeTuple(buffer, changeOp.beforeImage, oldAt, oldLength, transaction);
    }
    this.writeTuple(buffer, changeOp.update, newAt, newLength, transaction);
  }

  appendDelete(
    buffer: Buffer,
    oldTuple: number,
    _oldKind: "K" | "O",
    end: number,
    transaction: TransactionMeta,
  ): number {
    this.locate(buffer, oldTuple, end, this.oldAt, this.oldLength);
    this.writeTuple(buffer, changeOp.delete, this.oldAt, this.oldLength, transaction);
    this.deletes++;
    return this.count(end - oldTuple);
  }

  /** A tuple of COPY BINARY in `row[start, end)`. */
  appendCopyRow(row: Buffer, start: number, end: number): void {
    this.beginRow();
    const { columns, rows: index } = this;
    if (end - start < 2) throw new MalformedBytes(start, "cut off where a tuple should be");
    const count = int16At(row, start);
    if (count !== columns.length) throw this.mismatch(count, start);
    let at = start + 2;
    let column = 0;
    try {
      for (; column < count; column++) {
        if (end - at < 4) throw new MalformedBytes(at, `cut off before column ${column + 1} of ${count}`);
        const length = int32At(row, at);
        at += 4;
        if (length === -1) {
          columns[column].setNull(index);
          continue;
        }
        if (length < 0 || length > end - at) {
          throw new MalformedBytes(at - 4, `a value of ${length} bytes, where ${end - at} follow`);
        }
        this.readBinary(column, columns[column], index, row, at, at + length);
        at += length;
      }
    } catch (error) {
      if (!(error instanceof UnrepresentableValue)) throw error;
      throw refusedCopyRow(this.schema, this.types, column, row, start);
    }
    if (at !== end) throw new MalformedBytes(at, `${end - at} bytes after the last column`);
    this.rows++;
    this.count(end - start);
  }

  /** Forgets the changes whose ordinal is at or above `ordinalEnd`; the spool holds one transaction's. */
  truncate(ordinalEnd: number): void {
    if (this.rows === 0) return;
    const ordinals = this.meta[2].i64;
    let rows = this.rows;
    while (rows > 0 && Number(ordinals[rows - 1]) >= ordinalEnd) rows--;
    // A row that was refused in its middle is forgotten too.
    for (const buffer of [...this.meta, ...this.columns]) buffer.truncate(rows);
    if (rows === this.rows) return;
    this.bytes = Math.round((this.bytes * rows) / this.rows);
    this.rows = rows;
    this.inserts = this.updates = this.deletes = 0;
    const ops = this.meta[0].i8;
    for (let row = 0; row < rows; row++) {
      if (ops[row] === changeOp.insert) this.inserts++;
      else if (ops[row] === changeOp.update) this.updates++;
      else if (ops[row] === changeOp.delete) this.deletes++;
    }
  }

  /** A row of a spool without a change's own columns, from their text forms; null is NULL. */
  appendTexts(texts: readonly (string | null)[]): void {
    this.beginRow();
    for (const [index, text] of texts.entries()) {
      const column = this.columns[index];
      if (text === null) {
        column.setNull(this.rows);
        continue;
      }
      const bytes = Buffer.from(text);
      this.textReaders[index](column, this.rows, bytes, 0, bytes.length);
      this.bytes += bytes.length;
    }
    this.rows++;
  }

  /** All rows since the last seal; null when there are none. */
  seal(): SealedRows | null {
    if (this.rows === 0) {
      this.clear();
      return null;
    }
    const { schema, rows, bytes, inserts, updates, deletes, beforeImages } = this;
    const unrepresentable: Record<string, number> = {};
    const columns: SealedColumn[] = this.meta.map((buffer, index) => ({ ...metaColumns[index], buffer }));
    for (const [index, buffer] of this.columns.entries()) {
      const { name, physicalName, attributeNumber } = schema.columns[index];
      columns.push({ name: physicalName, type: this.types[index].deltaType, fieldId: attributeNumber, buffer });
      if (buffer.unrepresentableValues > 0) unrepresentable[name] = buffer.unrepresentableValues;
    }
    this.clear();
    const memoryBytes = columns.reduce((sum, { buffer }) => sum + buffer.memoryBytes, 0);
    return { schema, columns, rows, inserts, updates, deletes, bytes, memoryBytes, unrepresentable, beforeImages };
  }

  protected override clear(): void {
    super.clear();
    this.bytes = this.inserts = this.updates = this.deletes = 0;
  }

  private writeTuple(
    message: Buffer,
    op: number,
    offsets: Int32Array,
    lengths: Int32Array,
    transaction: TransactionMeta,
  ): void {
    this.beginRow();
    const { columns, meta, rows: row } = this;
    let unchanged = "";
    let index = 0;
    try {
      for (; index < columns.length; index++) {
        const length = lengths[index];
        const at = offsets[index];
        if (length >= lengthBinary) {
          this.readBinary(index, columns[index], row, message, at, at + length - lengthBinary);
          continue;
        }
        if (length >= 0) {
          this.textReaders[index](columns[index], row, message, at, at + length);
          continue;
        }
        columns[index].setNull(row);
        if (length === lengthUnchanged) unchanged += `,${this.schema.columns[index].attributeNumber}`;
      }
    } catch (error) {
      if (!(error instanceof UnrepresentableValue)) throw error;
      throw refusedTuple(this.schema, index, message, offsets, lengths);
    }
    meta[0].setInteger(row, op);
    meta[2].setInteger(row, transaction.nextOrdinal++);
    if (transaction.isOpen !== true) {
      meta[1].i64[row] = transaction.commitLsn;
      meta[1].markPresent(row);
      meta[3].i64[row] = transaction.commitTimeMicros;
      meta[3].markPresent(row);
    }
    if (unchanged === "") meta[4].setNull(row);
    else {
      const text = Buffer.from(`${unchanged},`, "latin1");
      meta[4].setBytes(row, text, 0, text.length);
    }
    this.rows++;
  }

  /**
   * Counts a message of so many bytes, or what lists take in memory where that is more: an element can have eight times
   * the bytes of its text. @returns what was added
   */
  private count(messageBytes: number): number {
    const before = this.bytes;
    this.bytes += messageBytes;
    if (this.hasLists) {
      let lists = 0;
      for (const buffer of this.columns) lists += buffer.elementBytes;
      this.bytes = Math.max(this.bytes, lists);
    }
    return this.bytes - before;
  }

  /** A value in binary form. A copy has the text of a type that has no binary reader. */
  private readBinary(
    index: number,
    column: ColumnBuffer,
    row: number,
    source: Buffer,
    start: number,
    end: number,
  ): void {
    const bytes = this.binaryBytes[index];
    if (bytes !== -1 && end - start !== bytes) {
      if (bytes === unreadable && this.kind === "changes") throw this.unreadable(index);
      if (bytes >= 0) throw new MalformedBytes(start, `a binary value of ${end - start} bytes, not ${bytes}`);
    }
    this.binaryReaders[index](column, row, source, start, end);
  }

  private unreadable(index: number): SluiceError {
    const { schema, name, columns } = this.schema;
    return new SluiceError(
      "conflict",
      `the stream is in binary form, which can't be read of ${schema}.${name}, column ${columns[index].name} (${columns[index].typeName}): it is started again in text form`,
      { remedy: "Nothing is to be done: the gateway goes on by itself, in text form." },
    );
  }

  private locate(buffer: Buffer, tuple: number, end: number, offsets: Int32Array, lengths: Int32Array): void {
    const at = locateTuple(buffer, tuple, end, offsets, lengths);
    if (at !== end) throw new MalformedBytes(at, `${end - at} bytes after the last column`);
  }

  private keyChanged(message: Buffer): boolean {
    const { newAt, newLength, oldAt, oldLength } = this;
    for (let index = 0; index < newAt.length; index++) {
      if (!this.isKey[index] || newLength[index] === lengthUnchanged) continue;
      if (newLength[index] !== oldLength[index]) return true;
      const length = newLength[index] < 0 ? 0 : newLength[index] & (lengthBinary - 1);
      const from = oldAt[index];
      if (message.compare(message, from, from + length, newAt[index], newAt[index] + length) !== 0) return true;
    }
    return false;
  }

  private mismatch(count: number, at: number): MalformedBytes {
    const { schema, name, columns } = this.schema;
    return new MalformedBytes(at, `${schema}.${name}: a row of ${count} columns, where ${columns.length} are known`);
  }
}

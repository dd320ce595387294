import { RoaringBitmap32 } from "roaring-wasm";
import { crc32 } from "./crc32";

/**
 * Deletion vectors as the Delta protocol has them ("Deletion Vector Format"): a magic number, then a 64-bit roaring
 * bitmap in its portable form: a count (u64), and for each a key (the upper 32 bits, u32) and a 32-bit bitmap; all
 * little-endian. Rows of one Parquet file fit into the lower 32 bits, so ours have the key 0 only.
 */
const magic = 1681511377;
const headerBytes = 4 + 8 + 4;

/** Positions of deleted rows in one file. In WASM memory: `dispose()` it. */
export type RowSet = RoaringBitmap32;

export function newRowSet(rows?: Iterable<number>): RowSet {
  return rows === undefined ? new RoaringBitmap32() : RoaringBitmap32.from(rows);
}

/** Adds rows, which are sorted here: to a set of its own in order, then as a whole, is many times faster than one by one. */
export function addRows(set: RowSet, rows: Uint32Array): void {
  const added = new RoaringBitmap32(rows.sort());
  set.orInPlace(added);
  added.dispose();
}

/** Those of one set that aren't in another, in order. */
export function rowsWithout(rows: RowSet, others: RowSet): Uint32Array<ArrayBuffer> {
  const left = RoaringBitmap32.andNot(rows, others);
  const numbers = rowNumbers(left);
  left.dispose();
  return numbers;
}

/** In order; copied as a whole: an iteration would make a JavaScript value of each first. */
export function rowNumbers(rows: RowSet): Uint32Array<ArrayBuffer> {
  const numbers = new Uint32Array(rows.size);
  rows.toUint32Array(numbers);
  return numbers;
}

/** The vector's data, as its descriptor's `sizeInBytes` counts it. */
export function encodeDeletionVector(rows: RowSet): Buffer {
  rows.runOptimize();
  const bitmap = rows.serialize("portable");
  const data = Buffer.alloc(headerBytes + bitmap.length);
  data.writeUInt32LE(magic, 0);
  data.writeBigUInt64LE(1n, 4);
  data.writeUInt32LE(0, 12);
  data.set(bitmap, headerBytes);
  return data;
}

/** @throws RangeError when it is no deletion vector, or one of more than 2^32 rows */
export function decodeDeletionVector(data: Buffer): RowSet {
  if (data.length < 12 || data.readUInt32LE(0) !== magic) throw new RangeError("not a deletion vector");
  const count = data.readBigUInt64LE(4);
  if (count === 0n) return newRowSet();
  if (count !== 1n || data.readUInt32LE(12) !== 0) throw new RangeError("a deletion vector beyond row 2^32");
  return RoaringBitmap32.deserialize("portable", data.subarray(headerBytes));
}

/** A deletion vector file: a version byte, then for each vector its size (big-endian), data and CRC-32 (big-endian). */
export class DeletionVectorFile {
  private readonly parts: Buffer[] = [Buffer.of(1)];
  private length = 1;

  /** Returns the vector's offset. */
  append(data: Buffer): number {
    const offset = this.length;
    const size = Buffer.alloc(4);
    size.writeInt32BE(data.length);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32BE(crc32(data));
    this.parts.push(size, data, checksum);
    this.length += data.length + 8;
    return offset;
  }

  get isEmpty(): boolean {
    return this.parts.length === 1;
  }

  content(): Buffer {
    return Buffer.concat(this.parts);
  }
}

/** `framed`: the bytes of a file from a vector's offset on. @throws RangeError when size or checksum don't agree */
export function unframeDeletionVector(framed: Buffer, sizeInBytes: number): Buffer {
  if (framed.length < sizeInBytes + 8) throw new RangeError("the file is shorter than the vector");
  if (framed.readInt32BE(0) !== sizeInBytes) throw new RangeError(`the file says ${framed.readInt32BE(0)} bytes`);
  const data = framed.subarray(4, 4 + sizeInBytes);
  if (framed.readUInt32BE(4 + sizeInBytes) !== crc32(data)) throw new RangeError("the checksum doesn't agree");
  return data;
}

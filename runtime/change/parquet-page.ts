import type { ColumnBuffer } from "./column-buffer";
import { physicalTypes } from "./parquet-schema";

/** The values of a page as they are in the file, before compression; in memory that is used again. */
export interface PlainPage {
  buffer: PageBuffer;
  /** the page is `buffer.bytes[start, end)` */
  start: number;
  end: number;
  /** where values begin, at a multiple of 8 */
  valuesAt: number;
  /** with NULLs, and with the empty lists */
  entries: number;
  /** values that are there */
  values: number;
}

/** Memory for a page. */
export class PageBuffer {
  readonly bytes: Buffer;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;

  constructor(readonly length: number) {
    this.bytes = Buffer.allocUnsafeSlow(length);
    this.i32 = new Int32Array(this.bytes.buffer);
    this.f32 = new Float32Array(this.bytes.buffer);
    this.f64 = new Float64Array(this.bytes.buffer);
  }
}

/** Bytes of a page; a single value may be larger. */
export const pageBytesMax = 1024 * 1024;

/** How many of the rows `[first, end)` fit into one page; one at least. */
export function rowsOfPage(column: ColumnBuffer, first: number, end: number): number {
  const bytesAt = (row: number): number => {
    if (row === 0) return 0;
    if (column.width > 0) return row * column.width;
    const until = column.ends[row - 1];
    const { elements } = column;
    return elements === null || until === 0 ? until : until * elements.width + (elements.ends[until - 1] ?? 0);
  };
  const limit = bytesAt(first) + pageBytesMax;
  if (bytesAt(end) <= limit) return end - first;
  let low = first + 1;
  let high = end;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (bytesAt(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low - first;
}

/** Levels of lists: repetition in one byte each, definition in the other; scratch of the one thread that encodes. */
let levels = { repetition: new Uint8Array(1024), definition: new Uint8Array(1024) };

const levelsKeptMax = 4 * 1024 * 1024;

function levelsFor(entries: number): typeof levels {
  if (levels.repetition.length >= entries) return levels;
  const length = entries > levelsKeptMax ? entries : 2 * entries;
  const roomy = { repetition: new Uint8Array(length), definition: new Uint8Array(length) };
  if (entries <= levelsKeptMax) levels = roomy;
  return roomy;
}

/**
 * A data page of rows `[first, first + count)`: levels in Parquet's hybrid of runs and bit packing, then the values that
 * aren't NULL one after the other (encoding PLAIN).
 * @param take gives memory of so many bytes at least
 */
export function encodePage(
  column: ColumnBuffer,
  physicalType: number,
  first: number,
  count: number,
  take: (bytes: number) => PageBuffer,
): PlainPage {
  if (column.elements !== null) return encodeLists(column, column.elements, physicalType, first, count, take);
  const values = countPresent(column.validity, first, count);
  const levelBytes = values === count ? runBytes(count) : packedBytes(count, 1);
  const valuesAt = aligned(levelBytes);
  const buffer = take(valuesAt + valueBytesMax(column, first, count));
  const start = valuesAt - levelBytes;
  if (values === count) writeRun(buffer.bytes, start, count, 1);
  else {
    const at = writePackedHead(buffer.bytes, start, count, 1);
    copyBits(column.validity, first, count, buffer.bytes, at);
  }
  const end = writeValues(buffer, valuesAt, column, physicalType, first, count, values);
  return { buffer, start, end, valuesAt, entries: count, values };
}

/** Definition levels: 0 NULL, 1 an empty list, 2 an element that is NULL, 3 one that is a value. */
function encodeLists(
  column: ColumnBuffer,
  elements: ColumnBuffer,
  physicalType: number,
  first: number,
  count: number,
  take: (bytes: number) => PageBuffer,
): PlainPage {
  const { ends, validity } = column;
  const firstElement = first === 0 ? 0 : ends[first - 1];
  const elementCount = ends[first + count - 1] - firstElement;
  const entriesMax = elementCount + count;
  const { repetition, definition } = levelsFor(entriesMax);
  let entries = 0;
  let element = firstElement;
  for (let row = first; row < first + count; row++) {
    const end = ends[row];
    repetition[entries] = 0;
    if (element === end) definition[entries++] = isPresent(validity, row) ? 1 : 0;
    for (const begin = element; element < end; element++) {
      repetition[entries] = element === begin ? 0 : 1;
      definition[entries++] = isPresent(elements.validity, element) ? 3 : 2;
    }
  }
  const values = countPresent(elements.validity, firstElement, elementCount);
  const repetitionBytes = packedBytes(entries, 1);
  const levelBytes = repetitionBytes + packedBytes(entries, 2);
  const valuesAt = aligned(levelBytes);
  const buffer = take(valuesAt + valueBytesMax(elements, firstElement, elementCount));
  const start = valuesAt - levelBytes;
  packLevels(repetition, entries, 1, buffer.bytes, writePackedHead(buffer.bytes, start, entries, 1));
  const definitionAt = start + repetitionBytes;
  packLevels(definition, entries, 2, buffer.bytes, writePackedHead(buffer.bytes, definitionAt, entries, 2));
  const end = writeValues(buffer, valuesAt, elements, physicalType, firstElement, elementCount, values);
  return { buffer, start, end, valuesAt, entries, values };
}

function isPresent(validity: Uint8Array, row: number): boolean {
  return ((validity[row >> 3] >> (row & 7)) & 1) === 1;
}

const bitCounts = Uint8Array.from({ length: 256 }, (_, byte) => byte.toString(2).replaceAll("0", "").length);

function countPresent(validity: Uint8Array, first: number, count: number): number {
  let present = 0;
  let row = first;
  const end = first + count;
  for (; row < end && (row & 7) !== 0; row++) if (isPresent(validity, row)) present++;
  for (; row + 8 <= end; row += 8) present += bitCounts[validity[row >> 3]];
  for (; row < end; row++) if (isPresent(validity, row)) present++;
  return present;
}

const aligned = (bytes: number) => (bytes + 7) & ~7;

function varintBytes(value: number): number {
  return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : value < 1 << 28 ? 4 : 5;
}

function writeVarint(bytes: Buffer, at: number, value: number): number {
  let next = at;
  let left = value;
  for (; left >= 128; left >>>= 7) bytes[next++] = (left & 127) | 128;
  bytes[next++] = left;
  return next;
}

/** A length, then the head of a run and its level. */
const runBytes = (count: number) => 4 + varintBytes(count << 1) + 1;

function writeRun(bytes: Buffer, at: number, count: number, level: number): void {
  const next = writeVarint(bytes, at + 4, count << 1);
  bytes[next] = level;
  bytes.writeUInt32LE(next + 1 - at - 4, at);
}

const groupsOf = (count: number) => (count + 7) >> 3;

/** A length, then the head of groups of 8 levels, and they. */
const packedBytes = (count: number, bits: number) =>
  4 + varintBytes((groupsOf(count) << 1) | 1) + groupsOf(count) * bits;

function writePackedHead(bytes: Buffer, at: number, count: number, bits: number): number {
  const groups = groupsOf(count);
  const next = writeVarint(bytes, at + 4, (groups << 1) | 1);
  bytes.writeUInt32LE(next + groups * bits - at - 4, at);
  return next;
}

/** Our bits of validity are what Parquet packs. */
function copyBits(validity: Uint8Array, first: number, count: number, bytes: Buffer, at: number): void {
  const from = first >> 3;
  const shift = first & 7;
  const groups = groupsOf(count);
  for (let group = 0; group < groups; group++) {
    const low = validity[from + group] >> shift;
    bytes[at + group] = shift === 0 ? low : low | ((validity[from + group + 1] ?? 0) << (8 - shift));
  }
}

function packLevels(source: Uint8Array, count: number, bits: number, bytes: Buffer, at: number): void {
  const each = 8 / bits;
  const packed = groupsOf(count) * bits;
  for (let byte = 0; byte < packed; byte++) {
    let value = 0;
    for (let index = 0; index < each; index++) {
      const entry = byte * each + index;
      if (entry < count) value |= source[entry] << (index * bits);
    }
    bytes[at + byte] = value;
  }
}

function valueBytesMax(column: ColumnBuffer, first: number, count: number): number {
  switch (column.storage) {
    case "bytes":
      return heapEnd(column, first + count) - heapEnd(column, first);
    case "i8":
    case "i16":
      return count * 4;
    default:
      return count * column.width;
  }
}

/** Where the values of rows before `row` end. */
function heapEnd(column: ColumnBuffer, row: number): number {
  return row === 0 ? 0 : column.ends[row - 1];
}

/** @returns where they end */
function writeValues(
  buffer: PageBuffer,
  at: number,
  column: ColumnBuffer,
  physicalType: number,
  first: number,
  count: number,
  values: number,
): number {
  switch (column.storage) {
    case "bytes": {
      const from = heapEnd(column, first);
      const until = heapEnd(column, first + count);
      buffer.bytes.set(column.heap.subarray(from, until), at);
      return at + until - from;
    }
    case "i8":
    case "i16": {
      const source = column.storage === "i8" ? column.i8 : column.i16;
      if (physicalType === physicalTypes.boolean) return writeBits(buffer.bytes, at, column, source, first, count);
      let next = at >> 2;
      for (let row = first; row < first + count; row++) {
        if (isPresent(column.validity, row)) buffer.i32[next++] = source[row];
      }
      return next << 2;
    }
    case "i128":
      return writeBigEndian(buffer.bytes, at, column, first, count);
    case "i32":
    case "i64":
    case "f32":
    case "f64": {
      const words = column.width >> 2;
      if (values === count) buffer.i32.set(column.i32.subarray(first * words, (first + count) * words), at >> 2);
      else gather(buffer.i32, at >> 2, column, words, first, count);
      return at + values * column.width;
    }
    case "list":
      throw new Error("a list has no values but its elements'");
  }
}

/** Values that aren't NULL, as words: so no NaN becomes another. */
function gather(
  target: Int32Array,
  at: number,
  column: ColumnBuffer,
  words: number,
  first: number,
  count: number,
): void {
  const { i32, validity } = column;
  let next = at;
  for (let row = first; row < first + count; row++) {
    if (!isPresent(validity, row)) continue;
    target[next++] = i32[row * words];
    if (words === 2) target[next++] = i32[row * words + 1];
  }
}

function writeBits(
  bytes: Buffer,
  at: number,
  column: ColumnBuffer,
  source: Int8Array | Int16Array,
  first: number,
  count: number,
): number {
  let written = 0;
  let byte = 0;
  for (let row = first; row < first + count; row++) {
    if (!isPresent(column.validity, row)) continue;
    byte |= source[row] << (written & 7);
    if ((++written & 7) !== 0) continue;
    bytes[at + (written >> 3) - 1] = byte;
    byte = 0;
  }
  if ((written & 7) !== 0) bytes[at + (written >> 3)] = byte;
  return at + ((written + 7) >> 3);
}

/** 128 bits, most significant byte first. */
function writeBigEndian(bytes: Buffer, at: number, column: ColumnBuffer, first: number, count: number): number {
  const { i8, validity } = column;
  let next = at;
  for (let row = first; row < first + count; row++) {
    if (!isPresent(validity, row)) continue;
    for (let from = row * 16 + 15; from >= row * 16; from--) bytes[next++] = i8[from];
  }
  return next;
}

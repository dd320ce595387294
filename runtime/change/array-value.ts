import { MalformedBytes } from "../postgres/message-bytes";
import type { ColumnBuffer } from "./column-buffer";
import type { ColumnType } from "./column-type";
import { elementTypeOf, type PrimitiveType } from "./table-schema";

/**
 * PostgreSQL's arrays, in both their forms, to lists. An array has any number of dimensions up to 6, each with bounds of
 * its own, by value, not by type. A list is one without bounds: those are lost (in a key, where two values would become
 * one, that isn't allowed), and of an array with more dimensions there is no list.
 */
export function arrayType(element: ColumnType, delimiter = ","): ColumnType {
  if (elementTypeOf(element.deltaType) !== null) throw new Error("an array of arrays is none of PostgreSQL's types");
  const separator = delimiter.charCodeAt(0);
  return {
    deltaType: `array<${element.deltaType as PrimitiveType}>`,
    storage: "list",
    holdsAll: false,
    element,
    readText: (list, row, source, start, end) => writeArrayText(list, row, source, start, end, element, separator),
    readBinary:
      element.readBinary === null
        ? null
        : (list, row, source, start, end) => writeArrayBinary(list, row, source, start, end, element),
  };
}

const quote = 34;
const minus = 45;
const colon = 58;
const equals = 61;
const openBracket = 91;
const backslash = 92;
const closeBracket = 93;
const openBrace = 123;
const closeBrace = 125;

/** Where a value's backslashes are taken out; scratch of the one thread that decodes. */
let scratch: Buffer = Buffer.allocUnsafeSlow(4096);
const scratchBytesMax = 1024 * 1024;

/** What the bounds at the front of a text form say. */
let dimensions = 0;
let isFromOne = true;

function malformed(at: number): MalformedBytes {
  return new MalformedBytes(at, "not an array");
}

/**
 * array_out: `{a,"b c",NULL}`, with explicit bounds `[2:4]={…}` where a lower one isn't 1. A value is quoted where it is
 * empty, reads NULL, or holds a quote, a backslash, a brace, the delimiter or white space.
 */
function writeArrayText(
  list: ColumnBuffer,
  row: number,
  source: Buffer,
  start: number,
  end: number,
  element: ColumnType,
  delimiter: number,
): void {
  let at = readBounds(source, start, end);
  if (end - at < 2 || source[at] !== openBrace || source[end - 1] !== closeBrace) throw malformed(at);
  if (dimensions > 1 || source[at + 1] === openBrace) {
    list.setUnrepresentable(row);
    return;
  }
  if (!isFromOne) list.loseBounds();
  const { elements } = list as { elements: ColumnBuffer };
  at++;
  const last = end - 1;
  if (at === last) {
    list.finishList(row);
    return;
  }
  if (end - at > largeBytes) list.reserveElements(delimitersIn(source, at, last, delimiter) + 1);
  for (;;) {
    const index = list.addElement();
    if (source[at] === quote) at = readQuoted(elements, index, source, at + 1, last, element);
    else {
      const from = at;
      while (at < last && source[at] !== delimiter) {
        const code = source[at];
        if (code === quote || code === backslash || code === openBrace || code === closeBrace) throw malformed(at);
        at++;
      }
      if (at === from) throw malformed(at);
      if (isNull(source, from, at)) elements.setNull(index);
      else element.readText(elements, index, source, from, at);
    }
    if (at === last) break;
    if (source[at] !== delimiter) throw malformed(at);
    at++;
  }
  list.finishList(row);
}

/** From so many on a text's elements are counted before they are read: there are at most as many as delimiters and one. */
const largeBytes = 64 * 1024;

function delimitersIn(source: Buffer, start: number, end: number, delimiter: number): number {
  let count = 0;
  for (let at = start; at < end; at++) if (source[at] === delimiter) count++;
  return count;
}

const isNull = (source: Buffer, start: number, end: number) =>
  end - start === 4 &&
  source[start] === 78 &&
  source[start + 1] === 85 &&
  source[start + 2] === 76 &&
  source[start + 3] === 76;

/** A value whose opening quote is before `start`. @returns the offset behind its closing one, which is before `last` */
function readQuoted(
  elements: ColumnBuffer,
  index: number,
  source: Buffer,
  start: number,
  last: number,
  element: ColumnType,
): number {
  let at = start;
  let escapes = 0;
  for (; at < last && source[at] !== quote; at++) {
    if (source[at] !== backslash) continue;
    escapes++;
    at++;
  }
  if (at >= last) throw malformed(start - 1);
  if (escapes === 0) {
    element.readText(elements, index, source, start, at);
    return at + 1;
  }
  const length = at - start - escapes;
  let target = scratch;
  if (length > target.length) {
    target = Buffer.allocUnsafeSlow(length);
    if (length <= scratchBytesMax) scratch = target;
  }
  let to = 0;
  for (let from = start; from < at; from++) {
    if (source[from] === backslash) from++;
    target[to++] = source[from];
  }
  element.readText(elements, index, target, 0, length);
  return at + 1;
}

/** Sets `dimensions` (0 where there are no explicit bounds) and `isFromOne`. @returns the offset behind them */
function readBounds(source: Buffer, start: number, end: number): number {
  dimensions = 0;
  isFromOne = true;
  let at = start;
  while (at < end && source[at] === openBracket) {
    const lower = at + 1;
    const middle = skipNumber(source, lower, end);
    const upper = skipNumber(source, middle + 1, end);
    if (source[middle] !== colon || upper >= end || source[upper] !== closeBracket) throw malformed(at);
    isFromOne &&= middle - lower === 1 && source[lower] === 49;
    dimensions++;
    at = upper + 1;
  }
  if (dimensions === 0) return at;
  if (source[at] !== equals) throw malformed(at);
  return at + 1;
}

function skipNumber(source: Buffer, start: number, end: number): number {
  let at = source[start] === minus ? start + 1 : start;
  const digits = at;
  while (at < end && (source[at] - 48) >>> 0 <= 9) at++;
  if (at === digits) throw malformed(start);
  return at;
}

/** Number of dimensions, flags, the elements' type. */
const headerBytes = 12;
const dimensionsMax = 6;

/**
 * array_send: int32 number of dimensions, int32 flags, the elements' type, for each dimension its length and lower bound,
 * then each element's length, -1 for NULL, and its binary form.
 */
function writeArrayBinary(
  list: ColumnBuffer,
  row: number,
  source: Buffer,
  start: number,
  end: number,
  element: ColumnType,
): void {
  const count = end - start < headerBytes ? -1 : source.readInt32BE(start);
  if (count < 0 || count > dimensionsMax || end - start < headerBytes + 8 * count) {
    throw new MalformedBytes(start, `an array of ${count} dimensions in ${end - start} bytes`);
  }
  if (count > 1) {
    list.setUnrepresentable(row);
    return;
  }
  let at = start + headerBytes;
  let left = 0;
  if (count === 1) {
    left = source.readInt32BE(at);
    if (source.readInt32BE(at + 4) !== 1) list.loseBounds();
    at += 8;
    if (left < 0 || left * 4 > end - at)
      throw new MalformedBytes(at - 8, `an array of ${left} elements, where ${end - at} bytes follow`);
    list.reserveElements(left);
  }
  const { elements } = list as { elements: ColumnBuffer };
  const readBinary = element.readBinary as NonNullable<ColumnType["readBinary"]>;
  const { binaryBytes } = element;
  for (; left > 0; left--) {
    if (end - at < 4) throw new MalformedBytes(at, `an array cut off before ${left} of its elements`);
    const length = source.readInt32BE(at);
    at += 4;
    const index = list.addElement();
    if (length === -1) {
      elements.setNull(index);
      continue;
    }
    if (length < 0 || length > end - at || (binaryBytes !== undefined && length !== binaryBytes)) {
      throw new MalformedBytes(at - 4, `an element of ${length} bytes, where ${end - at} follow`);
    }
    readBinary(elements, index, source, at, at + length);
    at += length;
  }
  if (at !== end) throw new MalformedBytes(at, `${end - at} bytes after an array's last element`);
  list.finishList(row);
}

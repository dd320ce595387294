import { MalformedBytes } from "../postgres/message-bytes";
import type { ColumnBuffer } from "./column-buffer";
import type { TextReader } from "./column-type";

/** A number of at most 10 digits. */
export function numberWithin(min: number, max: number): TextReader {
  return (column, row, source, start, end) => {
    const isNegative = source[start] === 45;
    let value = 0;
    for (let at = isNegative ? start + 1 : start; at < end; at++) {
      const digit = source[at] - 48;
      if (digit >>> 0 > 9) throw malformed(at, "whole number");
      value = value * 10 + digit;
    }
    if (isNegative) value = -value;
    if (end - start < (isNegative ? 2 : 1) || value < min || value > max) throw malformed(start, "number of its type");
    column.setInteger(row, value);
  };
}

export function floatOf(source: Buffer, start: number, end: number): number {
  const text = source.toString("latin1", start, end);
  const value = Number(text);
  if ((Number.isNaN(value) && text !== "NaN") || text.trim() === "") throw malformed(start, "floating point number");
  return value;
}

const noDigit = 0xff;
const hexDigits = Uint8Array.from({ length: 256 }, (_, code) => {
  const digit = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(digit) ? noDigit : digit;
});

function hexByte(source: Buffer, at: number, type: string): number {
  const high = hexDigits[source[at]];
  const low = hexDigits[source[at + 1]];
  if (high === noDigit || low === noDigit) throw malformed(at, type);
  return (high << 4) | low;
}

/** bytea_output hex: `\x` and two digits for each byte. */
export function readHexText(column: ColumnBuffer, row: number, source: Buffer, start: number, end: number): void {
  const length = (end - start - 2) / 2;
  if (length < 0 || !Number.isInteger(length) || source[start] !== 92 || source[start + 1] !== 120) {
    throw malformed(start, "bytea in hex form");
  }
  let at = column.beginBytes(length);
  const { heap } = column;
  for (let from = start + 2; from < end; from += 2) {
    heap[at++] = hexByte(source, from, "bytea in hex form");
  }
  column.endBytes(row, at);
}

export function readUuidText(column: ColumnBuffer, row: number, source: Buffer, start: number, end: number): void {
  if (end - start !== 36) throw malformed(start, "uuid");
  let at = column.beginBytes(16);
  const { heap } = column;
  for (let from = start; from < end; from += 2) {
    const place = from - start;
    if (place === 8 || place === 13 || place === 18 || place === 23) {
      if (source[from] !== 45) throw malformed(from, "uuid");
      from++;
    }
    heap[at++] = hexByte(source, from, "uuid");
  }
  column.endBytes(row, at);
}

/** The value isn't in the text form of its type. */
export function malformed(at: number, type: string): MalformedBytes {
  return new MalformedBytes(at, `not a ${type}`);
}

import { MalformedBytes } from "./message-bytes";

/** Lengths that stand for what has no bytes. */
export const lengthNull = -1;
/** a TOAST value that was not sent again */
export const lengthUnchanged = -2;

/** Added to the length of a value in binary form; a value has fewer bytes, and its text form's length is plain. */
export const lengthBinary = 0x40000000;

const kindNull = 110; // n
const kindUnchanged = 117; // u
const kindText = 116; // t
const kindBinary = 98; // b

/**
 * Finds the values of a TupleData (PostgreSQL documentation, section 55.9) in `buffer[tuple, end)`: offset and length of
 * each, `lengthNull` or `lengthUnchanged`; `lengthBinary` is added to that of a value in binary form. Everything is checked against `end`; no object is made.
 * @returns the offset after the tuple
 */
export function locateTuple(
  buffer: Buffer,
  tuple: number,
  end: number,
  offsets: Int32Array,
  lengths: Int32Array,
): number {
  const count = tupleColumns(buffer, tuple, end);
  if (count !== offsets.length) {
    throw new MalformedBytes(tuple, `a row of ${count} columns, where ${offsets.length} are known`);
  }
  let at = tuple + 2;
  for (let column = 0; column < count; column++) {
    if (at >= end) throw new MalformedBytes(at, `cut off before column ${column + 1} of ${count}`);
    const kind = buffer[at++];
    if (kind === kindText || kind === kindBinary) {
      const length = valueLength(buffer, at, end);
      at += 4;
      offsets[column] = at;
      lengths[column] = kind === kindText ? length : length + lengthBinary;
      at += length;
    } else if (kind === kindNull) lengths[column] = lengthNull;
    else if (kind === kindUnchanged) lengths[column] = lengthUnchanged;
    else throw badKind(kind, at - 1);
  }
  return at;
}

/** The offset after the tuple, whatever its number of columns. */
export function skipTuple(buffer: Buffer, tuple: number, end: number): number {
  const count = tupleColumns(buffer, tuple, end);
  let at = tuple + 2;
  for (let column = 0; column < count; column++) {
    if (at >= end) throw new MalformedBytes(at, `cut off before column ${column + 1} of ${count}`);
    const kind = buffer[at++];
    if (kind === kindText || kind === kindBinary) at += 4 + valueLength(buffer, at, end);
    else if (kind !== kindNull && kind !== kindUnchanged) throw badKind(kind, at - 1);
  }
  return at;
}

function tupleColumns(buffer: Buffer, tuple: number, end: number): number {
  if (end - tuple < 2) throw new MalformedBytes(tuple, "cut off where a tuple should be");
  return (buffer[tuple] << 8) | buffer[tuple + 1];
}

function valueLength(buffer: Buffer, at: number, end: number): number {
  if (end - at < 4) throw new MalformedBytes(at, "cut off in a value's length");
  const length = (buffer[at] << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3];
  if (length < 0 || length > end - at - 4 || length >= lengthBinary) {
    throw new MalformedBytes(at, `a value of ${length} bytes, where ${end - at - 4} follow`);
  }
  return length;
}

function badKind(kind: number, at: number): MalformedBytes {
  return new MalformedBytes(at, `a value of unknown kind ${JSON.stringify(String.fromCharCode(kind))}`);
}

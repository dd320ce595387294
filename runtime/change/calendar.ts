import { int32At, MalformedBytes } from "../postgres/message-bytes";
import type { ColumnBuffer } from "./column-buffer";

/** Years 1 to 9999, in days and microseconds since 1970-01-01: what Delta's date and timestamps hold. */
const daysMin = -719_162;
const daysMax = 2_932_896;
const secondsPerDay = 86_400;
const microsMin = BigInt(daysMin) * 86_400_000_000n;
const microsMax = BigInt(daysMax + 1) * 86_400_000_000n - 1n;
/** seconds whose microseconds a double holds exactly */
const secondsExactMax = 9_000_000_000;

/** PostgreSQL counts from 2000-01-01. */
const epochDays = 10_957;
const epochMicros = 946_684_800_000_000;

/** Position and result of the text reader; scratch of the one thread that decodes. */
let at = 0;
let days = 0;

const minus = 45;
const colon = 58;
const space = 32;

function malformed(at: number): MalformedBytes {
  return new MalformedBytes(at, "not a date or time in ISO form");
}

function expect(source: Uint8Array, index: number, end: number, code: number): void {
  if (index >= end || source[index] !== code) throw malformed(index);
}

/** Two digits, a number of at most `max`. */
function pair(source: Uint8Array, index: number, end: number, max: number): number {
  const tens = source[index] - 48;
  const ones = source[index + 1] - 48;
  if (index + 2 > end || tens >>> 0 > 9 || ones >>> 0 > 9 || tens * 10 + ones > max) throw malformed(index);
  return tens * 10 + ones;
}

const endsWith = (source: Uint8Array, start: number, end: number, text: string): boolean => {
  if (end - start < text.length) return false;
  for (let index = 1; index <= text.length; index++) {
    if (source[end - index] !== text.charCodeAt(text.length - index)) return false;
  }
  return true;
};

/** `YYYY-MM-DD`, the year of four digits or more; false for `infinity`. Leaves `at` behind it. */
function readDate(source: Uint8Array, start: number, end: number): boolean {
  at = start;
  if (start >= end) throw malformed(start);
  if (source[at] < 48 || source[at] > 57) {
    if (!endsWith(source, start, end, "infinity")) throw malformed(start);
    return false;
  }
  let year = 0;
  for (; at < end && source[at] !== minus; at++) {
    const digit = source[at] - 48;
    if (digit >>> 0 > 9 || at - start > 6) throw malformed(at);
    year = year * 10 + digit;
  }
  expect(source, at, end, minus);
  expect(source, at + 3, end, minus);
  const month = pair(source, at + 1, end, 12);
  const day = pair(source, at + 4, end, 31);
  at += 6;
  // Days from the civil calendar, years beginning in March.
  const shifted = month <= 2 ? year - 1 : year;
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  days =
    era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
  return true;
}

const isBeforeChrist = (source: Uint8Array, start: number, end: number) =>
  source[end - 1] === 67 && endsWith(source, start, end, " BC");

/** date_out with DateStyle ISO. @throws MalformedBytes, here and below, on what isn't one */
export function writeDateText(column: ColumnBuffer, row: number, source: Uint8Array, start: number, end: number): void {
  const isPast = isBeforeChrist(source, start, end);
  if (!readDate(source, start, end) || isPast) {
    column.setUnrepresentable(row);
    return;
  }
  if (at !== end) throw malformed(at);
  writeDays(column, row, days);
}

/** date_send: int32 days since 2000-01-01. */
export function writeDateBinary(column: ColumnBuffer, row: number, source: Buffer, start: number): void {
  writeDays(column, row, int32At(source, start) + epochDays);
}

function writeDays(column: ColumnBuffer, row: number, value: number): void {
  if (value < daysMin || value > daysMax) column.setUnrepresentable(row);
  else column.setInteger(row, value);
}

/** timestamp_out and timestamptz_out with DateStyle ISO and TimeZone UTC: `YYYY-MM-DD HH:MM:SS[.ffffff][+00]`. */
export function writeTimestampText(
  column: ColumnBuffer,
  row: number,
  source: Uint8Array,
  start: number,
  end: number,
): void {
  const isPast = isBeforeChrist(source, start, end);
  if (!readDate(source, start, end) || isPast || days < daysMin || days > daysMax) {
    column.setUnrepresentable(row);
    return;
  }
  expect(source, at, end, space);
  expect(source, at + 3, end, colon);
  expect(source, at + 6, end, colon);
  const seconds =
    days * secondsPerDay +
    pair(source, at + 1, end, 24) * 3600 +
    pair(source, at + 4, end, 59) * 60 +
    pair(source, at + 7, end, 60);
  at += 9;
  let micros = 0;
  if (at < end && source[at] === 46) {
    let unit = 100_000;
    for (at++; at < end && source[at] >= 48 && source[at] <= 57; at++) {
      micros += (source[at] - 48) * unit;
      unit /= 10;
    }
    if (unit < 0.1) throw malformed(at);
  }
  if (at !== end && !(end - at === 3 && endsWith(source, at, end, "+00"))) throw malformed(at);
  if (seconds > -secondsExactMax && seconds < secondsExactMax) column.setInteger(row, seconds * 1_000_000 + micros);
  else writeWide(column, row, BigInt(seconds) * 1_000_000n + BigInt(micros));
}

/** timestamp_send: int64 microseconds since 2000-01-01; its ends are the infinities. */
export function writeTimestampBinary(column: ColumnBuffer, row: number, source: Buffer, start: number): void {
  const high = int32At(source, start);
  if (high > -2_000_000 && high < 1_600_000) {
    column.setInteger(row, high * 4_294_967_296 + source.readUInt32BE(start + 4) + epochMicros);
  } else writeWide(column, row, source.readBigInt64BE(start) + BigInt(epochMicros));
}

function writeWide(column: ColumnBuffer, row: number, micros: bigint): void {
  if (micros < microsMin || micros > microsMax) {
    column.setUnrepresentable(row);
    return;
  }
  column.i64[row] = micros;
  column.markPresent(row);
}

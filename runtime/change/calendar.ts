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

/** `YYYY-MM-DD`, the year of four digits or more; false for `infinity`. Leaves `at` behind it. */
function readDate(source: Uint8Array, start: number): boolean {
  at = start;
  if (source[at] < 48 || source[at] > 57) return false;
  let year = 0;
  for (; source[at] !== 45; at++) year = year * 10 + (source[at] - 48);
  const month = (source[at + 1] - 48) * 10 + (source[at + 2] - 48);
  const day = (source[at + 4] - 48) * 10 + (source[at + 5] - 48);
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

const isBeforeChrist = (source: Uint8Array, end: number) => source[end - 1] === 67; // "… BC"

/** date_out with DateStyle ISO. */
export function writeDateText(column: ColumnBuffer, row: number, source: Uint8Array, start: number, end: number): void {
  if (isBeforeChrist(source, end) || !readDate(source, start)) column.setUnrepresentable(row);
  else writeDays(column, row, days);
}

/** date_send: int32 days since 2000-01-01. */
export function writeDateBinary(column: ColumnBuffer, row: number, source: Buffer, start: number): void {
  writeDays(column, row, source.readInt32BE(start) + epochDays);
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
  if (isBeforeChrist(source, end) || !readDate(source, start) || days < daysMin || days > daysMax) {
    column.setUnrepresentable(row);
    return;
  }
  const pair = (offset: number) => (source[at + offset] - 48) * 10 + (source[at + offset + 1] - 48);
  const seconds = days * secondsPerDay + pair(1) * 3600 + pair(4) * 60 + pair(7);
  let micros = 0;
  if (source[at + 9] === 46) {
    let unit = 100_000;
    for (let digit = at + 10; digit < end && source[digit] >= 48 && source[digit] <= 57; digit++) {
      micros += (source[digit] - 48) * unit;
      unit /= 10;
    }
  }
  if (seconds > -secondsExactMax && seconds < secondsExactMax) column.setInteger(row, seconds * 1_000_000 + micros);
  else writeWide(column, row, BigInt(seconds) * 1_000_000n + BigInt(micros));
}

/** timestamp_send: int64 microseconds since 2000-01-01; its ends are the infinities. */
export function writeTimestampBinary(column: ColumnBuffer, row: number, source: Buffer, start: number): void {
  const high = source.readInt32BE(start);
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

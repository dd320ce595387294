import { int16At, MalformedBytes, uint16At } from "../postgres/message-bytes";
import type { ColumnBuffer } from "./column-buffer";

/**
 * PostgreSQL's numeric, in both its forms, to a scaled integer: what DuckDB and Parquet keep for DECIMAL(p, s).
 * Up to 15 digits are computed in a double, exactly; more in four 32-bit limbs.
 */
const powersOfTen = Array.from({ length: 16 }, (_, exponent) => 10 ** exponent);

/** |value| as limbs, least significant first; scratch of the one thread that decodes. */
const limbs = new Float64Array(4);
const limbBase = 4294967296;

/** limbs = limbs * factor + digits, factor at most 10^6: the product stays below 2^53. */
function multiplyAdd(factor: number, digits: number): void {
  let carry = digits;
  for (let index = 0; index < 4; index++) {
    const product = limbs[index] * factor + carry;
    carry = Math.floor(product / limbBase);
    limbs[index] = product - carry * limbBase;
  }
}

function multiplyByPowerOfTen(exponent: number): void {
  for (let left = exponent; left > 0; left -= 6) multiplyAdd(powersOfTen[Math.min(left, 6)], 0);
}

function writeLimbs(column: ColumnBuffer, row: number, negative: boolean): void {
  const words = column.width >> 2;
  let carry = 1;
  for (let index = 0; index < words; index++) {
    if (!negative) {
      column.i32[row * words + index] = limbs[index];
      continue;
    }
    const inverted = limbBase - 1 - limbs[index] + carry;
    carry = inverted >= limbBase ? 1 : 0;
    column.i32[row * words + index] = inverted >>> 0;
  }
  column.markPresent(row);
}

/** Digits, with a point at most, and one digit at least. */
function requireNumber(source: Uint8Array, start: number, end: number): void {
  let points = 0;
  for (let at = start; at < end; at++) {
    if ((source[at] - 48) >>> 0 <= 9) continue;
    if (source[at] !== 46 || points++ > 0) throw new MalformedBytes(at, "not a number");
  }
  if (end - start === points) throw new MalformedBytes(start, "not a number");
}

/** Digits with an optional sign and point, as numeric_out and int8out write them; `NaN` and `Infinity` don't fit. */
export function writeDecimalText(
  column: ColumnBuffer,
  row: number,
  source: Uint8Array,
  start: number,
  end: number,
  precision: number,
  scale: number,
): void {
  let at = start;
  const negative = source[at] === 45;
  if (negative) at++;
  // NaN, Infinity
  if ((source[at] === 78 && end - at === 3) || (source[at] === 73 && end - at === 8)) {
    column.setUnrepresentable(row);
    return;
  }
  requireNumber(source, at, end);
  while (at < end && source[at] === 48) at++;
  let point = at;
  while (point < end && source[point] !== 46) point++;
  let last = end;
  // Digits beyond the scale must be zeros.
  while (last > point + 1 + scale) {
    if (source[--last] !== 48) {
      column.setUnrepresentable(row);
      return;
    }
  }
  const wholeDigits = point - at;
  if (wholeDigits > precision - scale) {
    column.setUnrepresentable(row);
    return;
  }
  const fractionDigits = Math.max(0, last - point - 1);
  if (wholeDigits + scale <= 15) {
    let value = 0;
    for (; at < last; at++) if (at !== point) value = value * 10 + (source[at] - 48);
    value *= powersOfTen[scale - fractionDigits];
    column.setInteger(row, negative ? -value : value);
    return;
  }
  limbs.fill(0);
  let group = 0;
  let digits = 0;
  for (; at < last; at++) {
    if (at === point) continue;
    group = group * 10 + (source[at] - 48);
    if (++digits === 6) {
      multiplyAdd(1_000_000, group);
      group = 0;
      digits = 0;
    }
  }
  multiplyAdd(powersOfTen[digits], group);
  multiplyByPowerOfTen(scale - fractionDigits);
  writeLimbs(column, row, negative);
}

/** numeric_send: int16 digits, weight, sign, display scale, then base-10000 digits. */
export function writeDecimalBinary(
  column: ColumnBuffer,
  row: number,
  source: Buffer,
  start: number,
  end: number,
  precision: number,
  scale: number,
): void {
  if (end - start < 8) throw new MalformedBytes(start, `a numeric of ${end - start} bytes`);
  const count = int16At(source, start);
  if (end - start !== 8 + 2 * count)
    throw new MalformedBytes(start, `a numeric of ${count} digits in ${end - start} bytes`);
  const weight = int16At(source, start + 2);
  const sign = uint16At(source, start + 4);
  if (sign !== 0 && sign !== 0x4000) {
    if (sign !== 0xc000 && sign !== 0xd000 && sign !== 0xf000) {
      throw new MalformedBytes(start + 4, `a numeric's sign of ${sign}`);
    }
    column.setUnrepresentable(row);
    return;
  }
  const digitsAt = start + 8;
  let wholeDigits = 0;
  if (count > 0 && weight >= 0) {
    const first = uint16At(source, digitsAt);
    wholeDigits = weight * 4 + (first >= 1000 ? 4 : first >= 100 ? 3 : first >= 10 ? 2 : 1);
  }
  if (wholeDigits > precision - scale) {
    column.setUnrepresentable(row);
    return;
  }
  const narrow = wholeDigits + scale <= 15;
  let value = 0;
  if (!narrow) limbs.fill(0);
  /** decimal places that the digits read so far leave to the scale */
  let left = scale + 4 * (weight + 1);
  for (let index = 0; index < count; index++) {
    const group = uint16At(source, digitsAt + index * 2);
    if (group > 9_999) throw new MalformedBytes(digitsAt + index * 2, `a digit of ${group} in base 10,000`);
    let factor = 10_000;
    let digits = group;
    if (left < 4) {
      const kept = Math.max(left, 0);
      factor = powersOfTen[kept];
      const cut = powersOfTen[4 - kept];
      digits = Math.floor(group / cut);
      if (digits * cut !== group) {
        column.setUnrepresentable(row);
        return;
      }
    }
    left = Math.max(left - 4, 0);
    if (narrow) value = value * factor + digits;
    else multiplyAdd(factor, digits);
  }
  const negative = sign === 0x4000;
  if (narrow) {
    // Zero has no digits at all and may claim any weight.
    if (value !== 0) value *= powersOfTen[left];
    column.setInteger(row, negative && value !== 0 ? -value : value);
    return;
  }
  multiplyByPowerOfTen(count === 0 ? 0 : left);
  writeLimbs(column, row, negative);
}

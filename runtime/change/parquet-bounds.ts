import type { PlainPage } from "./parquet-page";
import { physicalTypes } from "./parquet-schema";

/** As statistics have them (parquet.thrift, `Statistics`): in the values' own encoding, without a length. */
export interface Bounds {
  min: Buffer;
  max: Buffer;
  isExact: boolean;
}

/** Least and greatest value of a column chunk, page by page. */
export interface BoundsCollector {
  add(page: PlainPage): void;
  /** null: there are none that are known */
  bounds(): Bounds | null;
}

/** For values of a physical type. Booleans have none. */
export function boundsCollector(physicalType: number, isText: boolean): BoundsCollector {
  switch (physicalType) {
    case physicalTypes.int32:
      return new Int32Bounds();
    case physicalTypes.int64:
      return new Int64Bounds();
    case physicalTypes.float:
      return new FloatBounds(4);
    case physicalTypes.double:
      return new FloatBounds(8);
    case physicalTypes.fixedLengthByteArray:
      return new Int128Bounds();
    case physicalTypes.byteArray:
      return new BytesBounds(isText);
    default:
      return { add: () => {}, bounds: () => null };
  }
}

class Int32Bounds implements BoundsCollector {
  private min = 0x7fffffff;
  private max = -0x80000000;
  private isEmpty = true;

  add({ buffer, valuesAt, values }: PlainPage): void {
    const { i32 } = buffer;
    let { min, max } = this;
    const first = valuesAt >> 2;
    for (let at = first; at < first + values; at++) {
      const value = i32[at];
      if (value < min) min = value;
      if (value > max) max = value;
    }
    this.min = min;
    this.max = max;
    this.isEmpty &&= values === 0;
  }

  bounds(): Bounds | null {
    if (this.isEmpty) return null;
    const [min, max] = [this.min, this.max].map((value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(value);
      return bytes;
    });
    return { min, max, isExact: true };
  }
}

/** In two words, for no number of JavaScript's holds them all. */
class Int64Bounds implements BoundsCollector {
  private minLow = -1;
  private minHigh = 0x7fffffff;
  private maxLow = 0;
  private maxHigh = -0x80000000;
  private isEmpty = true;

  add({ buffer, valuesAt, values }: PlainPage): void {
    const { i32 } = buffer;
    let { minLow, minHigh, maxLow, maxHigh } = this;
    const first = valuesAt >> 2;
    const end = first + 2 * values;
    for (let at = first; at < end; at += 2) {
      const low = i32[at];
      const high = i32[at + 1];
      if (high < minHigh || (high === minHigh && low >>> 0 < minLow >>> 0)) {
        minHigh = high;
        minLow = low;
      }
      if (high > maxHigh || (high === maxHigh && low >>> 0 > maxLow >>> 0)) {
        maxHigh = high;
        maxLow = low;
      }
    }
    this.minLow = minLow;
    this.minHigh = minHigh;
    this.maxLow = maxLow;
    this.maxHigh = maxHigh;
    this.isEmpty &&= values === 0;
  }

  bounds(): Bounds | null {
    if (this.isEmpty) return null;
    const words = (low: number, high: number) => {
      const bytes = Buffer.alloc(8);
      bytes.writeInt32LE(low);
      bytes.writeInt32LE(high, 4);
      return bytes;
    };
    return { min: words(this.minLow, this.minHigh), max: words(this.maxLow, this.maxHigh), isExact: true };
  }
}

/** NaN has no place in the order, so with one there are no bounds; a zero stands for both zeros (`ColumnOrder`). */
class FloatBounds implements BoundsCollector {
  private min = Number.POSITIVE_INFINITY;
  private max = Number.NEGATIVE_INFINITY;
  private isKnown = false;
  private hasNaN = false;

  constructor(private readonly width: 4 | 8) {}

  add({ buffer, valuesAt, values }: PlainPage): void {
    const source = this.width === 4 ? buffer.f32 : buffer.f64;
    let { min, max } = this;
    const first = valuesAt / this.width;
    for (let at = first; at < first + values; at++) {
      const value = source[at];
      if (value < min) min = value;
      if (value > max) max = value;
      if (Number.isNaN(value)) this.hasNaN = true;
    }
    this.min = min;
    this.max = max;
    this.isKnown ||= values > 0;
  }

  bounds(): Bounds | null {
    if (!this.isKnown || this.hasNaN) return null;
    const encode = (value: number) => {
      const bytes = Buffer.alloc(this.width);
      if (this.width === 4) bytes.writeFloatLE(value);
      else bytes.writeDoubleLE(value);
      return bytes;
    };
    return { min: encode(this.min === 0 ? -0 : this.min), max: encode(this.max === 0 ? 0 : this.max), isExact: true };
  }
}

const wideBytes = 16;

/** Two's complement, most significant byte first. */
class Int128Bounds implements BoundsCollector {
  private min: Buffer | null = null;
  private max: Buffer | null = null;

  add({ buffer: { bytes }, valuesAt, end }: PlainPage): void {
    for (let at = valuesAt; at < end; at += wideBytes) {
      if (this.min === null || this.max === null) {
        this.min = Buffer.from(bytes.subarray(at, at + wideBytes));
        this.max = Buffer.from(this.min);
      } else if (compareSigned(bytes, at, this.min) < 0) bytes.copy(this.min, 0, at, at + wideBytes);
      else if (compareSigned(bytes, at, this.max) > 0) bytes.copy(this.max, 0, at, at + wideBytes);
    }
  }

  bounds(): Bounds | null {
    return this.min === null || this.max === null ? null : { min: this.min, max: this.max, isExact: true };
  }
}

function compareSigned(bytes: Buffer, at: number, other: Buffer): number {
  const order = (bytes[at] ^ 0x80) - (other[0] ^ 0x80);
  if (order !== 0) return order;
  for (let index = 1; index < wideBytes; index++) {
    const difference = bytes[at + index] - other[index];
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Of longer texts the beginning is kept: readers of ours look no further. */
const prefixBytes = 32;

/** In the order of bytes. What is cut lies outside the values. */
class BytesBounds implements BoundsCollector {
  private readonly min = new Uint8Array(prefixBytes);
  private minLength = -1;
  private readonly max = new Uint8Array(prefixBytes);
  private maxLength = -1;

  constructor(private readonly isText: boolean) {}

  add({ buffer: { bytes }, valuesAt, end }: PlainPage): void {
    for (let at = valuesAt; at < end; ) {
      const length = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24);
      at += 4;
      const prefix = length < prefixBytes ? length : prefixBytes;
      const aboveMin = this.minLength < 0 ? -1 : comparePrefix(bytes, at, prefix, this.min, this.minLength);
      if (aboveMin < 0) {
        this.min.set(bytes.subarray(at, at + prefix));
        this.minLength = prefix;
      }
      // A value that is the least is seldom the greatest too.
      if (aboveMin !== 0 && comparePrefix(bytes, at, prefix, this.max, this.maxLength) > 0) {
        this.max.set(bytes.subarray(at, at + prefix));
        this.maxLength = prefix;
      }
      at += length;
    }
  }

  bounds(): Bounds | null {
    if (this.minLength < 0) return null;
    const min = Buffer.from(this.min.subarray(0, this.minLength));
    const max = Buffer.from(this.max.subarray(0, this.maxLength));
    const isMinCut = min.length === prefixBytes;
    const isMaxCut = max.length === prefixBytes;
    const above = isMaxCut ? (this.isText ? textAbove(max) : bytesAbove(max)) : max;
    if (above === null) return null;
    return { min: isMinCut && this.isText ? wholeCharacters(min) : min, max: above, isExact: !isMinCut && !isMaxCut };
  }
}

function comparePrefix(bytes: Buffer, at: number, length: number, other: Uint8Array, otherLength: number): number {
  const common = length < otherLength ? length : otherLength;
  for (let index = 0; index < common; index++) {
    const difference = bytes[at + index] - other[index];
    if (difference !== 0) return difference;
  }
  return length - otherLength;
}

/** UTF-8 without a character whose end is cut off. */
function wholeCharacters(prefix: Buffer): Buffer {
  let start = prefix.length;
  while (start > 0 && (prefix[start - 1] & 0xc0) === 0x80) start--;
  if (start === 0) return prefix.subarray(0, 0);
  const lead = prefix[start - 1];
  const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return start - 1 + length <= prefix.length ? prefix : prefix.subarray(0, start - 1);
}

/** A text above every one with this beginning: its last ASCII character raised by one. */
function textAbove(prefix: Buffer): Buffer | null {
  return raiseLast(prefix, (byte) => byte < 0x7e);
}

function bytesAbove(prefix: Buffer): Buffer | null {
  return raiseLast(prefix, (byte) => byte < 0xff);
}

function raiseLast(prefix: Buffer, canRise: (byte: number) => boolean): Buffer | null {
  for (let at = prefix.length - 1; at >= 0; at--) {
    if (!canRise(prefix[at])) continue;
    const above = Buffer.from(prefix.subarray(0, at + 1));
    above[at]++;
    return above;
  }
  return null;
}

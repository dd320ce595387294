import { SluiceError } from "../errors";
import { UnrepresentableValue } from "./unrepresentable-value";

/** How a column's values lie in memory: little-endian, i128 in two's complement; `bytes` as Parquet's PLAIN encoding has them. */
export type Storage = "i8" | "i16" | "i32" | "i64" | "i128" | "f32" | "f64" | "bytes" | "list";

export interface ListStorage {
  /** of the elements; not `list` */
  element: Storage;
  /** whether a list whose bounds would be lost is one that the type can't hold: in a key, where it is told from others by them */
  boundsMatter: boolean;
}

/** Offsets into a heap have 32 bits. */
export const heapBytesMax = 0xffff_ffff;

/** in front of each value of a heap */
const lengthBytes = 4;

const roomyBytesMax = 256 * 1024 * 1024;

const widths: Record<Storage, number> = { i8: 1, i16: 2, i32: 4, i64: 8, i128: 16, f32: 4, f64: 8, bytes: 0, list: 0 };

const firstElements = 1024;

/** No object for each value: one column's values, from which pages are copied as they are. Rows are written in order. */
export class ColumnBuffer {
  /** bytes of a value; 0 for `bytes` and `list` */
  readonly width: number;
  /** bit set = value present, least significant first */
  validity: Uint8Array;
  values: ArrayBuffer;
  i8: Int8Array;
  i16: Int16Array;
  i32: Int32Array;
  i64: BigInt64Array;
  f32: Float32Array;
  f64: Float64Array;
  /**
   * Where row n's value ends: of `bytes` in `heap`, its length (uint32) in front of it; of `list` in `elements`. It starts
   * where row n-1's ends.
   */
  ends: Uint32Array;
  heap: Buffer;
  heapLength = 0;
  /** of `list`: the values of all rows' lists, one after the other; null for any other storage */
  readonly elements: ColumnBuffer | null;
  elementCount = 0;
  /** values that the type can't hold */
  unrepresentable = 0;

  constructor(
    readonly storage: Storage,
    capacity: number,
    /** what becomes of a value that the type can't hold: NULL, or it is refused */
    private readonly unrepresentableIs: "null" | "refused" = "null",
    /** of `list` */
    private readonly list: ListStorage | null = null,
  ) {
    this.width = widths[storage];
    this.validity = new Uint8Array(capacity / 8);
    this.ends = new Uint32Array(this.width === 0 ? capacity : 0);
    this.elements = list === null ? null : new ColumnBuffer(list.element, firstElements, unrepresentableIs);
    this.heap = storage === "bytes" ? Buffer.allocUnsafeSlow(capacity * 12) : Buffer.alloc(0);
    this.values = new ArrayBuffer(capacity * this.width);
    this.i8 = new Int8Array(this.values);
    this.i16 = new Int16Array(this.width >= 2 ? this.values : new ArrayBuffer(0));
    this.i32 = new Int32Array(this.width >= 4 ? this.values : new ArrayBuffer(0));
    this.f32 = new Float32Array(this.i32.buffer);
    this.i64 = new BigInt64Array(this.width >= 8 ? this.values : new ArrayBuffer(0));
    this.f64 = new Float64Array(this.i64.buffer);
  }

  /** Makes room for `capacity` rows, a multiple of 8. */
  grow(capacity: number): void {
    const validity = new Uint8Array(capacity / 8);
    validity.set(this.validity);
    this.validity = validity;
    if (this.width === 0) {
      const ends = new Uint32Array(capacity);
      ends.set(this.ends);
      this.ends = ends;
      return;
    }
    const values = new ArrayBuffer(capacity * this.width);
    new Uint8Array(values).set(new Uint8Array(this.values));
    this.values = values;
    this.i8 = new Int8Array(values);
    if (this.width >= 2) this.i16 = new Int16Array(values);
    if (this.width >= 4) {
      this.i32 = new Int32Array(values);
      this.f32 = new Float32Array(values);
    }
    if (this.width >= 8) {
      this.i64 = new BigInt64Array(values);
      this.f64 = new Float64Array(values);
    }
  }

  /** What the buffers take. */
  get memoryBytes(): number {
    const own = this.values.byteLength + this.validity.byteLength + this.ends.byteLength + this.heap.length;
    return own + (this.elements?.memoryBytes ?? 0);
  }

  /** What the elements of lists take. */
  get elementBytes(): number {
    return this.elements === null ? 0 : this.elementCount * this.elements.width + this.elements.heapLength;
  }

  /** Forgets the rows from `rows` on. */
  truncate(rows: number): void {
    const byte = rows >> 3;
    this.validity[byte] &= (1 << (rows & 7)) - 1;
    this.validity.fill(0, byte + 1);
    if (this.width > 0) return;
    const end = rows === 0 ? 0 : this.ends[rows - 1];
    if (this.elements === null) this.heapLength = end;
    else {
      this.elementCount = end;
      this.elements.truncate(end);
    }
  }

  /** Empties it for other rows. Memory is kept; where a row is NULL the value of before stands, which nobody reads. */
  reset(): void {
    this.validity.fill(0);
    this.heapLength = 0;
    this.elementCount = 0;
    this.elements?.reset();
    this.unrepresentable = 0;
  }

  markPresent(row: number): void {
    this.validity[row >> 3] |= 1 << (row & 7);
  }

  /** NULL. */
  setNull(row: number): void {
    if (this.width === 0) this.ends[row] = this.elements === null ? this.heapLength : this.elementCount;
  }

  /** Room for one more element of the list that is being written. @returns its row in `elements` */
  addElement(): number {
    if (this.elementCount === (this.elements as ColumnBuffer).validity.length * 8) this.reserveElements(1);
    return this.elementCount++;
  }

  /** Room for so many more: of a large list what it needs, at once, as to double would waste as much again. */
  reserveElements(count: number): void {
    const elements = this.elements as ColumnBuffer;
    const needed = this.elementCount + count;
    const capacity = elements.validity.length * 8;
    if (needed <= capacity) return;
    elements.grow(count > capacity ? (needed + 7) & ~7 : capacity * 2);
  }

  /** The list of row `row` has the elements that were added since the row before. */
  finishList(row: number): void {
    this.ends[row] = this.elementCount;
    this.markPresent(row);
  }

  /** A list that begins at another number than 1 is read; its elements aren't added yet. @throws UnrepresentableValue */
  loseBounds(): void {
    if (this.list?.boundsMatter === true) throw new UnrepresentableValue();
  }

  /** Values of `list` and its elements that the type can't hold. */
  get unrepresentableValues(): number {
    return this.unrepresentable + (this.elements?.unrepresentable ?? 0);
  }

  /**
   * NULL, counted as a value that the type can't hold.
   * @throws UnrepresentableValue where that is refused
   */
  setUnrepresentable(row: number): void {
    if (this.unrepresentableIs === "refused") throw new UnrepresentableValue();
    this.unrepresentable++;
    this.setNull(row);
  }

  setBytes(row: number, source: Uint8Array, start: number, end: number): void {
    const length = end - start;
    let at = this.beginBytes(length);
    const { heap } = this;
    // A native call costs more than it copies for short values.
    if (length < 32) for (let from = start; from < end; from++) heap[at++] = source[from];
    else {
      heap.set(source.subarray(start, end), at);
      at += length;
    }
    this.endBytes(row, at);
  }

  /** Room for a value of `length` bytes. @returns where in `heap` it is to be written */
  beginBytes(length: number): number {
    this.reserve(lengthBytes + length);
    const { heap, heapLength: at } = this;
    heap[at] = length;
    heap[at + 1] = length >>> 8;
    heap[at + 2] = length >>> 16;
    heap[at + 3] = length >>> 24;
    return at + lengthBytes;
  }

  endBytes(row: number, end: number): void {
    this.heapLength = end;
    this.ends[row] = end;
    this.markPresent(row);
  }

  reserve(length: number): void {
    const needed = this.heapLength + length;
    if (needed <= this.heap.length) return;
    if (needed > heapBytesMax) {
      throw new SluiceError("internal", `a column's values of ${needed} bytes don't fit into one batch`, {
        remedy: "Lower batch.bytesMax or batch.rowsMax.",
      });
    }
    // A large value takes what it needs: to double would waste as much again.
    const roomy = needed > roomyBytesMax ? needed : this.heap.length * 2;
    const heap = Buffer.allocUnsafeSlow(Math.max(roomy, needed));
    heap.set(this.heap.subarray(0, this.heapLength));
    this.heap = heap;
  }

  /** A whole number of at most 53 bits into an i16, i32 or i64 column, or i128. */
  setInteger(row: number, value: number): void {
    switch (this.width) {
      case 1:
        this.i8[row] = value;
        break;
      case 2:
        this.i16[row] = value;
        break;
      case 4:
        this.i32[row] = value;
        break;
      case 8:
        this.i32[row * 2] = value >>> 0;
        this.i32[row * 2 + 1] = Math.floor(value / 4294967296);
        break;
      default: {
        const sign = value < 0 ? -1 : 0;
        this.i32[row * 4] = value >>> 0;
        this.i32[row * 4 + 1] = Math.floor(value / 4294967296);
        this.i32[row * 4 + 2] = sign;
        this.i32[row * 4 + 3] = sign;
      }
    }
    this.markPresent(row);
  }
}

const stop = 0;
const listType = 9;
const structType = 12;

/** Types of the elements of a list, by their numbers. */
export const thriftType = { i32: 5, binary: 8, struct: structType } as const;

/**
 * Thrift's compact protocol, as far as Parquet's metadata needs it (Apache Thrift, "Thrift compact protocol encoding").
 * Fields of a struct are written in the order of their ids.
 */
export class ThriftCompact {
  private buffer = Buffer.allocUnsafe(256);
  private length = 0;
  private fieldId = 0;

  bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** Only where it is known. */
  boolean(id: number, value: boolean | undefined): this {
    return value === undefined ? this : this.field(id, value ? 1 : 2);
  }

  /** Also enums. Only where it is known. */
  i32(id: number, value: number | undefined): this {
    return value === undefined ? this : this.field(id, thriftType.i32).zigzag(value);
  }

  /** Up to 53 bits. */
  i64(id: number, value: number): this {
    return this.field(id, 6).zigzag(value);
  }

  /** A byte. */
  i8(id: number, value: number): this {
    return this.field(id, 3).push(value);
  }

  binary(id: number, value: Uint8Array | string): this {
    return this.field(id, thriftType.binary).blob(value);
  }

  struct(id: number, write: (thrift: ThriftCompact) => void): this {
    return this.field(id, structType).fields(write);
  }

  /** The fields of a struct, then its end. */
  fields(write: (thrift: ThriftCompact) => void): this {
    const outer = this.fieldId;
    this.fieldId = 0;
    write(this);
    this.fieldId = outer;
    return this.push(stop);
  }

  list<T>(
    id: number,
    elementType: number,
    values: readonly T[],
    write: (thrift: ThriftCompact, value: T) => void,
  ): this {
    this.field(id, listType);
    if (values.length < 15) this.push((values.length << 4) | elementType);
    else this.push(0xf0 | elementType).varint(values.length);
    for (const value of values) write(this, value);
    return this;
  }

  /** An element of a list, here and below. */
  zigzag(value: number): this {
    return this.varint(value < 0 ? -2 * value - 1 : 2 * value);
  }

  blob(value: Uint8Array | string): this {
    const bytes = typeof value === "string" ? Buffer.from(value) : value;
    this.varint(bytes.length).reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  private field(id: number, type: number): this {
    const delta = id - this.fieldId;
    this.fieldId = id;
    return this.push((delta << 4) | type);
  }

  private varint(value: number): this {
    let left = value;
    while (left >= 128) {
      this.push((left % 128) | 128);
      left = Math.floor(left / 128);
    }
    return this.push(left);
  }

  private push(byte: number): this {
    this.reserve(1);
    this.buffer[this.length++] = byte;
    return this;
  }

  private reserve(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + bytes));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }
}

/** Bytes that PostgreSQL's protocol doesn't allow, found at `at` of the buffer; who knows the message says which it was. */
export class MalformedBytes extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message);
    this.name = "MalformedBytes";
  }
}

/** Big-endian, of bytes that are known to be there: Buffer's own readers look again. Here and below. */
export function int16At(buffer: Uint8Array, at: number): number {
  return ((buffer[at] << 24) >> 16) | buffer[at + 1];
}

export function uint16At(buffer: Uint8Array, at: number): number {
  return (buffer[at] << 8) | buffer[at + 1];
}

export function int32At(buffer: Uint8Array, at: number): number {
  return (buffer[at] << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3];
}

/**
 * Reads the fields of one message in order, each within the message's bounds. One such reader serves a whole stream:
 * no object is made for a message.
 */
export class MessageBytes {
  at = 0;
  private buffer: Buffer = Buffer.alloc(0);
  private end = 0;

  /** The next reads are of `buffer[at, end)`. */
  open(buffer: Buffer, at: number, end: number): void {
    this.buffer = buffer;
    this.at = at;
    this.end = end;
  }

  uint8(): number {
    return this.buffer[this.take(1, "a byte")];
  }

  int16(): number {
    return this.buffer.readInt16BE(this.take(2, "an int16"));
  }

  int32(): number {
    return this.buffer.readInt32BE(this.take(4, "an int32"));
  }

  uint32(): number {
    return this.buffer.readUInt32BE(this.take(4, "an int32"));
  }

  int64(): bigint {
    return this.buffer.readBigInt64BE(this.take(8, "an int64"));
  }

  uint64(): bigint {
    return this.buffer.readBigUInt64BE(this.take(8, "an int64"));
  }

  /** A string that ends with a zero byte. */
  text(): string {
    const zero = this.buffer.indexOf(0, this.at);
    if (zero === -1 || zero >= this.end) throw new MalformedBytes(this.at, "a string without its end");
    const value = this.buffer.toString("utf8", this.at, zero);
    this.at = zero + 1;
    return value;
  }

  /** A copy of that many bytes, which were announced at `announcedAt`. */
  bytes(count: number, announcedAt: number): Buffer {
    if (count < 0 || count > this.end - this.at) {
      throw new MalformedBytes(announcedAt, `a length of ${count}, where ${this.end - this.at} bytes follow`);
    }
    const start = this.at;
    this.at += count;
    return Buffer.from(this.buffer.subarray(start, this.at));
  }

  /** How many entries of at least `bytesMin` follow: a count that can't be true is refused before anything is made. */
  count(value: number, bytesMin: number, announcedAt: number): number {
    if (value < 0 || value * bytesMin > this.end - this.at) {
      throw new MalformedBytes(announcedAt, `a count of ${value}, where ${this.end - this.at} bytes follow`);
    }
    return value;
  }

  /** The message must end here. */
  close(): void {
    if (this.at !== this.end) throw new MalformedBytes(this.at, `${this.end - this.at} bytes too many`);
  }

  private take(count: number, what: string): number {
    const { at } = this;
    if (count > this.end - at) throw new MalformedBytes(at, `cut off where ${what} should be`);
    this.at = at + count;
    return at;
  }
}

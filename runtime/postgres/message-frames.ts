import { MalformedBytes } from "./message-bytes";

/** kind, length */
export const frameHeadBytes = 5;
/** A server makes no message in more memory than that (PostgreSQL's MaxAllocSize, 1 GiB - 1). */
const lengthMax = 0x3fff_ffff;
const carryBytes = 64 * 1024;
const carryBytesMax = 1024 * 1024;

export interface MessageHandler {
  /** Whether messages of this kind are taken; the first that isn't ends the reading. */
  accepts(kind: number): boolean;
  /** A whole message; its content is `buffer[start, end)`, its head before it; valid during the call only. */
  onMessage(kind: number, buffer: Buffer, start: number, end: number): void;
}

/**
 * Cuts what a server sends into messages without an object for each (PostgreSQL documentation, section 55.1.1
 * "Messaging Overview"). Chunks aren't kept: what is cut off at a chunk's end is copied.
 */
export class MessageFrames {
  /** the beginning of a message, `carry[0, carried)` */
  private carry = Buffer.allocUnsafeSlow(carryBytes);
  private carried = 0;

  constructor(private readonly handler: MessageHandler) {}

  /**
   * @returns the bytes from the first message on that isn't accepted, or null
   * @throws MalformedBytes, and what the handler throws
   */
  read(chunk: Buffer): Buffer | null {
    let at = 0;
    if (this.carried > 0) {
      at = this.fill(chunk, at, frameHeadBytes);
      if (this.carried < frameHeadBytes) return null;
      const bytes = messageBytes(this.carry, 0);
      at = this.fill(chunk, at, bytes);
      if (this.carried < bytes) return null;
      this.carried = 0;
      this.handler.onMessage(this.carry[0], this.carry, frameHeadBytes, bytes);
      if (this.carry.length > carryBytesMax) this.carry = Buffer.allocUnsafeSlow(carryBytes);
    }
    const { length } = chunk;
    while (at < length) {
      const kind = chunk[at];
      if (!this.handler.accepts(kind)) return chunk.subarray(at);
      const left = length - at;
      const bytes = left < frameHeadBytes ? frameHeadBytes : messageBytes(chunk, at);
      if (bytes > left) {
        this.fill(chunk, at, bytes);
        return null;
      }
      this.handler.onMessage(kind, chunk, at + frameHeadBytes, at + bytes);
      at += bytes;
    }
    return null;
  }

  /** Carries bytes of the chunk until the message has `bytes`, or the chunk ends. @returns where it stopped */
  private fill(chunk: Buffer, at: number, bytes: number): number {
    const end = Math.min(chunk.length, at + bytes - this.carried);
    if (end <= at) return at;
    this.makeRoom(this.carried + end - at, bytes);
    chunk.copy(this.carry, this.carried, at, end);
    this.carried += end - at;
    return end;
  }

  /** As they come: a length may be damaged. */
  private makeRoom(needed: number, bytesMax: number): void {
    if (needed <= this.carry.length) return;
    const carry = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(2 * needed, bytesMax)));
    this.carry.copy(carry, 0, 0, this.carried);
    this.carry = carry;
  }
}

/** Of the whole message whose head is at `at`. */
function messageBytes(buffer: Buffer, at: number): number {
  const length = buffer.readInt32BE(at + 1);
  if (length < 4 || length > lengthMax) throw new MalformedBytes(1, `a length of ${length}`);
  return 1 + length;
}

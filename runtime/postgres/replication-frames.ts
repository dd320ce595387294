import type { Socket } from "node:net";
import { SluiceError } from "../errors";
import type { Lsn } from "./lsn";
import { MalformedBytes } from "./message-bytes";

export interface FrameHandler {
  /** A message of the plug-in, `buffer[start, end)`; its bytes may be reused after the call. */
  onMessage(buffer: Buffer, start: number, end: number): void;
  onKeepalive(lsn: Lsn, replyRequested: boolean): void;
  /** bytes came, of whatever kind */
  onHeard(): void;
  /** what a handler threw, or a `SluiceError` `protocol`; nothing more is read */
  onFailed(error: unknown): void;
}

const copyData = 100; // d
const xLogData = 119; // w
const keepalive = 107; // k
/** XLogData's header: kind, start, end of WAL, clock */
const xLogHeader = 1 + 8 + 8 + 8;
const keepaliveBytes = 1 + 8 + 8 + 1;

/**
 * Reads what the server sends in a replication connection straight from its socket, without an object for each message
 * (PostgreSQL documentation, section 55.4 "Streaming Replication Protocol"). CopyData is taken here; every other message
 * goes on to the client's own parser, whole and in order.
 */
export class ReplicationFrames {
  private readonly parsers: ((chunk: Buffer) => void)[];
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private neededBytes = 5;
  private failed = false;

  /** To be made while the server owes no answer: then no message is cut in two. */
  constructor(
    private readonly socket: Socket,
    private readonly handler: FrameHandler,
  ) {
    this.parsers = socket.listeners("data") as ((chunk: Buffer) => void)[];
    for (const parser of this.parsers) socket.off("data", parser);
    socket.on("data", this.read);
  }

  readonly read = (chunk: Buffer): void => {
    if (this.failed) return;
    this.handler.onHeard();
    let buffer = chunk;
    if (this.pendingBytes > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      if (this.pendingBytes < this.neededBytes) return;
      buffer = Buffer.concat(this.pending, this.pendingBytes);
      this.pending = [];
      this.pendingBytes = 0;
    }
    try {
      this.readFrames(buffer);
    } catch (error) {
      this.failed = true;
      this.handler.onFailed(error);
    }
  };

  private readFrames(buffer: Buffer): void {
    let at = 0;
    for (;;) {
      const left = buffer.length - at;
      if (left < 5) {
        this.keep(buffer, at, 5);
        return;
      }
      const length = buffer.readInt32BE(at + 1);
      if (length < 4) throw malformed(buffer[at], new MalformedBytes(1, `a length of ${length}`));
      const end = at + 1 + length;
      if (end > buffer.length) {
        this.keep(buffer, at, end - at);
        return;
      }
      if (buffer[at] === copyData) this.readCopyData(buffer, at + 5, end);
      else for (const parser of this.parsers) parser.call(this.socket, Buffer.from(buffer.subarray(at, end)));
      at = end;
    }
  }

  private keep(buffer: Buffer, at: number, neededBytes: number): void {
    if (at < buffer.length) this.pending.push(buffer.subarray(at));
    this.pendingBytes = buffer.length - at;
    this.neededBytes = neededBytes;
  }

  private readCopyData(buffer: Buffer, start: number, end: number): void {
    const kind = start < end ? buffer[start] : -1;
    if (kind === xLogData && end - start > xLogHeader) {
      this.handler.onMessage(buffer, start + xLogHeader, end);
      return;
    }
    if (kind === keepalive && end - start === keepaliveBytes) {
      this.handler.onKeepalive(buffer.readBigUInt64BE(start + 1) as Lsn, buffer[start + 17] === 1);
      return;
    }
    const what = kind === xLogData || kind === keepalive ? "a wrong length" : `unknown kind ${kind}`;
    throw malformed(copyData, new MalformedBytes(5, `${what}, ${end - start} bytes of content`));
  }
}

function malformed(kind: number, cause: MalformedBytes): SluiceError {
  return new SluiceError(
    "protocol",
    `replication connection: malformed message of type ${JSON.stringify(String.fromCharCode(kind))}: ${cause.message} (at byte ${cause.at})`,
    { remedy: "Restart the gateway; if it comes again, look for what changes bytes on the way to the server.", cause },
  );
}

import type { Socket } from "node:net";
import { SluiceError } from "../errors";
import type { Lsn } from "./lsn";
import { MalformedBytes } from "./message-bytes";
import { frameHeadBytes, MessageFrames } from "./message-frames";
import { SocketDiversion } from "./source-socket";

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
  private readonly diversion: SocketDiversion;
  private readonly frames: MessageFrames;
  private kind = 0;
  private failed = false;

  /** To be made while the server owes no answer: then no message is cut in two. */
  constructor(
    socket: Socket,
    private readonly handler: FrameHandler,
  ) {
    this.frames = new MessageFrames({
      accepts: (kind) => {
        this.kind = kind;
        return true;
      },
      onMessage: (kind, buffer, start, end) => {
        if (kind === copyData) this.readCopyData(buffer, start, end);
        else this.diversion.pass(buffer.subarray(start - frameHeadBytes, end));
      },
    });
    this.diversion = new SocketDiversion(socket, this.read);
  }

  readonly read = (chunk: Buffer): void => {
    if (this.failed) return;
    this.handler.onHeard();
    try {
      this.frames.read(chunk);
    } catch (error) {
      this.failed = true;
      this.handler.onFailed(error instanceof MalformedBytes ? malformed(this.kind, error) : error);
    }
  };

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

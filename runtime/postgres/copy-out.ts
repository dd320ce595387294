import type { Socket } from "node:net";
import type { Client, Connection, Submittable } from "pg";
import { SluiceError } from "../errors";
import { socketOf } from "./client";
import { withConnectionState } from "./source-error";

/** Takes the payload of one CopyData message, valid during the call only; false asks to be paused. */
export type CopyDataHandler = (buffer: Buffer, start: number, end: number) => boolean;

const copyData = 100; // d
/** CopyOutResponse, and what a server may send at any time: notice, parameter status, notification */
const skipped = new Set([72, 78, 83, 65]);

/**
 * Runs a COPY … TO STDOUT. While data comes, the socket is read here, without an object for each message; all else
 * stays with pg (PostgreSQL documentation, section 55.2.7 "COPY Operations").
 */
class CopyOut implements Submittable {
  readonly done: Promise<void>;
  private resolve!: () => void;
  private reject!: (error: Error) => void;
  private error: Error | null = null;
  private parsers: ((chunk: Buffer) => void)[] = [];
  private pending: Buffer[] = [];
  private pendingBytes = 0;
  private neededBytes = 5;

  constructor(
    private readonly sql: string,
    private readonly onData: CopyDataHandler,
    private readonly stream: Socket,
  ) {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  submit(connection: Connection): void {
    this.parsers = this.stream.listeners("data") as ((chunk: Buffer) => void)[];
    this.stream.on("data", this.read);
    for (const parser of this.parsers) this.stream.off("data", parser);
    connection.query(this.sql);
  }

  resume(): void {
    this.stream.resume();
  }

  /** pg's parser takes over again, from these bytes on. */
  private giveBack(rest: Buffer): void {
    this.stream.off("data", this.read);
    for (const parser of this.parsers) {
      this.stream.on("data", parser);
      if (rest.length > 0) parser.call(this.stream, rest);
    }
  }

  private readonly read = (chunk: Buffer): void => {
    let buffer = chunk;
    if (this.pendingBytes > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      if (this.pendingBytes < this.neededBytes) return;
      buffer = Buffer.concat(this.pending, this.pendingBytes);
      this.pending = [];
      this.pendingBytes = 0;
    }
    let at = 0;
    for (;;) {
      const left = buffer.length - at;
      if (left < 5) {
        this.keep(buffer, at, 5);
        return;
      }
      const kind = buffer[at];
      if (kind !== copyData && !skipped.has(kind)) {
        this.giveBack(buffer.subarray(at));
        return;
      }
      const length = buffer.readInt32BE(at + 1);
      if (length < 4) {
        this.fail(
          new SluiceError("protocol", `COPY: a message of ${length} bytes, shorter than its own length (at byte 1)`),
        );
        return;
      }
      const end = at + 1 + length;
      if (end > buffer.length) {
        this.keep(buffer, at, end - at);
        return;
      }
      if (kind === copyData && this.error === null) this.take(buffer, at + 5, end);
      at = end;
    }
  };

  private keep(buffer: Buffer, at: number, neededBytes: number): void {
    if (at < buffer.length) this.pending.push(buffer.subarray(at));
    this.pendingBytes = buffer.length - at;
    this.neededBytes = neededBytes;
  }

  private take(buffer: Buffer, start: number, end: number): void {
    try {
      if (!this.onData(buffer, start, end)) this.stream.pause();
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** The rest of the data is thrown away; the connection stays usable only for its end. */
  private fail(error: Error): void {
    this.error = error;
    this.stream.destroy();
    this.reject(error);
  }

  handleError(error: Error): void {
    this.reject(this.error ?? error);
  }

  handleReadyForQuery(): void {
    this.resolve();
  }

  handleCommandComplete(): void {}
  handleRowDescription(): void {}
  handleDataRow(): void {}
  handlePortalSuspended(): void {}
  handleEmptyQuery(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {
    this.reject(new SluiceError("internal", "rows of a COPY came after its end"));
  }
}

export interface CopyOutOptions {
  signal: AbortSignal;
  onData: CopyDataHandler;
}

export interface RunningCopy {
  done: Promise<void>;
  /** goes on after `onData` said false */
  resume(): void;
}

/** Starts it. When the signal aborts or `onData` throws, the connection is destroyed. */
export function copyOut(client: Client, sql: string, { signal, onData }: CopyOutOptions): RunningCopy {
  signal.throwIfAborted();
  const stream = (client as unknown as { connection: { stream: Socket } }).connection.stream;
  const copy = new CopyOut(sql, onData, stream);
  const abort = () => stream.destroy();
  const closed = () =>
    copy.handleError(new SluiceError("unreachable", "the source closed the connection during a COPY"));
  stream.once("close", closed);
  signal.addEventListener("abort", abort, { once: true });
  client.query(copy);
  return {
    done: copy.done
      .catch((error: unknown) => {
        throw withConnectionState(error, socketOf(client));
      })
      .finally(() => {
        signal.removeEventListener("abort", abort);
        stream.off("close", closed);
      }),
    resume: () => copy.resume(),
  };
}

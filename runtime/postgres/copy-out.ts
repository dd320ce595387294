import type { Socket } from "node:net";
import type { Client, Connection, Submittable } from "pg";
import { SluiceError } from "../errors";
import { withClientState } from "./client";
import { MalformedBytes } from "./message-bytes";
import { MessageFrames } from "./message-frames";
import { lostConnectionRemedy } from "./source-error";
import { SocketDiversion } from "./source-socket";

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
  private diversion: SocketDiversion | null = null;
  private readonly frames = new MessageFrames({
    accepts: (kind) => kind === copyData || skipped.has(kind),
    onMessage: (kind, buffer, start, end) => {
      if (kind === copyData && this.error === null) this.take(buffer, start, end);
    },
  });

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
    this.diversion = new SocketDiversion(this.stream, this.read);
    connection.query(this.sql);
  }

  resume(): void {
    this.stream.resume();
  }

  private readonly read = (chunk: Buffer): void => {
    try {
      const rest = this.frames.read(chunk);
      if (rest === null) return;
      // pg's parser takes over again.
      this.diversion?.end();
      this.diversion?.pass(rest);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      this.fail(
        new SluiceError(
          "protocol",
          `COPY: a message that can't be told from the next: ${error.message} (at byte ${error.at})`,
          {
            remedy:
              "The table is copied again by itself; if it comes again, look for what changes bytes on the way to the server.",
          },
        ),
      );
    }
  };

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
    copy.handleError(
      new SluiceError("unreachable", "the source closed the connection during a COPY", {
        remedy: lostConnectionRemedy,
      }),
    );
  stream.once("close", closed);
  signal.addEventListener("abort", abort, { once: true });
  client.query(copy);
  return {
    done: copy.done
      .catch((error: unknown) => {
        throw withClientState(error, client);
      })
      .finally(() => {
        signal.removeEventListener("abort", abort);
        stream.off("close", closed);
      }),
    resume: () => copy.resume(),
  };
}

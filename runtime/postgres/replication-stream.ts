import type { Socket } from "node:net";
import type { Client, Connection } from "pg";
import { LogicalReplicationService } from "pg-logical-replication";
import type { SourceConfig } from "../config";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { clientConfig } from "./client";
import { quoteIdentifier, quoteLiteral } from "./identifier";
import { formatLsn, type Lsn, lsnZero } from "./lsn";
import { type FrameHandler, ReplicationFrames } from "./replication-frames";
import { pinSession } from "./session-settings";
import { lostConnectionRemedy, toSourceError, withConnectionState } from "./source-error";

export interface StreamOptions {
  source: SourceConfig;
  applicationName: string;
  slot: string;
  publication: string;
  /** the server sends what commits after it */
  startLsn: Lsn;
  /** server_version_num: what may be asked for */
  serverVersion: number;
  /** values in binary form, where their type has one */
  binary: boolean;
  /** Looks at the server on this very connection before replication starts; throws when it isn't the one expected. */
  verify?: (client: Client) => Promise<void>;
  /** large transactions before their end */
  early: boolean;
  /** A message of pgoutput, `buffer[start, end)`; its bytes may be reused after the call. */
  onMessage: (buffer: Buffer, start: number, end: number) => void;
  /** All that commits at or before `lsn` has been given to `onMessage`. */
  onKeepalive: (lsn: Lsn) => void;
  /** What may be acknowledged now: asked for at every status message. */
  durableLsn: () => Lsn;
  /** status messages are sent this often; default 1,000 */
  statusMs?: number;
  /** default: the source's connectTimeoutMs and 20,000 */
  startTimeoutMs?: number;
  /** without any message for so long the connection is taken for dead; default 60,000 */
  silenceMsMax?: number;
}

/** Positions of a standby status update: durable only, never what is merely received (invariant 1). */
function standbyStatus(lsn: Lsn, replyRequested: boolean): Buffer {
  const message = Buffer.alloc(34);
  message[0] = 0x72; // 'r'
  message.writeBigUInt64BE(lsn, 1);
  message.writeBigUInt64BE(lsn, 9);
  message.writeBigUInt64BE(lsn, 17);
  message.writeBigInt64BE((BigInt(Date.now()) - 946_684_800_000n) * 1000n, 25);
  message[33] = replyRequested ? 1 : 0;
  return message;
}

export type PgoutputOptions = Pick<StreamOptions, "publication" | "serverVersion" | "binary" | "early">;

/** Options of pgoutput by what the server has (PostgreSQL documentation, section 55.5.1). */
export function pgoutputOptions({ publication, serverVersion, binary, early }: PgoutputOptions): string {
  const names = `publication_names ${quoteLiteral(quoteIdentifier(publication))}`;
  if (serverVersion < 140_000) return `proto_version '1', ${names}`;
  // Protocol 4 (streaming 'parallel') would add to aborts what only parallel appliers need.
  return `proto_version '2', ${names}, streaming '${early ? "on" : "off"}', messages 'true', binary '${binary}'`;
}

/** Starts replication with our options, and takes the data from the socket itself. */
class PgoutputPlugin {
  readonly name = "pgoutput";
  readonly options = {};
  connection: (Connection & { sendCopyFromChunk(chunk: Buffer): void }) | null = null;

  constructor(
    private readonly stream: StreamOptions,
    private readonly frames: FrameHandler,
  ) {}

  parse(): void {
    throw new SluiceError("internal", "data of the stream came past its reader");
  }

  async start(client: Client, slotName: string, startLsn: string): Promise<unknown> {
    await this.stream.verify?.(client);
    await pinSession(client);
    this.connection = (client as unknown as { connection: NonNullable<PgoutputPlugin["connection"]> }).connection;
    new ReplicationFrames(this.connection.stream as Socket, this.frames);
    const options = pgoutputOptions(this.stream);
    return client.query(`START_REPLICATION SLOT ${quoteIdentifier(slotName)} LOGICAL ${startLsn} (${options})`);
  }
}

/**
 * One replication connection: started, read, acknowledged by `durableLsn` only, watched for silence, ended.
 * The library's own acknowledgement is off: it takes what is received for what is durable, and adds a byte, by which a
 * transaction whose commit record follows at once would be skipped.
 */
export class ReplicationStream {
  private readonly service: LogicalReplicationService;
  private readonly plugin: PgoutputPlugin;
  private lastHeardMs = Date.now();
  private timer: NodeJS.Timeout | undefined;
  private failure: SluiceError | null = null;
  private ended = false;
  /** Resolves at `stop`, rejects when the connection or the handler fails. */
  readonly done: Promise<void>;
  private settle!: { resolve: () => void; reject: (error: unknown) => void };
  readonly started: Promise<void>;
  private acknowledgedLsn = lsnZero;

  constructor(private readonly options: StreamOptions) {
    this.plugin = new PgoutputPlugin(options, {
      onMessage: (buffer, start, end) => {
        if (!this.ended) options.onMessage(buffer, start, end);
      },
      onKeepalive: (lsn, replyRequested) => {
        if (this.ended) return;
        options.onKeepalive(lsn);
        if (replyRequested) this.sendStatus(false);
      },
      onHeard: () => {
        this.lastHeardMs = Date.now();
      },
      onFailed: (error) => this.fail(error),
    });
    this.service = new LogicalReplicationService(
      clientConfig(options.source, { applicationName: options.applicationName }),
      { acknowledge: { auto: false, timeoutSeconds: 0 } },
    );
    this.done = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
    this.done.catch(() => {});
    this.started = this.start();
    this.started.catch(() => {});
  }

  private async start(): Promise<void> {
    const doing = `streaming from slot ${quoteIdentifier(this.options.slot)}`;
    const failed = (error: unknown) => {
      const known = withConnectionState(error, this.plugin.connection?.stream);
      this.fail(toSourceError(known, doing, this.options.source));
    };
    this.service.on("error", failed);
    const starting = new Promise<void>((resolve) => this.service.once("start", () => resolve()));
    const running = this.service.subscribe(this.plugin, this.options.slot, formatLsn(this.options.startLsn)).then(
      () => this.finish(),
      (error: unknown) => {
        failed(error);
      },
    );
    const timer = setTimeout(
      () =>
        this.fail(
          new SluiceError("timeout", `${doing}: replication did not start in time`, {
            remedy:
              "The gateway tries again by itself. If it comes again, look at the slot's restart_lsn in pg_replication_slots: the server reads WAL from there first.",
          }),
        ),
      this.options.startTimeoutMs ?? this.options.source.connectTimeoutMs + 20_000,
    );
    try {
      await Promise.race([
        starting,
        this.done.then(() => {
          throw new SluiceError("unreachable", `${doing}: the connection ended`, { remedy: lostConnectionRemedy });
        }),
        running.then(() => {
          throw (
            this.failure ??
            new SluiceError("unreachable", `${doing}: the connection ended`, { remedy: lostConnectionRemedy })
          );
        }),
      ]);
    } finally {
      clearTimeout(timer);
    }
    this.timer = setInterval(() => this.tick(), this.options.statusMs ?? 1_000);
  }

  private tick(): void {
    const silentMs = Date.now() - this.lastHeardMs;
    if (silentMs > (this.options.silenceMsMax ?? 60_000) && !this.paused) {
      this.fail(
        new SluiceError("unreachable", `no message from the server for ${silentMs} ms, though replies were requested`, {
          remedy: lostConnectionRemedy,
        }),
      );
      return;
    }
    this.sendStatus(true);
  }

  /** Sends what is durable; with `replyRequested` the server answers with its position. */
  sendStatus(replyRequested: boolean): void {
    const lsn = this.options.durableLsn();
    if (this.plugin.connection === null || this.ended) return;
    const isNews = lsn > this.acknowledgedLsn;
    if (isNews) failpoint("gateway.before-acknowledge");
    this.plugin.connection.sendCopyFromChunk(standbyStatus(lsn, replyRequested));
    if (isNews) failpoint("gateway.after-acknowledge");
    this.acknowledgedLsn = lsn;
  }

  private paused = false;

  /** Back-pressure: to be used seldom, each pause costs throughput. Status messages go on. */
  pause(): void {
    if (this.paused || this.plugin.connection === null) return;
    this.paused = true;
    this.plugin.connection.stream.pause();
  }

  resume(): void {
    if (!this.paused || this.plugin.connection === null) return;
    this.paused = false;
    this.lastHeardMs = Date.now();
    this.plugin.connection.stream.resume();
  }

  /** Acknowledges what is durable and closes. */
  async stop(): Promise<void> {
    this.sendStatus(false);
    this.finish();
    await Promise.race([this.service.destroy(), new Promise((resolve) => setTimeout(resolve, 3_000).unref())]);
  }

  private finish(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.timer);
    this.settle.resolve();
  }

  /** Ends it with an error: `done` rejects. */
  fail(error: unknown): void {
    if (this.ended) return;
    this.failure = error instanceof SluiceError ? error : toSourceError(error, "streaming", this.options.source);
    this.ended = true;
    clearInterval(this.timer);
    this.settle.reject(error);
    this.service.destroy().catch(() => {});
  }
}

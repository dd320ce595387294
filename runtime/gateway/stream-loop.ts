import { setTimeout as delay } from "node:timers/promises";
import { describeError, type ErrorKind, isTransient, SluiceError } from "../errors";
import { log } from "../operate/log";
import { formatLsn, type Lsn, lsnZero, maxLsn } from "../postgres/lsn";
import { PgoutputReader } from "../postgres/pgoutput";
import { ReplicationStream } from "../postgres/replication-stream";
import { toSourceError } from "../postgres/source-error";
import type { ProcessState } from "../status";
import { MessageGate } from "./message-gate";
import type { SchemaFollower } from "./schema-follower";
import { retryDelayMs, type SnapshotScheduler } from "./snapshot-scheduler";
import { startFailure } from "./start-position";
import { prepareStream, type StreamStartContext } from "./stream-start";

/** pgoutput's message that commits a transaction streamed before its end */
const streamCommitTag = 99;
/** How long a stop waits for the end of the transaction that is being received. */
const stopWaitMs = 3_000;
/** For how long large transactions are read at their commit when the spool has been full of open ones. */
const atCommitMs = 600_000;

export interface StreamContext extends StreamStartContext {
  follower: SchemaFollower;
  scheduler: SnapshotScheduler;
  /** aborted by SIGTERM, or when something failed for good */
  signal: AbortSignal;
  /** whether something failed for good: then nothing more is staged */
  failed(): boolean;
  fail(error: unknown): void;
  setState(state: ProcessState): void;
}

/** The replication connection, made again after each loss until the stop; what is durable is acknowledged by it. */
export class StreamLoop {
  reconnects = 0;
  acknowledgedLsn: Lsn = lsnZero;
  private stream: ReplicationStream | null = null;
  private gate: MessageGate | null = null;
  private spoolIsFull = false;
  private atCommitUntilMs = 0;

  constructor(private readonly context: StreamContext) {}

  /** @throws SluiceError when it can't go on; transient troubles of the source are waited out. */
  async run(): Promise<void> {
    const { config, signal } = this.context;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const startedMs = Date.now();
        await this.streamOnce().finally(() => {
          if (Date.now() - startedMs > 60_000) failures = 0;
        });
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toSourceError(thrown, "streaming", config.source);
        // A lost slot that the monitor found is recovered by the next attempt.
        if (!isTransient(error.kind) && !(error.kind === "slot-lost" && this.recovers)) throw error;
        failures++;
        this.reconnects++;
        const delayMs = reconnectDelayMs(failures, error.kind, Math.random());
        log("warning", "stream-lost", { error: describeError(error), retryMs: delayMs });
        this.context.setState({ kind: "waiting", reason: error.describe() });
        await delay(delayMs, undefined, { signal }).catch(() => {});
      }
    }
  }

  private get recovers(): boolean {
    return this.context.config.onSlotLost === "resnapshot";
  }

  /** The slot was found lost, be it while snapshots run: by policy the end, or a new beginning. */
  slotLost(error: SluiceError): void {
    if (this.recovers) this.stream?.fail(error);
    else this.context.fail(error);
  }

  /** The connection is made again, after a new look at the server. */
  restart(reason: SluiceError): void {
    this.stream?.fail(reason);
  }

  /** Tells the server what is durable. */
  acknowledge(): void {
    this.stream?.sendStatus(false);
  }

  /** Holds what the stream sends next until the work is done. */
  hold(work: (isCurrent: () => boolean) => Promise<void>): void {
    this.gate?.close(work);
  }

  /** Reads on when what waits for staging, or to be read, has become less. */
  relieve(): void {
    this.checkSpool();
    if (this.spoolIsFull || (this.gate !== null && this.gate.heldBytes > 0)) return;
    const { stager, config } = this.context;
    if (stager.trouble === null && stager.bytesInFlight <= config.batch.bytesMax) this.stream?.resume();
  }

  /**
   * At the quota nothing more is read. Room comes when a record is written, or when open transactions are given up: they
   * are read again, one after the other, at their commits.
   */
  private checkSpool(): void {
    const { stager, capture, config } = this.context;
    const isFull = stager.uncommittedBytes >= config.spool.bytesMax;
    if (isFull && capture.streamed.count > 0) {
      this.atCommitUntilMs = Date.now() + atCommitMs;
      const held = `${stager.uncommittedBytes} bytes in files of ${capture.streamed.count} open transactions`;
      log("warning", "spool-full", { bytes: stager.uncommittedBytes, openTransactions: capture.streamed.count });
      this.stream?.fail(
        new SluiceError("conflict", `the spool is full: ${held}; they are read again at their commits`, {
          remedy: "Raise spool.bytesMax if such transactions are usual.",
        }),
      );
      return;
    }
    if (isFull === this.spoolIsFull) return;
    this.spoolIsFull = isFull;
    if (!isFull) {
      log("info", "spool-has-room", { bytes: stager.uncommittedBytes });
      this.context.setState({ kind: "running" });
      return;
    }
    this.stream?.pause();
    const reason = `the spool is full (spool.bytesMax, ${config.spool.bytesMax} bytes): nothing is read until what is read is staged, which never happens to a transaction larger than that. Raise spool.bytesMax.`;
    log("error", "spool-full", { bytes: stager.uncommittedBytes, openTransactions: 0, reason });
    this.context.setState({ kind: "waiting", reason });
  }

  async stop(): Promise<void> {
    await this.stream?.stop();
  }

  /** One connection, from the check of the slot to its loss or the stop. */
  private async streamOnce(): Promise<void> {
    const { config, capture, stager, idle } = this.context;
    const { source, startLsn, serverVersion, binary, verify } = await prepareStream(this.context);
    const { follower } = this.context;
    const reader = new PgoutputReader(capture, capture.streamed);
    const gate = new MessageGate(
      (buffer, start, end) => {
        if (buffer[start] === streamCommitTag && !isVerified(follower, buffer, start)) return false;
        reader.read(buffer, start, end);
        if (this.spoolIsFull || stager.trouble !== null || stager.bytesInFlight > 2 * config.batch.bytesMax)
          stream.pause();
        return true;
      },
      {
        onHeld: () => {
          if (gate.heldBytes > config.batch.bytesMax) stream.pause();
        },
        onOpen: () => this.relieve(),
        onFailed: (error) => stream.fail(error),
      },
    );
    const stream = new ReplicationStream({
      source,
      applicationName: `sluice ${config.id} stream`,
      slot: config.slot,
      publication: config.publication,
      startLsn,
      serverVersion,
      binary,
      early: config.spool.largeTransactions === "early" && Date.now() >= this.atCommitUntilMs,
      silenceMsMax: config.silenceMsMax,
      verify,
      onMessage: (buffer, start, end) => gate.receive(buffer, start, end),
      onKeepalive: (lsn) => {
        if (gate.isOpen) this.keepalive(lsn);
      },
      durableLsn: () => {
        this.acknowledgedLsn = maxLsn(stager.stagedLsn, idle.durableLsn);
        return this.acknowledgedLsn;
      },
    });
    this.stream = stream;
    this.gate = gate;
    this.spoolIsFull = false;
    follower.restart();
    // No message is handled before the server's answer to START_REPLICATION, so the position is true from here on.
    capture.attach(startLsn);
    try {
      await stream.started.catch((error: unknown) => {
        throw startFailure(error, config.slot);
      });
      log("info", "streaming", { slot: config.slot, startLsn: formatLsn(startLsn), binary });
      this.context.setState({ kind: "running" });
      this.context.scheduler.schedule();
      await Promise.race([stream.done, untilAborted(this.context.signal)]);
      await this.finish(stream);
    } finally {
      gate.abandon();
      this.gate = null;
      capture.detach();
      this.stream = null;
      await stream.stop();
    }
  }

  /** SIGTERM: the transaction being received is read to its end if that is near; all before is staged and acknowledged. */
  private async finish(stream: ReplicationStream): Promise<void> {
    const { capture, stager } = this.context;
    if (this.context.failed()) return;
    this.context.setState({ kind: "stopping" });
    const deadlineMs = Date.now() + stopWaitMs;
    while (!capture.betweenTransactions && Date.now() < deadlineMs) await delay(5);
    if (!capture.betweenTransactions) return;
    stream.pause();
    capture.cut();
    await stager.drained();
    stream.sendStatus(false);
  }

  private keepalive(lsn: Lsn): void {
    const { capture, scheduler, idle } = this.context;
    capture.keepalive(lsn);
    if (!capture.idle) return;
    scheduler.stageEnds();
    if (capture.idle) {
      idle.advance(capture.boundaryLsn).then(
        () => this.acknowledge(),
        (error: unknown) => this.context.fail(error),
      );
    }
  }
}

/** @param start of a message Stream Commit: tag, transaction id, flags, LSN of the commit */
function isVerified(follower: SchemaFollower, buffer: Buffer, start: number): boolean {
  return follower.isVerified(buffer.readUInt32BE(start + 1), buffer.readBigUInt64BE(start + 6) as Lsn);
}

/** 0.5, 1, 2 … 15 s, each by up to a half less by chance; a slot that is held is looked at every 5 s at least. */
export function reconnectDelayMs(failures: number, kind: ErrorKind, random: number): number {
  const delayMs = Math.min(retryDelayMs(failures) / 2, kind === "slot-in-use" ? 5_000 : 15_000);
  return Math.round(delayMs * (1 - random / 2));
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

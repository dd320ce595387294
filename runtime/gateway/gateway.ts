import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { ParquetWriter } from "../change/parquet-writer";
import type { GatewayConfig } from "../config";
import { describeError, isTransient, SluiceError } from "../errors";
import { log } from "../operate/log";
import { startStatus } from "../operate/status-server";
import { connectSource } from "../postgres/client";
import { formatLsn, lsnZero, maxLsn } from "../postgres/lsn";
import { readMessage } from "../postgres/pgoutput";
import { ReplicationStream } from "../postgres/replication-stream";
import { toSourceError } from "../postgres/source-error";
import { openFolderStore } from "../staging/folder-store";
import { openLogIdentity } from "../staging/staging-log";
import type { GatewayStatus, ProcessState, SlotHealth } from "../status";
import { version } from "../version";
import { Capture } from "./capture";
import { CapturedTable } from "./captured-table";
import { gatewayMetrics } from "./gateway-metrics";
import { type PublishedTable, readPublishedTables } from "./published-tables";
import { readSlot } from "./slot-query";
import { retryDelayMs, SnapshotScheduler } from "./snapshot-scheduler";
import { parseSnapshot } from "./snapshot-visibility";
import { Stager } from "./stager";
import { IdlePosition, readStagingState, stagedPosition } from "./staging-state";
import { startPosition } from "./start-position";

/** How often a batch's age is looked at. */
const cutTickMs = 50;
/** How long a stop waits for the end of the transaction that is being received. */
const stopWaitMs = 3_000;

/**
 * Runs until `signal` aborts (then flushes, stages, acknowledges and returns) or something fails for good.
 * @throws SluiceError when it can't go on; transient troubles of the source are waited out.
 */
export async function runGateway(config: GatewayConfig, signal: AbortSignal): Promise<void> {
  let state: ProcessState = { kind: "starting" };
  let gateway: Gateway | null = null;
  const startedAt = new Date().toISOString();
  const document = (httpPort: number): GatewayStatus => ({
    role: "gateway",
    id: config.id,
    version,
    pid: process.pid,
    startedAt,
    updatedAt: new Date().toISOString(),
    httpPort,
    state,
    ...(gateway?.progress() ?? emptyProgress),
  });
  const status = await startStatus({
    path: config.statusPath,
    httpPort: config.http.port,
    document,
    metrics: () => gatewayMetrics(document(0)),
    healthy: () => state.kind === "running" || state.kind === "waiting",
  });
  const setState = (next: ProcessState) => {
    state = next;
    status.publish().catch(() => {});
  };
  try {
    gateway = await Gateway.open(config, signal, setState);
    await gateway.run();
    setState({ kind: "stopped" });
  } catch (thrown) {
    const error = toSourceError(thrown, "gateway", config.source);
    state = { kind: "failed", errorKind: error.kind, message: error.message, remedy: error.remedy };
    throw error;
  } finally {
    await status.close();
  }
}

type Progress = Omit<
  GatewayStatus,
  "role" | "id" | "version" | "pid" | "startedAt" | "updatedAt" | "httpPort" | "state"
>;

const emptyProgress: Progress = {
  slot: null,
  walSenderPid: null,
  receivedLsn: formatLsn(lsnZero),
  stagedLsn: formatLsn(lsnZero),
  acknowledgedLsn: formatLsn(lsnZero),
  stagedSequence: 0,
  transactions: 0,
  changes: 0,
  reconnects: 0,
  tables: [],
};

class Gateway {
  private readonly capture: Capture;
  private readonly stager: Stager;
  private readonly scheduler: SnapshotScheduler;
  private readonly idle: IdlePosition;
  private stream: ReplicationStream | null = null;
  private slot: SlotHealth | null = null;
  private walSenderPid: number | null = null;
  private reconnects = 0;
  private acknowledgedLsn = lsnZero;
  private readonly stop = new AbortController();
  private fatal: unknown = null;

  private constructor(
    private readonly config: GatewayConfig,
    private readonly signal: AbortSignal,
    private readonly setState: (state: ProcessState) => void,
    parts: {
      store: Awaited<ReturnType<typeof openFolderStore>>;
      staging: Awaited<ReturnType<typeof readStagingState>>;
      streamWriter: ParquetWriter;
      snapshotWriter: ParquetWriter;
    },
  ) {
    const { store, staging } = parts;
    const startLsn = stagedPosition(staging) ?? lsnZero;
    const epoch = `${Date.now().toString(36)}-${process.pid}`;
    this.stager = new Stager(store, parts.streamWriter, epoch, { sequence: staging.sequence, endLsn: startLsn }, () =>
      this.relieve(),
    );
    this.capture = new Capture(this.stager, config.batch, {
      onFailed: (error) => this.fail(error),
      onPending: () => this.scheduler.schedule(),
      onStaged: () => this.stream?.sendStatus(false),
    });
    this.capture.detach();
    for (const table of staging.tables) this.capture.add(table);
    this.idle = new IdlePosition(store, startLsn);
    this.scheduler = new SnapshotScheduler({
      config,
      store,
      stager: this.stager,
      capture: this.capture,
      writer: parts.snapshotWriter,
      signal: this.stop.signal,
    });
  }

  static async open(
    config: GatewayConfig,
    signal: AbortSignal,
    setState: (state: ProcessState) => void,
  ): Promise<Gateway> {
    const store = await openFolderStore(config.stagingPath);
    await openLogIdentity(store);
    const staging = await readStagingState(store);
    const [streamWriter, snapshotWriter] = await Promise.all([ParquetWriter.open(), ParquetWriter.open()]);
    return new Gateway(config, signal, setState, { store, staging, streamWriter, snapshotWriter });
  }

  async run(): Promise<void> {
    const cutTimer = setInterval(() => {
      this.scheduler.stageEnds(false);
      this.capture.cutIfDue();
    }, cutTickMs);
    const poller = this.poll();
    try {
      let failures = 0;
      while (!this.signal.aborted && this.fatal === null) {
        try {
          const startedMs = Date.now();
          await this.streamOnce().finally(() => {
            if (Date.now() - startedMs > 60_000) failures = 0;
          });
        } catch (thrown) {
          if (this.signal.aborted || this.fatal !== null) break;
          const error = toSourceError(thrown, "streaming", this.config.source);
          if (!isTransient(error.kind)) throw error;
          failures++;
          this.reconnects++;
          const delayMs = Math.min(retryDelayMs(failures) / 2, 15_000);
          log("warning", "stream-lost", { error: describeError(error), retryMs: delayMs });
          this.setState({ kind: "waiting", reason: error.describe() });
          await delay(delayMs, undefined, { signal: this.signal }).catch(() => {});
        }
      }
      if (this.fatal !== null) throw this.fatal;
    } finally {
      clearInterval(cutTimer);
      this.stop.abort();
      await this.stream?.stop();
      await poller;
    }
  }

  /** One connection, from the check of the slot to its loss or the stop. */
  private async streamOnce(): Promise<void> {
    const client = await connectSource(this.config.source, { applicationName: `sluice ${this.config.id} start` });
    let slot: Awaited<ReturnType<typeof readSlot>>;
    try {
      slot = await readSlot(client, this.config.slot);
      this.addPublished(await readPublishedTables(client, this.config.publication));
    } finally {
      await client.end().catch(() => {});
    }
    await this.stager.drained();
    const known = maxLsn(this.stager.stagedLsn, this.idle.durableLsn);
    const startLsn = startPosition(slot?.position ?? null, this.config.slot, known === lsnZero ? null : known);
    if (known === lsnZero) {
      this.stager.stagedLsn = startLsn;
      await this.idle.advance(startLsn);
    }
    const stream = new ReplicationStream({
      source: this.config.source,
      applicationName: `sluice ${this.config.id} stream`,
      slot: this.config.slot,
      publication: this.config.publication,
      startLsn,
      onMessage: (message) => {
        readMessage(message, this.capture);
        if (this.stager.bytesInFlight > 2 * this.config.batch.bytesMax) stream.pause();
      },
      onKeepalive: (lsn) => this.keepalive(lsn),
      durableLsn: () => {
        this.acknowledgedLsn = maxLsn(this.stager.stagedLsn, this.idle.durableLsn);
        return this.acknowledgedLsn;
      },
    });
    this.stream = stream;
    // No message is handled before the server's answer to START_REPLICATION, so the position is true from here on.
    this.capture.attach(startLsn);
    try {
      await stream.started;
      log("info", "streaming", { slot: this.config.slot, startLsn: formatLsn(startLsn) });
      this.setState({ kind: "running" });
      this.scheduler.schedule();
      await Promise.race([stream.done, this.untilStopped()]);
      await this.finishStream(stream);
    } finally {
      this.capture.detach();
      this.stream = null;
      await stream.stop();
    }
  }

  private untilStopped(): Promise<void> {
    return new Promise((resolve) => {
      const signals = AbortSignal.any([this.signal, this.stop.signal]);
      if (signals.aborted) resolve();
      else signals.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  /** SIGTERM: the transaction being received is read to its end if that is near; all before is staged and acknowledged. */
  private async finishStream(stream: ReplicationStream): Promise<void> {
    if (this.fatal !== null) return;
    this.setState({ kind: "stopping" });
    const deadlineMs = Date.now() + stopWaitMs;
    while (!this.capture.betweenTransactions && Date.now() < deadlineMs) await delay(5);
    if (!this.capture.betweenTransactions) return;
    stream.pause();
    this.capture.cut();
    await this.stager.drained();
    stream.sendStatus(false);
  }

  private keepalive(lsn: typeof lsnZero): void {
    this.capture.keepalive(lsn);
    if (!this.capture.idle) return;
    this.scheduler.stageEnds(true);
    if (this.capture.idle) {
      this.idle.advance(this.capture.boundaryLsn).then(
        () => this.stream?.sendStatus(false),
        (error: unknown) => this.fail(error),
      );
    }
  }

  private relieve(): void {
    if (this.stager.bytesInFlight <= this.config.batch.bytesMax) this.stream?.resume();
  }

  private fail(error: unknown): void {
    if (this.fatal !== null) return;
    this.fatal = error;
    this.stop.abort();
  }

  /** Looks at slot and publication until the stop; a lost admin connection is made again at the next look. */
  private async poll(): Promise<void> {
    let client: Client | null = null;
    while (!this.signal.aborted && !this.stop.signal.aborted) {
      try {
        client ??= await connectSource(this.config.source, {
          applicationName: `sluice ${this.config.id} monitor`,
          statementTimeoutMs: 30_000,
        });
        await this.look(client);
      } catch (thrown) {
        if (thrown instanceof SluiceError && thrown.kind === "missing-object") this.fail(thrown);
        else
          log("warning", "poll-failed", { error: describeError(toSourceError(thrown, "polling", this.config.source)) });
        await client?.end().catch(() => {});
        client = null;
      }
      await delay(this.config.pollMs, undefined, { signal: AbortSignal.any([this.signal, this.stop.signal]) }).catch(
        () => {},
      );
    }
    await client?.end().catch(() => {});
  }

  private async look(client: Client): Promise<void> {
    const slot = await readSlot(client, this.config.slot);
    this.slot = slot?.health ?? null;
    this.walSenderPid = slot?.activePid ?? null;
    if (slot?.health.walStatus === "lost") startPosition(slot.position, this.config.slot, null);
    const published = await readPublishedTables(client, this.config.publication);
    this.addPublished(published);
    const present = new Set(published.map((table) => table.tableId));
    for (const table of [...this.capture.tables.values()]) {
      if (!present.has(table.tableId)) {
        log("info", "table-removed", { table: `${table.schema}.${table.name}` });
        this.capture.remove(table);
      }
    }
    const { rows } = await client.query<{ text: string }>("SELECT pg_current_snapshot()::text AS text");
    const { xmin } = parseSnapshot(rows[0].text, lsnZero);
    this.capture.forgetDroppedBelow((xid) => BigInt.asIntN(32, BigInt(xid) - xmin) < 0n);
    this.scheduler.schedule();
  }

  private addPublished(published: PublishedTable[]): void {
    for (const found of published) {
      let table = this.capture.tables.get(Number(found.tableId));
      if (table === undefined) {
        log("info", "table-added", { table: `${found.schema}.${found.name}` });
        table = new CapturedTable(found.tableId, found.schema, found.name);
        this.capture.add(table);
      }
      table.rowsEstimate = found.rowsEstimate;
      table.bytesEstimate = found.bytes;
    }
  }

  progress(): Progress {
    return {
      slot: this.slot,
      walSenderPid: this.walSenderPid,
      receivedLsn: formatLsn(this.capture.boundaryLsn),
      stagedLsn: formatLsn(this.stager.stagedLsn),
      acknowledgedLsn: formatLsn(this.acknowledgedLsn),
      stagedSequence: this.stager.sequence,
      transactions: this.capture.transactions,
      changes: this.capture.changes,
      reconnects: this.reconnects,
      tables: [...this.capture.tables.values()].map((table) => table.status()),
    };
  }
}

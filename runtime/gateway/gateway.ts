import type { GatewayConfig } from "../config";
import { describeForLog } from "../errors";
import { log } from "../operate/log";
import { formatLsn, lsnZero } from "../postgres/lsn";
import type { ObjectStore } from "../staging/object-store";
import { openStaging } from "../staging/open-staging";
import { RetryingStore } from "../staging/retrying-store";
import { openLogIdentity } from "../staging/staging-log";
import { tellWriter } from "../staging/staging-writer";
import { StorageRetry } from "../staging/storage-retry";
import type { GatewayStatus, ProcessState } from "../status";
import { Capture } from "./capture";
import { CatalogSession } from "./catalog-session";
import { Monitor } from "./monitor";
import { newEpoch, removeOrphans } from "./orphan-files";
import { type FollowerContext, SchemaFollower } from "./schema-follower";
import { SchemaPoll } from "./schema-poll";
import { SnapshotScheduler } from "./snapshot-scheduler";
import { SourceServers } from "./source-servers";
import { Stager } from "./stager";
import { IdlePosition, readFollowedSource, readStagingState, type StagingState, stagedPosition } from "./staging-state";
import { StreamLoop } from "./stream-loop";

/** How often a batch's age is looked at. */
const cutTickMs = 50;
/** How long a single request to a volume is tried again before it is a trouble of staging. */
const requestRetryMs = 3_000;

/** What the gateway adds to the process's status. */
export type GatewayProgress = Omit<
  GatewayStatus,
  "role" | "id" | "version" | "pid" | "startedAt" | "updatedAt" | "httpPort" | "state"
>;

/** What the process tells of itself. */
export interface GatewayShell {
  setState(state: ProcessState): void;
  /** what staging is waited for; null when it works */
  setTrouble(reason: string | null): void;
}

/** Composes the parts of a gateway: the stream, the snapshots, the monitor, and staging behind them. */
export class Gateway {
  private readonly capture: Capture;
  private readonly stager: Stager;
  private readonly scheduler: SnapshotScheduler;
  private readonly streamLoop: StreamLoop;
  private readonly monitor: Monitor;
  private readonly catalog: CatalogSession;
  private readonly follower: SchemaFollower;
  private readonly schemaPoll: SchemaPoll;
  private readonly stop = new AbortController();
  private tidy: Promise<void> | null = null;
  private fatal: { error: unknown } | null = null;

  private constructor(
    config: GatewayConfig,
    signal: AbortSignal,
    setState: (state: ProcessState) => void,
    parts: {
      store: ObjectStore;
      retry: StorageRetry;
      staging: StagingState;
      servers: SourceServers;
    },
  ) {
    const { store, retry, staging, servers } = parts;
    const startLsn = stagedPosition(staging) ?? lsnZero;
    const epoch = newEpoch(Date.now(), process.pid);
    const head = { sequence: staging.sequence, endLsn: startLsn };
    this.stager = new Stager(store, retry, epoch, head, () => this.streamLoop.relieve());
    const fail = (error: unknown) => this.fail(error);
    this.capture = new Capture(this.stager, config.batch, {
      onFailed: fail,
      onPending: () => this.scheduler.schedule(),
      onStopped: (table, error) =>
        log("error", "table-stopped", { table: `${table.schema}.${table.name}`, error: describeForLog(error) }),
      onRelation: (table, relation, context) => this.follower.relation(table, relation, context),
      onMessage: (prefix, content, takes) => this.follower.message(prefix, content, takes),
      onStaged: () => {
        this.streamLoop.acknowledge();
        this.tidy ??= this.removeOrphans(store, epoch);
      },
    });
    this.capture.detach();
    for (const table of staging.tables) this.capture.add(table);
    if (staging.statesChanged) this.capture.recordStates();
    const { capture, stager } = this;
    const hold: FollowerContext["hold"] = (work) => this.streamLoop.hold(work);
    this.scheduler = new SnapshotScheduler({
      config,
      servers,
      store,
      stager,
      capture,
      signal: this.stop.signal,
      hold,
    });
    const { scheduler } = this;
    const stopped = AbortSignal.any([signal, this.stop.signal]);
    this.catalog = new CatalogSession(config, servers, stopped);
    const { catalog } = this;
    this.follower = new SchemaFollower({ config, capture, stager, store, catalog, hold });
    this.schemaPoll = new SchemaPoll(config, capture, this.follower);
    const { schemaPoll } = this;
    this.monitor = new Monitor({
      config,
      servers,
      store,
      capture,
      scheduler,
      schemaPoll,
      signal: stopped,
      acknowledgedLsn: () => this.streamLoop.acknowledgedLsn,
      onSlotLost: (error) => this.streamLoop.slotLost(error),
      onTimelineChanged: (error) => this.streamLoop.restart(error),
      fail,
    });
    this.streamLoop = new StreamLoop({
      config,
      servers,
      store,
      follower: this.follower,
      capture,
      stager,
      scheduler,
      idle: new IdlePosition(store, startLsn),
      signal: stopped,
      failed: () => this.fatal !== null,
      fail,
      setState,
    });
  }

  static async open(config: GatewayConfig, signal: AbortSignal, shell: GatewayShell): Promise<Gateway> {
    let gateway: Gateway | null = null;
    const retry = new StorageRetry({
      retryMsMax: config.stagingRetryMsMax,
      signal,
      onEvent: log,
      onTrouble: (reason) => {
        shell.setTrouble(reason);
        gateway?.streamLoop.relieve();
      },
    });
    // What lasts longer is told in the status while it is waited for.
    const place = { requestRetryMsMax: requestRetryMs, signal };
    const store = new RetryingStore(await retry.run(() => openStaging(config, place)), retry);
    await openLogIdentity(store);
    const staging = await readStagingState(store, config);
    const servers = new SourceServers(config.source, (await readFollowedSource(store))?.timeline ?? 0);
    await tellWriter(store);
    gateway = new Gateway(config, signal, shell.setState, { store, retry, staging, servers });
    return gateway;
  }

  /** Until the stop or a failure for good, which it throws. */
  async run(): Promise<void> {
    const cutTimer = setInterval(() => {
      this.scheduler.stageEnds();
      this.schemaPoll.settle();
      this.capture.cutIfDue();
    }, cutTickMs);
    const monitoring = this.monitor.run();
    try {
      await this.streamLoop.run();
      if (this.fatal !== null) throw this.fatal.error;
    } finally {
      clearInterval(cutTimer);
      this.stop.abort();
      await this.streamLoop.stop();
      await monitoring;
      await this.catalog.close();
    }
  }

  /** Once this epoch has a record; what is left is tried at the next start. */
  private async removeOrphans(store: ObjectStore, epoch: string): Promise<void> {
    try {
      const removed = await removeOrphans(store, epoch, this.stager.sequence);
      if (removed.length > 0) log("info", "orphans-removed", { files: removed.length });
    } catch (error) {
      log("warning", "orphans-left", { error: describeForLog(error) });
    }
  }

  private fail(error: unknown): void {
    if (this.fatal !== null) return;
    this.fatal = { error };
    this.stop.abort();
  }

  progress(): GatewayProgress {
    return {
      ...this.monitor.health(),
      receivedLsn: formatLsn(this.capture.boundaryLsn),
      stagedLsn: formatLsn(this.stager.stagedLsn),
      acknowledgedLsn: formatLsn(this.streamLoop.acknowledgedLsn),
      stagedSequence: this.stager.sequence,
      transactions: this.capture.transactions,
      changes: this.capture.changes,
      reconnects: this.streamLoop.reconnects,
      tables: [...this.capture.tables.values()].map((table) => table.status(this.stager.sequence)),
    };
  }
}

import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import type { GatewayConfig } from "../config";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { type Lsn, lsnZero } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import type { ObjectStore } from "../staging/object-store";
import type { GatewayStatus, HealthAlert, HoldingTransaction, SlotHealth } from "../status";
import type { Capture } from "./capture";
import { alertChanges, assessHealth, levelsOf } from "./health-alerts";
import { Heartbeat } from "./heartbeat";
import { readHoldingTransactions } from "./holding-transactions";
import { LagClock } from "./lag-clock";
import { followPublishedRows } from "./published-rows";
import { addPublished, readPublishedTables, removeUnpublished } from "./published-tables";
import { followResyncRequests } from "./resync-requests";
import type { SchemaPoll } from "./schema-poll";
import { SlotForecast } from "./slot-forecast";
import { readServerState, type ServerState } from "./slot-query";
import type { SnapshotScheduler } from "./snapshot-scheduler";
import { parseSnapshot } from "./snapshot-visibility";
import type { SourceServers } from "./source-servers";
import { startPosition } from "./start-position";
import { assertReadable } from "./stream-start";
import { TimelineWatch } from "./timeline-watch";

export interface MonitorContext {
  config: GatewayConfig;
  servers: SourceServers;
  store: ObjectStore;
  capture: Capture;
  scheduler: SnapshotScheduler;
  schemaPoll: SchemaPoll;
  /** aborted by SIGTERM, or when something failed for good */
  signal: AbortSignal;
  acknowledgedLsn(): Lsn;
  onSlotLost(error: SluiceError): void;
  /** The stream is to be made again. */
  onTimelineChanged(error: SluiceError): void;
  fail(error: unknown): void;
}

export type MonitoredHealth = Pick<
  GatewayStatus,
  "slot" | "lag" | "holdingTransactions" | "alerts" | "heartbeats" | "walSenderPid" | "standby"
>;

/** Looks at slot, publication and lag from a session of its own, during snapshots and lost streams too. */
export class Monitor {
  private slot: SlotHealth | null = null;
  private walSenderPid: number | null = null;
  private walLsn: Lsn | null = null;
  private holding: HoldingTransaction[] = [];
  private alerts: HealthAlert[] = [];
  private readonly lag = new LagClock();
  private readonly forecast = new SlotForecast();
  private readonly heartbeat: Heartbeat;
  private readonly timeline: TimelineWatch;
  private standby: ServerState["standby"] = null;

  constructor(private readonly context: MonitorContext) {
    this.heartbeat = new Heartbeat(context.config.heartbeatMs);
    this.timeline = new TimelineWatch(context.config, context.store);
  }

  health(): MonitoredHealth {
    return {
      slot: this.slot,
      lag: { bytes: this.lagBytes(), ms: this.lagMs() },
      holdingTransactions: this.holding,
      alerts: this.alerts,
      heartbeats: this.heartbeat.sent,
      walSenderPid: this.walSenderPid,
      standby: this.standby,
    };
  }

  private lagBytes(): number | null {
    return this.walLsn === null ? null : Math.max(0, Number(this.walLsn - this.context.acknowledgedLsn()));
  }

  private lagMs(): number | null {
    return this.lag.lagMs(this.context.acknowledgedLsn(), Date.now());
  }

  /** Until the stop; a lost connection is made again at the next look. */
  async run(): Promise<void> {
    const { config, servers, signal } = this.context;
    let client: Client | null = null;
    while (!signal.aborted) {
      try {
        client ??= await servers.connect({
          applicationName: `sluice ${config.id} monitor`,
          statementTimeoutMs: 30_000,
        });
        await this.look(client);
      } catch (thrown) {
        const error = toSourceError(thrown, "polling", config.source);
        if (thrown instanceof SluiceError && error.kind === "slot-lost") this.context.onSlotLost(error);
        else if (thrown instanceof SluiceError && error.kind === "missing-object") this.context.fail(error);
        else log("warning", "poll-failed", { error: describeError(error) });
        await client?.end().catch(() => {});
        client = null;
      }
      this.tell();
      await delay(config.pollMs, undefined, { signal }).catch(() => {});
    }
    await client?.end().catch(() => {});
  }

  private async look(client: Client): Promise<void> {
    const { config, store, capture, scheduler, schemaPoll } = this.context;
    const readAtMs = Date.now();
    const server = await readServerState(client, config.slot);
    const { slot, walLsn, inRecovery } = server;
    const source = { ...config.source, host: client.host, port: client.port, failoverHosts: undefined };
    assertReadable(source, server);
    const nowMs = Date.now();
    this.walLsn = walLsn;
    this.standby = server.standby;
    this.lag.sample(walLsn, nowMs);
    scheduler.serverSeen(server, readAtMs);
    const lossMs = this.forecast.add(nowMs, slot?.health.safeWalBytes ?? null);
    this.slot = slot === null ? null : { ...slot.health, lossMs };
    this.walSenderPid = slot?.activePid ?? null;
    // A lost slot is found here even while snapshots run and nothing is streamed.
    startPosition(slot?.position ?? null, config.slot, null);
    const changed = await this.timeline.look(source, inRecovery, nowMs);
    if (changed !== null) this.context.onTimelineChanged(changed);
    this.holding = await readHoldingTransactions(client);
    const before = new Map([...capture.tables.values()].map((table) => [table.tableId, table.snapshotId]));
    const published = await readPublishedTables(client, config.publication);
    addPublished(capture, published, config);
    removeUnpublished(capture, published);
    await followPublishedRows(client, capture, published, before);
    await followResyncRequests(capture, store);
    const { rows } = await client.query<{ text: string }>("SELECT pg_current_snapshot()::text AS text");
    const { xmin } = parseSnapshot(rows[0].text, lsnZero);
    capture.forgetDroppedBelow((xid) => BigInt.asIntN(32, BigInt(xid) - xmin) < 0n);
    scheduler.schedule();
    await schemaPoll.look(client);
    if (!inRecovery && this.heartbeat.due(this.context.acknowledgedLsn(), nowMs)) await this.heartbeat.send(client);
  }

  /** Logs what has become worse or better. Without a connection lag grows all the same. */
  private tell(): void {
    const { config } = this.context;
    const previous = levelsOf(this.alerts);
    this.alerts = assessHealth(
      { slotName: config.slot, slot: this.slot, lagMs: this.lagMs(), holding: this.holding[0] ?? null },
      config.health,
      previous,
    );
    const { raised, over } = alertChanges(previous, this.alerts);
    for (const { kind, level, message, remedy } of raised) {
      log(level === "critical" ? "error" : "warning", `alert-${kind}`, { level, message, remedy });
    }
    for (const kind of over) log("info", `alert-${kind}-over`);
  }
}

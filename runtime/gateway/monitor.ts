import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import type { GatewayConfig } from "../config";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { connectSource } from "../postgres/client";
import { lsnZero } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import type { SlotHealth } from "../status";
import type { Capture } from "./capture";
import { addPublished, readPublishedTables, removeUnpublished } from "./published-tables";
import { readSlot } from "./slot-query";
import type { SnapshotScheduler } from "./snapshot-scheduler";
import { parseSnapshot } from "./snapshot-visibility";
import { startPosition } from "./start-position";

export interface MonitorContext {
  config: GatewayConfig;
  capture: Capture;
  scheduler: SnapshotScheduler;
  /** aborted by SIGTERM, or when something failed for good */
  signal: AbortSignal;
  fail(error: unknown): void;
}

/** Looks at slot and publication from a session of its own, during snapshots and lost streams too. */
export class Monitor {
  slot: SlotHealth | null = null;
  walSenderPid: number | null = null;

  constructor(private readonly context: MonitorContext) {}

  /** Until the stop; a lost connection is made again at the next look. */
  async run(): Promise<void> {
    const { config, signal } = this.context;
    let client: Client | null = null;
    while (!signal.aborted) {
      try {
        client ??= await connectSource(config.source, {
          applicationName: `sluice ${config.id} monitor`,
          statementTimeoutMs: 30_000,
        });
        await this.look(client);
      } catch (thrown) {
        if (thrown instanceof SluiceError && thrown.kind === "missing-object") this.context.fail(thrown);
        else log("warning", "poll-failed", { error: describeError(toSourceError(thrown, "polling", config.source)) });
        await client?.end().catch(() => {});
        client = null;
      }
      await delay(config.pollMs, undefined, { signal }).catch(() => {});
    }
    await client?.end().catch(() => {});
  }

  private async look(client: Client): Promise<void> {
    const { config, capture, scheduler } = this.context;
    const slot = await readSlot(client, config.slot);
    this.slot = slot?.health ?? null;
    this.walSenderPid = slot?.activePid ?? null;
    if (slot?.health.walStatus === "lost") startPosition(slot.position, config.slot, null);
    const published = await readPublishedTables(client, config.publication);
    addPublished(capture, published);
    removeUnpublished(capture, published);
    const { rows } = await client.query<{ text: string }>("SELECT pg_current_snapshot()::text AS text");
    const { xmin } = parseSnapshot(rows[0].text, lsnZero);
    capture.forgetDroppedBelow((xid) => BigInt.asIntN(32, BigInt(xid) - xmin) < 0n);
    scheduler.schedule();
  }
}

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { assertCarried, assertKeyPublished } from "../change/catalog";
import type { TableSchema } from "../change/table-schema";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { maxLsn } from "../postgres/lsn";
import { storeTableSchema } from "../staging/table-schema-store";
import type { CapturedTable, SnapshotProgress } from "./captured-table";
import { copiedShare, planPart, rangesLeft } from "./copy-ranges";
import type { SnapshotContext } from "./snapshot-context";
import { isResumable, resumeObstacle, resumeWait } from "./snapshot-resume";
import {
  beginLocked,
  type OpenedSnapshot,
  openSnapshot,
  type TablePlace,
  type Taken,
  takeSnapshot,
  waitForWriters,
} from "./snapshot-session";
import { Blocked, type WaitOptions } from "./snapshot-wait";
import { readMembership, readNextXid, readReplayedLsn, waitForOlder } from "./standby-snapshot";

/** How long a table's writers or a lock are waited for, before others get the connection. */
const waitMsMax = 10_000;

/** How long the stream may be held for a snapshot to be taken, before the snapshot's session is given up. */
const heldMsMax = 5_000;

/** The table is captured, and the client's transaction sees the rows to copy. */
export interface StartedSnapshot {
  schema: TableSchema;
  opened: OpenedSnapshot;
  progress: SnapshotProgress;
}

type Attempt =
  | Exclude<Taken, { kind: "taken" }>
  | { kind: "registered"; started: StartedSnapshot }
  | { kind: "unseen"; waitingFor: string }
  /** since writers were waited for */
  | { kind: "republished" }
  | { kind: "disconnected" };

/** Opens the snapshot of a table in a session, at a place in the stream from which on its changes are captured. */
export class SnapshotStart {
  constructor(
    private readonly table: CapturedTable,
    private readonly context: SnapshotContext,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Goes on with the snapshot that isn't complete, or takes a new one.
   * @returns null when the table is gone or has left the publication
   * @throws Blocked when others hold it up
   */
  async run(client: Client): Promise<StartedSnapshot | null> {
    return (await this.resume(client)) ?? (await this.begin(client));
  }

  /** The snapshot that isn't complete, under a new transaction; null when there is none, or it can't be gone on with. */
  private async resume(client: Client): Promise<StartedSnapshot | null> {
    const { table, context } = this;
    const progress = table.snapshot;
    if (progress === null || table.capture.kind !== "capturing") return null;
    const { schema } = table.capture;
    const opened = await openSnapshot(client, table.tableId, context.config, this.wait);
    if (opened === null) return null;
    table.requireSnapshot(progress);
    const behind = resumeWait(progress, opened);
    if (behind !== null) throw new Blocked(behind);
    const obstacle = resumeObstacle(schema, table.rowFilter, progress, opened);
    if (obstacle !== null) {
      await client.query("ROLLBACK");
      log("info", "snapshot-started-over", { table: this.name, reason: obstacle });
      await this.atBoundary(() => {
        if (table.snapshot === progress) context.capture.drop(table, () => table.await());
      });
      return null;
    }
    const places = new Map(opened.parts.map((part) => [part.relationId, part]));
    for (const part of progress.parts) Object.assign(part, pickPlace(places.get(part.relationId)));
    progress.lastHorizonLsn = maxLsn(progress.lastHorizonLsn, opened.visibility.horizonLsn);
    progress.settledLsn = null;
    progress.resumedAtMs = Date.now();
    progress.shareAtResume = copiedShare(progress.parts);
    log("info", "snapshot-resumed", { table: this.name, rows: progress.rows, left: rangesLeft(progress.parts).length });
    return { schema, opened, progress };
  }

  /**
   * A new snapshot. From its taking until the table is captured the stream stands still, between two transactions:
   * else, on a busy table, a transaction that the snapshot doesn't see would always come in between. Milliseconds.
   */
  private async begin(client: Client): Promise<StartedSnapshot | null> {
    const { table } = this;
    await this.waitForEarlierWriters(client);
    const deadlineMs = Date.now() + waitMsMax;
    for (let waits = 1; ; waits++) {
      const place = await beginLocked(client, table.tableId, this.wait);
      if (place === null) return null;
      const attempt = await this.withStreamHeld(client, (isCurrent) => this.take(client, place, isCurrent));
      if (attempt.kind === "registered") return attempt.started;
      await client.query("ROLLBACK");
      if (attempt.kind === "unpublished") return null;
      if (attempt.kind === "republished") await this.waitForEarlierWriters(client);
      if (attempt.kind === "unseen") {
        // A transaction already streamed isn't seen yet: its session is about to say so, in milliseconds; or it is a
        // large one, streamed before its end, however far that is.
        const { waitingFor } = attempt;
        if (waits > 20) table.waitingFor = waitingFor;
        if (Date.now() > deadlineMs) throw new Blocked(waitingFor);
      }
      await delay(Math.min(5 * 1.2 ** waits, 1_000), undefined, { signal: this.signal });
    }
  }

  /**
   * What transactions wrote before the table was published isn't streamed: the snapshot must see it, so they are waited
   * for; on a standby, where locks of the primary's writers don't show, all of its transactions.
   */
  private async waitForEarlierWriters(client: Client): Promise<void> {
    const { table } = this;
    if ((await readReplayedLsn(client)) === null) return waitForWriters(client, table.tableId, this.wait);
    const membership = await readMembership(client, this.context.config.publication, table.tableId);
    if (membership === null) return;
    if (table.olderThan?.membership !== membership) {
      table.olderThan = { membership, xid: await readNextXid(client) };
    }
    await waitForOlder(client, table.olderThan.xid, this.wait);
  }

  private async take(client: Client, place: TablePlace, isCurrent: () => boolean): Promise<Attempt> {
    const { table, context } = this;
    table.snapshotTaken = true;
    try {
      const taken = await takeSnapshot(client, table.tableId, place, context.config);
      if (taken.kind !== "taken") return taken;
      const opened = taken.snapshot;
      assertKeyPublished(opened.table);
      assertCarried(opened.table.schema);
      const schema = await storeTableSchema(context.store, opened.table.schema, table.schemaId);
      // The connection was lost: who knows what comes again.
      if (!isCurrent()) return { kind: "disconnected" };
      const waitingFor = context.capture.unseen(table, opened.visibility);
      if (waitingFor !== null) return { kind: "unseen", waitingFor };
      const isWaitedFor = opened.visibility.replay === null || table.olderThan?.membership === opened.table.membership;
      if (!isWaitedFor) return { kind: "republished" };
      const progress = this.plan(schema, opened);
      this.register(schema, opened, progress);
      return { kind: "registered", started: { schema, opened, progress } };
    } finally {
      table.snapshotTaken = false;
    }
  }

  private plan(schema: TableSchema, { table, parts, visibility }: OpenedSnapshot): SnapshotProgress {
    const nowMs = Date.now();
    return {
      snapshotId: randomUUID(),
      schemaId: schema.schemaId,
      resumable: isResumable(schema, parts),
      visibility,
      lastHorizonLsn: visibility.horizonLsn,
      startedAt: new Date(nowMs).toISOString(),
      rows: 0,
      bytes: 0,
      rowsEstimate: Math.max(table.rowsEstimate, 0),
      parts: parts.map((part) => planPart(part, this.context.config.snapshot.rangeBytes)),
      copiedAtMs: parts.length === 0 ? nowMs : null,
      settledLsn: null,
      resumedAtMs: nowMs,
      shareAtResume: 0,
    };
  }

  /** From here on the table is captured. */
  private register(schema: TableSchema, opened: OpenedSnapshot, progress: SnapshotProgress): void {
    const { table, context } = this;
    if (table.capture.kind === "capturing") {
      throw new SluiceError("internal", `snapshot of ${this.name}: the table is not pending`);
    }
    const { snapshotId, rowsEstimate, visibility } = progress;
    const { schemaId } = schema;
    table.schema = schema.schema;
    table.name = schema.name;
    table.schemaId = schemaId;
    table.snapshotId = snapshotId;
    table.snapshotComplete = false;
    table.snapshots++;
    table.snapshot = progress;
    table.rowFilter = opened.table.rowFilter;
    table.membership = opened.table.membership;
    table.leaves = isPartitioned(schema, opened) ? leavesOf(opened) : null;
    table.capture = { kind: "capturing", schema, spool: table.newSpool(schema), visibility };
    const { tableId } = table;
    context.capture.pushSnapshotEvent(table, { kind: "snapshot-begin", tableId, schemaId, snapshotId, rowsEstimate });
  }

  private atBoundary<T>(action: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.context.capture.atBoundary(() => {
        try {
          this.signal.throwIfAborted();
          resolve(action());
        } catch (error) {
          reject(error);
        }
      });
    });
  }

  /** Does the work between two transactions, while what the stream sends is held. */
  private withStreamHeld<T>(client: Client, work: (isCurrent: () => boolean) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const start = async (isCurrent: () => boolean) => {
        const timer = setTimeout(() => client.connection?.stream.destroy(), heldMsMax);
        await work(isCurrent).then(resolve, reject);
        clearTimeout(timer);
      };
      this.context.capture.atBoundary(() => {
        if (this.signal.aborted) reject(this.signal.reason);
        else this.context.hold(start);
      });
    });
  }

  private get wait(): WaitOptions {
    return {
      signal: this.signal,
      waitMsMax,
      onWait: (waitingFor) => {
        this.table.waitingFor = waitingFor;
      },
    };
  }

  private get name(): string {
    return `${this.table.schema}.${this.table.name}`;
  }
}

/** Its rows are in other relations than itself. */
export function isPartitioned(schema: TableSchema, { parts }: OpenedSnapshot): boolean {
  return parts.every((part) => part.relationId !== schema.tableId);
}

function leavesOf({ parts }: OpenedSnapshot): ReadonlyMap<string, string> {
  return new Map(parts.map((part) => [part.relationId, part.fileNode]));
}

function pickPlace(place: { schema: string; name: string } | undefined) {
  return place === undefined ? {} : { schema: place.schema, name: place.name };
}

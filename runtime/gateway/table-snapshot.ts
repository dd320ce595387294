import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { assertCarried, assertKeyPublished } from "../change/catalog";
import type { SealedRows } from "../change/spool";
import { copyTable } from "../change/table-copy";
import type { TableSchema } from "../change/table-schema";
import type { GatewayConfig } from "../config";
import { describeForLog, SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { log } from "../operate/log";
import { maxLsn } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import type { ObjectStore } from "../staging/object-store";
import type { StagedFile } from "../staging/staged-commit";
import { storeTableSchema } from "../staging/table-schema-store";
import type { Capture } from "./capture";
import type { CapturedTable, SnapshotProgress } from "./captured-table";
import { type CopyRange, copiedShare, isCopied, planPart, rangeBlocks, rangesLeft } from "./copy-ranges";
import { RangeFiles } from "./range-files";
import { isResumable, resumeObstacle, resumeWait } from "./snapshot-resume";
import {
  beginLocked,
  exportSnapshot,
  joinSnapshot,
  type OpenedSnapshot,
  openSnapshot,
  type TablePlace,
  type Taken,
  takeSnapshot,
  waitForWriters,
} from "./snapshot-session";
import { isShareable } from "./snapshot-visibility";
import { Blocked, type WaitOptions } from "./snapshot-wait";
import type { SourceServers } from "./source-servers";
import type { Stager } from "./stager";
import { readMembership, readNextXid, readReplayedLsn, waitForOlder } from "./standby-snapshot";

export interface SnapshotContext {
  config: GatewayConfig;
  servers: SourceServers;
  store: ObjectStore;
  stager: Stager;
  capture: Capture;
  signal: AbortSignal;
  /** Holds what the stream sends until the work is done; `isCurrent` is false once its connection is lost. */
  hold(work: (isCurrent: () => boolean) => Promise<void>): void;
}

/** Rows that are gathered before they go to the file: whole data chunks. */
const lotRowsMax = 20_480;
const lotBytesMax = 4 * 1024 * 1024;
/** How long a table's writers or a lock are waited for, before others get the connection. */
const waitMsMax = 10_000;

/** How long the stream may be held for a snapshot to be taken, before the snapshot's session is given up. */
const heldMsMax = 5_000;

type Attempt =
  | Exclude<Taken, { kind: "taken" }>
  | { kind: "registered"; schema: TableSchema; opened: OpenedSnapshot; progress: SnapshotProgress }
  | { kind: "unseen"; waitingFor: string }
  /** since writers were waited for */
  | { kind: "republished" }
  | { kind: "disconnected" };

/** What is copied, once the snapshot is open. */
interface Work {
  schema: TableSchema;
  rowFilter: string | null;
  progress: SnapshotProgress;
  partitioned: boolean;
  /** for others to join; null when there is one range only */
  exportedId: string | null;
}

/**
 * One attempt at the snapshot of one table while the stream goes on, without a slot of its own: its rows are read in a
 * repeatable-read transaction, range after range, and the stream leaves out the transactions that this transaction
 * sees. The leader's session takes the snapshot and lives until all is copied; others may join it.
 */
export class TableSnapshot {
  private work: Work | null = null;
  private queue: CopyRange[] = [];
  private readonly helpers = new Set<Promise<void>>();
  private helpFailed = false;
  private readonly stop = new AbortController();
  private readonly signal: AbortSignal;

  /** @param onWork called once ranges can be copied by others too */
  constructor(
    readonly table: CapturedTable,
    private readonly context: SnapshotContext,
    private readonly onWork: () => void,
  ) {
    this.signal = AbortSignal.any([context.signal, this.stop.signal]);
  }

  /** Ranges that nobody has begun, if another session could take them. */
  get rangesToHelp(): number {
    return this.work?.exportedId == null || this.helpFailed || this.signal.aborted ? 0 : this.queue.length;
  }

  /**
   * Takes the snapshot, or goes on with the one that isn't complete, and copies until nothing is left.
   * @returns false when the table is gone or has left the publication
   * @throws Blocked when others hold it up
   */
  async lead(): Promise<boolean> {
    const client = await this.connect("snapshot");
    const disconnect = this.disconnectOnAbort(client);
    try {
      this.work = (await this.resume(client)) ?? (await this.begin(client));
      if (this.work === null) return false;
      this.onWork();
      // What a lost session had begun comes back into the queue.
      do {
        await this.copyRanges(client, this.work);
        await Promise.all(this.helpers);
      } while (this.queue.length > 0);
      await client.query("COMMIT");
      return true;
    } finally {
      this.table.snapshotTaken = false;
      this.stop.abort();
      disconnect();
      await Promise.all(this.helpers);
      await client.end().catch(() => {});
    }
  }

  /** Joins the snapshot from a session of its own and copies until no range is left; a failure is the leader's to make good. */
  help(): Promise<void> {
    const helping = this.helpNow().catch((thrown: unknown) => {
      this.helpFailed = true;
      if (this.signal.aborted) return;
      const error = toSourceError(thrown, "copying beside", this.context.config.source);
      log("warning", "snapshot-helper-lost", { table: this.name, error: describeForLog(error) });
    });
    this.helpers.add(helping);
    return helping.finally(() => this.helpers.delete(helping));
  }

  private async helpNow(): Promise<void> {
    const { work } = this;
    if (work?.exportedId == null) return;
    const client = await this.connect("snapshot helper");
    const disconnect = this.disconnectOnAbort(client);
    try {
      this.signal.throwIfAborted();
      const { schema, partitioned } = work;
      if (!(await joinSnapshot(client, work.exportedId, { ...schema, partitioned }))) {
        this.helpFailed = true;
        return;
      }
      await this.copyRanges(client, work);
      await client.query("COMMIT");
    } finally {
      disconnect();
      await client.end().catch(() => {});
    }
  }

  private connect(purpose: string): Promise<Client> {
    const { config, servers } = this.context;
    return servers.connect({ applicationName: `sluice ${config.id} ${purpose}` });
  }

  private disconnectOnAbort(client: Client): () => void {
    const abort = () => client.connection?.stream.destroy();
    this.signal.addEventListener("abort", abort, { once: true });
    return () => this.signal.removeEventListener("abort", abort);
  }

  /** The snapshot that isn't complete, under a new transaction; null when there is none, or it can't be gone on with. */
  private async resume(client: Client): Promise<Work | null> {
    const { table, context } = this;
    const progress = table.snapshot;
    if (progress === null || table.capture.kind !== "capturing") return null;
    const { schema } = table.capture;
    const opened = await openSnapshot(client, table.tableId, context.config, this.wait);
    if (opened === null) return null;
    if (table.snapshot !== progress) throw this.overtaken();
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
    return this.share(client, schema, opened, progress);
  }

  /**
   * A new snapshot. From its taking until the table is captured the stream stands still, between two transactions:
   * else, on a busy table, a transaction that the snapshot doesn't see would always come in between. Milliseconds.
   */
  private async begin(client: Client): Promise<Work | null> {
    const { table } = this;
    await this.waitForEarlierWriters(client);
    const deadlineMs = Date.now() + waitMsMax;
    for (let waits = 1; ; waits++) {
      const place = await beginLocked(client, table.tableId, this.wait);
      if (place === null) return null;
      const attempt = await this.withStreamHeld(client, (isCurrent) => this.take(client, place, isCurrent));
      if (attempt.kind === "registered") return this.share(client, attempt.schema, attempt.opened, attempt.progress);
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
      return { kind: "registered", schema, opened, progress };
    } finally {
      table.snapshotTaken = false;
    }
  }

  private async share(
    client: Client,
    schema: TableSchema,
    opened: OpenedSnapshot,
    progress: SnapshotProgress,
  ): Promise<Work> {
    this.queue = rangesLeft(progress.parts);
    const isShared = this.queue.length > 1 && isShareable(opened.visibility);
    const exportedId = isShared ? await exportSnapshot(client) : null;
    const { rowFilter } = opened.table;
    return { schema, rowFilter, progress, partitioned: isPartitioned(schema, opened), exportedId };
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

  private async copyRanges(client: Client, work: Work): Promise<void> {
    for (let range = this.queue.shift(); range !== undefined; range = this.queue.shift()) {
      try {
        await this.copyRange(client, work, range);
      } catch (error) {
        this.queue.unshift(range);
        throw error;
      }
    }
  }

  private async copyRange(client: Client, work: Work, range: CopyRange): Promise<void> {
    const { context, signal } = this;
    const copied: SealedRows[] = [];
    const source = { relation: range.part, rowFilter: work.rowFilter, blocks: rangeBlocks(range) };
    const output = new RangeFiles(context.stager);
    let files: StagedFile[];
    try {
      await copyTable(client, work.schema, source, {
        rowsMax: lotRowsMax,
        bytesMax: lotBytesMax,
        rowBytesMax: context.config.batch.rowBytesMax,
        signal,
        onRows: async (sealed) => {
          this.assertCurrent(work);
          await output.take(sealed);
          copied.push({ ...sealed, columns: [] });
          return "free";
        },
      });
      files = await output.finish();
    } finally {
      await output.close();
    }
    failpoint("gateway.after-range-files");
    this.assertCurrent(work);
    for (const sealed of copied) this.table.count(sealed);
    this.rangeDone(work, range, files);
    failpoint("gateway.after-range-done");
  }

  /** All of a range's files in one event, with the mark that it is done: both are in the same record. */
  private rangeDone({ schema, progress }: Work, range: CopyRange, files: StagedFile[]): void {
    const { table, context } = this;
    range.part.done.add(range.index);
    for (const file of files) {
      progress.rows += file.rows;
      progress.bytes += file.bytes;
    }
    if (isCopied(progress.parts)) progress.copiedAtMs = Date.now();
    if (files.length === 0) return;
    context.capture.pushSnapshotEvent(table, {
      kind: "snapshot-rows",
      tableId: table.tableId,
      schemaId: schema.schemaId,
      snapshotId: progress.snapshotId,
      files,
    });
  }

  private assertCurrent({ progress }: Work): void {
    if (this.table.snapshot !== progress) throw this.overtaken();
  }

  private overtaken(): SluiceError {
    return new SluiceError("conflict", `snapshot of ${this.name}: overtaken by a newer one`, {
      remedy: "Nothing is to be done: the newer snapshot copies the table.",
    });
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

function isPartitioned(schema: TableSchema, { parts }: OpenedSnapshot): boolean {
  return parts.every((part) => part.relationId !== schema.tableId);
}

function leavesOf({ parts }: OpenedSnapshot): ReadonlyMap<string, string> {
  return new Map(parts.map((part) => [part.relationId, part.fileNode]));
}

function pickPlace(place: { schema: string; name: string } | undefined) {
  return place === undefined ? {} : { schema: place.schema, name: place.name };
}

import { describeForLog, isTransient, type SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { log } from "../operate/log";
import type { Lsn } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import { type CapturedTable, type CaptureState, secondsLeft } from "./captured-table";
import { isCopied } from "./copy-ranges";
import type { ServerState } from "./slot-query";
import type { SnapshotContext } from "./snapshot-context";
import { Blocked } from "./snapshot-wait";
import { TableSnapshot } from "./table-snapshot";

/** Retry delay after the n-th failure in a row: 1, 2, 4 … 60 s. */
export function retryDelayMs(failures: number): number {
  return Math.min(1_000 * 2 ** Math.max(0, failures - 1), 60_000);
}

/** A table stopped by a value is copied up to it again only so often, or when the gateway is started anew. */
export const unrepresentableRetryMs = 600_000;

/** Delay before a table that others hold up is looked at again. */
const blockedDelayMs = 1_000;
const progressLogMs = 10_000;

/** Tables to copy now, largest first: those pending, to be resumed, or failed whose time has come. */
export function nextTables(
  tables: Iterable<CapturedTable>,
  running: ReadonlySet<string>,
  nowMs: number,
): CapturedTable[] {
  return [...tables]
    .filter((table) => !running.has(table.tableId))
    .filter((table) => isDue(table, nowMs))
    .sort((a, b) => b.bytesEstimate - a.bytesEstimate);
}

function isDue({ capture, snapshot, retryAtMs }: CapturedTable, nowMs: number): boolean {
  if (retryAtMs > nowMs) return false;
  switch (capture.kind) {
    case "pending":
    case "failed":
      return true;
    case "capturing":
      return snapshot !== null && !isCopied(snapshot.parts);
  }
}

/**
 * Runs the snapshots of pending tables over `snapshot.workers` connections in all, and stages the end of each. A free
 * connection begins the next table; when all have begun, it joins the table with the most ranges left.
 */
export class SnapshotScheduler {
  private readonly running = new Map<string, TableSnapshot>();
  private connections = 0;
  private loggedAtMs = 0;

  constructor(
    private readonly context: SnapshotContext,
    private readonly now: () => number = Date.now,
  ) {}

  /** Starts what can be started; call it at every change and poll. */
  schedule(): void {
    this.logProgress();
    while (!this.context.signal.aborted && this.connections < this.context.config.snapshot.workers) {
      const [table] = nextTables(this.context.capture.tables.values(), new Set(this.running.keys()), this.now());
      if (table !== undefined) {
        const snapshot = new TableSnapshot(table, this.context, () => this.schedule());
        this.running.set(table.tableId, snapshot);
        this.connect(this.lead(snapshot).finally(() => this.running.delete(table.tableId)));
        continue;
      }
      const [most] = [...this.running.values()].sort((a, b) => b.rangesToHelp - a.rangesToHelp);
      if (most === undefined || most.rangesToHelp === 0) return;
      this.connect(most.help());
    }
  }

  private connect(work: Promise<void>): void {
    this.connections++;
    work.finally(() => {
      this.connections--;
      this.schedule();
    });
  }

  private async lead(snapshot: TableSnapshot): Promise<void> {
    const { table } = snapshot;
    const { capture } = table;
    const name = `${table.schema}.${table.name}`;
    log("info", "snapshot-started", { table: name });
    try {
      if (!(await snapshot.lead())) {
        // It is gone, or published no more: the next look at the publication says so.
        table.retryAtMs = this.now() + blockedDelayMs;
        return;
      }
      table.failures = 0;
      log("info", "snapshot-copied", { table: name, rows: table.snapshot?.rows });
      this.stageEnds();
    } catch (thrown) {
      if (this.context.signal.aborted) return;
      if (thrown instanceof Blocked) {
        table.retryAtMs = this.now() + blockedDelayMs;
        log("info", "snapshot-waits", { table: name, for: thrown.waitingFor });
      } else this.failed(table, capture, toSourceError(thrown, `snapshot of ${name}`, this.context.config.source));
    }
  }

  /** @param before how it was captured when the attempt began */
  private failed(table: CapturedTable, before: CaptureState, error: SluiceError): void {
    const name = `${table.schema}.${table.name}`;
    // By a value in the stream, meanwhile.
    const isStopped = () => table.capture.kind === "failed" && table.capture !== before;
    if (error.kind === "conflict" && (table.capture.kind === "pending" || isStopped())) {
      // Or its columns, rows or partitions changed, and it is pending again.
      log("info", "snapshot-overtaken", { table: name });
      return;
    }
    table.failures++;
    const delayMs = error.kind === "unrepresentable" ? unrepresentableRetryMs : retryDelayMs(table.failures);
    log("warning", "snapshot-failed", { table: name, error: describeForLog(error), retryMs: delayMs });
    // At once: the boundary may be as far as the next connection.
    table.retryAtMs = this.now() + delayMs;
    if (table.snapshot?.resumable === true && isTransient(error.kind)) {
      // What is copied is kept; the stream goes on.
      table.waitingFor = error.message;
      return;
    }
    const { capture } = this.context;
    capture.atBoundary(() => {
      if (!isStopped()) capture.drop(table, () => table.fail(error, table.retryAtMs));
    });
  }

  /**
   * What the monitor has seen of the server. Commits that a snapshot sees may not be flushed yet (synchronous_commit
   * off), but are within three rounds of the WAL writer (PostgreSQL documentation, section 28.4). On a standby all is
   * flushed that is replayed.
   * @param readAtMs before it was read
   */
  serverSeen({ walLsn, walWriterDelayMs, inRecovery }: ServerState, readAtMs: number): void {
    for (const { snapshot } of this.context.capture.tables.values()) {
      if (snapshot === null || snapshot.settledLsn !== null || inRecovery) continue;
      if (readAtMs - snapshot.resumedAtMs > 1_000 + 3 * walWriterDelayMs) snapshot.settledLsn = walLsn;
    }
    this.stageEnds();
  }

  /**
   * Stages the end of each copied snapshot that the stream has passed, so that no record shows more than its `endLsn`
   * (invariant 4).
   */
  stageEnds(): void {
    const { capture, stager } = this.context;
    if (!capture.streaming) return;
    for (const table of capture.tables.values()) {
      const { snapshot } = table;
      if (snapshot?.copiedAtMs == null) continue;
      const { lastHorizonLsn, settledLsn } = snapshot;
      const isPassed = (lsn: Lsn) => capture.boundaryLsn >= lsn;
      if (!isPassed(lastHorizonLsn) && (settledLsn === null || !isPassed(settledLsn))) continue;
      failpoint("gateway.before-snapshot-end");
      table.snapshot = null;
      table.snapshotComplete = true;
      table.ended = { snapshot, sequence: stager.queuedSequence + 1 };
      table.snapshotRows = snapshot.rows;
      table.waitingFor = undefined;
      const { tableId, schemaId } = table;
      const { snapshotId, rows } = snapshot;
      capture.pushSnapshotEvent(table, { kind: "snapshot-end", tableId, schemaId, snapshotId, rows }, () => {
        if (table.snapshotId !== snapshotId || !table.snapshotComplete) return;
        table.snapshot = snapshot;
        table.snapshotComplete = false;
      });
      failpoint("gateway.after-snapshot-end");
    }
  }

  private logProgress(): void {
    const nowMs = this.now();
    if (nowMs - this.loggedAtMs < progressLogMs) return;
    this.loggedAtMs = nowMs;
    for (const { table } of this.running.values()) {
      const { state } = table.status(this.context.stager.sequence);
      if (state.kind !== "snapshot" || table.snapshot === null) continue;
      const { rows, bytes, rowsEstimate, rangesDone, ranges } = state;
      const left = secondsLeft(table.snapshot, nowMs);
      const name = `${table.schema}.${table.name}`;
      log("info", "snapshot-progress", {
        table: name,
        rows,
        rowsEstimate,
        bytes,
        rangesDone,
        ranges,
        secondsLeft: left,
      });
    }
  }
}

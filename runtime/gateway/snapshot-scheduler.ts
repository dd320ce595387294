import { describeForLog, type SluiceError } from "../errors";
import { log } from "../operate/log";
import type { Lsn } from "../postgres/lsn";
import { toSourceError } from "../postgres/source-error";
import type { CapturedTable } from "./captured-table";
import { type SnapshotContext, snapshotTable } from "./table-snapshot";

/** Retry delay after the n-th failure in a row: 1, 2, 4 … 60 s. */
export function retryDelayMs(failures: number): number {
  return Math.min(1_000 * 2 ** Math.max(0, failures - 1), 60_000);
}

/** A table stopped by a value is copied up to it again only so often, or when the gateway is started anew. */
export const unrepresentableRetryMs = 600_000;

/** Tables to copy now, largest first: those pending, and those failed whose time has come. */
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

function isDue({ capture, retryAtMs }: CapturedTable, nowMs: number): boolean {
  return capture.kind !== "capturing" && retryAtMs <= nowMs;
}

/** Runs the snapshots of pending tables, `snapshot.workers` at a time, and stages the end of each. */
export class SnapshotScheduler {
  private readonly running = new Set<string>();
  /** copied, waiting for the stream to pass the snapshot's horizon */
  private ends: { table: CapturedTable; snapshotId: string; horizonLsn: Lsn; sinceMs: number }[] = [];

  constructor(
    private readonly context: SnapshotContext,
    private readonly now: () => number = Date.now,
  ) {}

  /** Starts what can be started; call it at every change and poll. */
  schedule(): void {
    if (this.context.signal.aborted) return;
    const free = this.context.config.snapshot.workers - this.running.size;
    for (const table of nextTables(this.context.capture.tables.values(), this.running, this.now()).slice(
      0,
      Math.max(free, 0),
    )) {
      this.running.add(table.tableId);
      this.run(table).finally(() => {
        this.running.delete(table.tableId);
        this.schedule();
      });
    }
  }

  get runningCount(): number {
    return this.running.size;
  }

  private async run(table: CapturedTable): Promise<void> {
    const name = `${table.schema}.${table.name}`;
    if (table.capture.kind === "failed") table.await();
    log("info", "snapshot-started", { table: name });
    try {
      const horizonLsn = await snapshotTable(table, this.context);
      if (horizonLsn === null || table.snapshotId === null) return;
      table.failures = 0;
      this.ends.push({ table, snapshotId: table.snapshotId, horizonLsn, sinceMs: this.now() });
      log("info", "snapshot-copied", { table: name, rows: table.snapshotRows });
      this.stageEnds(false);
    } catch (thrown) {
      if (this.context.signal.aborted) return;
      this.failed(table, toSourceError(thrown, `snapshot of ${name}`, this.context.config.source));
    }
  }

  private failed(table: CapturedTable, error: SluiceError): void {
    table.failures++;
    const delayMs = error.kind === "unrepresentable" ? unrepresentableRetryMs : retryDelayMs(table.failures);
    log("warning", "snapshot-failed", {
      table: `${table.schema}.${table.name}`,
      error: describeForLog(error),
      retryMs: delayMs,
    });
    // At once: the boundary may be as far as the next connection.
    table.retryAtMs = this.now() + delayMs;
    const { capture } = this.context;
    capture.atBoundary(() => {
      // A value in the stream may have stopped it meanwhile.
      if (table.capture.kind !== "failed") capture.drop(table, () => table.fail(error, table.retryAtMs));
    });
  }

  /**
   * Stages the end of each copied snapshot that the stream has passed, so that no record shows more than its `endLsn`
   * (invariant 4). `idle`: the server has nothing more to send; then after 3 s nothing can come any more.
   */
  stageEnds(idle: boolean): void {
    if (this.ends.length === 0) return;
    const { capture } = this.context;
    this.ends = this.ends.filter(({ table, snapshotId, horizonLsn, sinceMs }) => {
      if (table.snapshot?.snapshotId !== snapshotId) return false;
      const passed = capture.boundaryLsn >= horizonLsn || (idle && this.now() - sinceMs > 3_000);
      if (!passed) return true;
      table.snapshot = null;
      table.snapshotComplete = true;
      capture.pushSnapshotEvent(table, {
        kind: "snapshot-end",
        tableId: table.tableId,
        schemaId: table.schemaId,
        snapshotId,
        rows: table.snapshotRows,
      });
      return false;
    });
  }
}

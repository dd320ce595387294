import type { SluiceError } from "../errors";
import type { RunHistory } from "../operate/run-history";
import type { TableRun } from "../status";

/** One turn of a table that had something to do. */
export interface Attempt {
  startedAtMs: number;
  durationMs: number;
  upserted: number;
  deleted: number;
  dropped: number;
  /** of staged files */
  bytes: number;
  /** of an attempt that has applied something */
  fromSequence?: number;
  toSequence?: number;
  deltaVersion?: number;
  failure: { error: SluiceError; isQuarantined: boolean } | null;
}

/** So many of the newest runs are told in the status, and make its share of failures. */
export const recentRuns = 3;

export type RunTable = Pick<TableRun, "tableId" | "schema" | "name" | "mode">;

/** Pure: the run after one more attempt; a new run when the attempt isn't of the open one. */
export function runAfter(open: TableRun | null, table: RunTable, attempt: Attempt): TableRun {
  const run = open ?? emptyRun(table, attempt.startedAtMs);
  const attempts = run.attempts + 1;
  const failedAttempts = run.failedAttempts + (attempt.failure === null ? 0 : 1);
  const { error: _error, ...rest } = run;
  return {
    ...rest,
    ...table,
    fromSequence: run.fromSequence ?? attempt.fromSequence ?? null,
    toSequence: attempt.toSequence ?? run.toSequence,
    deltaVersion: attempt.deltaVersion ?? run.deltaVersion,
    durationMs: run.durationMs + attempt.durationMs,
    upserted: run.upserted + attempt.upserted,
    deleted: run.deleted + attempt.deleted,
    dropped: run.dropped + attempt.dropped,
    bytes: run.bytes + attempt.bytes,
    attempts,
    failedAttempts,
    failPercent: percent(failedAttempts, attempts),
    ...(attempt.failure === null ? {} : { error: toldOf(attempt.failure) }),
  };
}

function toldOf({ error, isQuarantined }: NonNullable<Attempt["failure"]>): TableRun["error"] {
  const { kind, message, remedy } = error;
  return { errorKind: kind, message, ...(remedy === undefined ? {} : { remedy }), isQuarantined };
}

function emptyRun(table: RunTable, startedAtMs: number): TableRun {
  return {
    ...table,
    type: "delta",
    status: "running",
    startedAt: new Date(startedAtMs).toISOString(),
    endedAt: null,
    durationMs: 0,
    upserted: 0,
    deleted: 0,
    dropped: 0,
    bytes: 0,
    fromSequence: null,
    toSequence: null,
    deltaVersion: null,
    attempts: 0,
    failedAttempts: 0,
    failPercent: 0,
  };
}

/** Pure. */
export function runEnded(run: TableRun, endedAtMs: number): TableRun {
  const status = run.error === undefined ? "succeeded" : run.error.isQuarantined ? "quarantined" : "failed";
  return { ...run, status, endedAt: new Date(endedAtMs).toISOString() };
}

/** Pure: failed attempts of all attempts, with one decimal. */
export function failPercentOf(runs: readonly TableRun[]): number {
  const attempts = runs.reduce((sum, run) => sum + run.attempts, 0);
  return percent(
    runs.reduce((sum, run) => sum + run.failedAttempts, 0),
    attempts,
  );
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 1_000) / 10;
}

/** The runs of all tables, as they go on. */
export class TableRuns {
  private readonly open = new Map<string, TableRun>();
  /** all runs have ended since the last flush: what may be the last for long isn't put off */
  private hasEnded = false;

  constructor(
    private readonly history: RunHistory,
    /** null: runs begin and end by `begin` and `end` */
    private readonly spanMs: number | null,
  ) {}

  /** A triggered run of these tables, also of those that will have nothing to do. */
  begin(tables: Iterable<RunTable>, nowMs: number): void {
    for (const table of tables) this.put(emptyRun(table, nowMs));
  }

  record(table: RunTable, attempt: Attempt): void {
    this.settle(attempt.startedAtMs);
    this.put(runAfter(this.open.get(table.tableId) ?? null, table, attempt));
  }

  /** Ends the spans that are over. */
  settle(nowMs: number): void {
    const { spanMs } = this;
    if (spanMs === null) return;
    this.endWhere((run) => Math.abs(nowMs - Date.parse(run.startedAt)) >= spanMs, nowMs);
  }

  /** Ends all that are open. */
  end(nowMs: number): void {
    this.endWhere(() => true, nowMs);
    this.hasEnded = true;
  }

  /** Newest first. */
  recent(tableId: string): TableRun[] {
    return this.history.of(tableId).slice(-recentRuns).reverse();
  }

  async flush(): Promise<void> {
    await this.history.flush({ isAtOnce: this.hasEnded });
    this.hasEnded = false;
  }

  private endWhere(isOver: (run: TableRun) => boolean, nowMs: number): void {
    for (const [tableId, run] of this.open) {
      if (!isOver(run)) continue;
      this.open.delete(tableId);
      this.history.put(runEnded(run, nowMs));
    }
  }

  private put(run: TableRun): void {
    this.open.set(run.tableId, run);
    this.history.put(run);
  }
}

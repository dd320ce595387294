import type { SluiceError } from "../errors";
import type { RunHistory, TableRun } from "../operate/run-history";

/** A run that goes on for ever is kept by so much of it. */
const stretchMs = 60_000;

export interface AppliedBatch {
  table: Pick<TableRun, "tableId" | "schema" | "name" | "mode">;
  startedMs: number;
  endedMs: number;
  upserted: number;
  deleted: number;
  bytes: number;
  /** staged commits: after which the table's content was before, and which it has now */
  baseSequence: number;
  sequence: number;
  deltaVersion: number;
}

/** Gathers what a table's batches and failures come to, and keeps it in the history. */
export class TableRuns {
  private run: (TableRun & { startedMs: number }) | null = null;

  constructor(private readonly history: RunHistory) {}

  applied(batch: AppliedBatch): void {
    const run = this.stretch("succeeded", batch.table, batch.startedMs);
    run.attempts++;
    run.upserted += batch.upserted;
    run.deleted += batch.deleted;
    run.bytes += batch.bytes;
    run.durationMs += batch.endedMs - batch.startedMs;
    run.fromSequence ??= batch.baseSequence + 1;
    run.toSequence = batch.sequence;
    run.deltaVersion = batch.deltaVersion;
    this.end(run, batch.endedMs);
  }

  failed(table: AppliedBatch["table"], error: SluiceError, startedMs: number, endedMs: number): void {
    const { kind, message, remedy } = error;
    if (this.run?.error?.message !== message) this.close();
    const run = this.stretch("failed", table, startedMs);
    run.attempts++;
    run.durationMs += endedMs - startedMs;
    run.failPercent = 100;
    run.error = { kind, message, ...(remedy === undefined ? {} : { remedy }) };
    this.end(run, endedMs);
  }

  /** Keeps what is gathered, once it is a stretch or nothing is to come. */
  close(nowMs = Number.POSITIVE_INFINITY): void {
    if (this.run === null || nowMs - this.run.startedMs < stretchMs) return;
    const { startedMs: _, ...run } = this.run;
    this.history.add(run);
    this.run = null;
  }

  private stretch(status: TableRun["status"], table: AppliedBatch["table"], startedMs: number) {
    this.close(startedMs);
    if (this.run?.status !== status || this.run.name !== table.name || this.run.schema !== table.schema) this.close();
    this.run ??= {
      ...table,
      status,
      startedMs,
      startedAt: new Date(startedMs).toISOString(),
      endedAt: "",
      durationMs: 0,
      attempts: 0,
      upserted: 0,
      deleted: 0,
      dropped: 0,
      failPercent: 0,
      bytes: 0,
      fromSequence: null,
      toSequence: null,
      deltaVersion: null,
    };
    return this.run;
  }

  private end(run: TableRun, endedMs: number): void {
    run.endedAt = new Date(endedMs).toISOString();
  }
}

import { isDeepStrictEqual } from "node:util";
import { describeError, SluiceError } from "../errors";
import { log } from "../operate/log";
import { formatLsn, type Lsn, lsnZero, maxLsn, parseLsn } from "../postgres/lsn";
import { type ApplierProgress, readProgress, writeProgress } from "../staging/applier-progress";
import type { ObjectStore } from "../staging/object-store";
import { gatewayProgressKeys } from "../staging/progress-keys";
import type { StagedEvent } from "../staging/staged-commit";
import { readLogIdentity } from "../staging/staging-log";
import { faultOf } from "../staging/storage-fault";
import type { ApplierTableStatus } from "../status";
import type { AppliedTable, TableKind } from "./applied-table";
import { bytesAllowed, newBudget, refill, spend } from "./maintenance-budget";
import { Purge } from "./purge";
import { StagedRecords } from "./staged-records";
import { isSamePlace } from "./table-home";
import type { SharedContext } from "./table-state";

/** Part of the interval after which no further run of maintenance begins. */
const maintainPart = 0.2;

/** The hint is written that often at most. */
const progressMs = 1_000;

/** All tables of a staging log: finds them, lets each apply in its turn, and knows how far all are. */
export class ApplierTables {
  appliedLsn = formatLsn(lsnZero);
  private readonly tables = new Map<string, AppliedTable>();
  private scannedSequence = 0;
  /** what the gateway says of a quiet source: read before the head, so all before it is staged up to the head */
  private idleLsn: Lsn = lsnZero;
  private written: ApplierProgress | null = null;
  /** rows and changes in the staged commits that were looked at */
  stagedRows = 0;
  /** trigger `schedule`: time for which the last run was due, and for which the next one is */
  ranAtMs: number | null = null;
  nextRunAtMs: number | null = null;
  readonly purge: Purge;
  private budget = newBudget(performance.now());
  private maintained = 0;
  /** by the clock that nobody sets, as every interval here */
  private writtenMs = Number.NEGATIVE_INFINITY;

  private readonly context: SharedContext;

  private constructor(
    private readonly store: ObjectStore,
    private readonly id: string,
    private readonly kind: TableKind,
    context: Omit<SharedContext, "saveProgress">,
  ) {
    this.context = { ...context, saveProgress: () => this.writeProgress() };
    this.purge = new Purge(store, context.logId, context.maintenance.stagingRetentionMs);
  }

  static async open(
    store: ObjectStore,
    logId: string,
    id: string,
    kind: TableKind,
    context: Omit<SharedContext, "id" | "records" | "logId" | "saveProgress">,
  ): Promise<ApplierTables> {
    const tables = new ApplierTables(store, id, kind, { ...context, id, logId, records: new StagedRecords(store) });
    const progress = await readProgress(store, id, logId);
    if (progress === null) return tables;
    tables.written = progress;
    tables.scannedSequence = progress.scannedSequence;
    if (progress.ranAt !== undefined) tables.ranAtMs = Date.parse(progress.ranAt);
    for (const [tableId, known] of Object.entries(progress.tables)) tables.add(tableId, known);
    return tables;
  }

  private add(tableId: string, known: ApplierProgress["tables"][string]): void {
    this.tables.set(tableId, this.kind.make(tableId, known, this.context));
  }

  get stagedSequence(): number {
    return this.context.records.head;
  }

  /** Every table has what is staged up to here. */
  get appliedSequence(): number {
    let sequence = this.scannedSequence;
    for (const table of this.tables.values()) sequence = Math.min(sequence, table.doneSequence);
    return sequence;
  }

  get isDue(): boolean {
    const nowMs = Date.now();
    return [...this.tables.values()].some((table) => table.isDue(nowMs));
  }

  /** A triggered run begins: what has failed is tried again. */
  beginRun(): void {
    const tables = [...this.tables.values()];
    for (const table of tables) table.retry();
    this.context.runs.begin(
      tables.filter((table) => table.isPresent).map((table) => table.runTable()),
      Date.now(),
    );
  }

  async endRun(): Promise<void> {
    this.context.runs.end(Date.now());
    await this.flushRuns();
  }

  /** How long to wait until something can be done towards `goal`, 0 for at once; null when nothing can any more. */
  waitMs(goal: number): number | null {
    const nowMs = Date.now();
    const waits = [...this.tables.values()].flatMap((table) => table.waitMs(goal, nowMs) ?? []);
    return waits.length === 0 ? null : Math.min(...waits);
  }

  /** Of the first table that has failed. */
  get failed(): SluiceError | null {
    for (const table of this.tables.values()) if (table.error !== null) return table.error;
    return null;
  }

  /**
   * Looks for new staged commits, and for new tables in them.
   * @throws SluiceError `conflict` when another log is in the folder now
   */
  async look(): Promise<void> {
    const { records, logId } = this.context;
    if ((await readLogIdentity(this.store)) !== logId) {
      throw new SluiceError("conflict", `staging: another log is in ${this.store.location} now`, {
        remedy: "Nothing to do: the applier starts anew with it.",
      });
    }
    this.idleLsn = await readIdleLsn(this.store);
    await records.refreshHead();
    // Every table that is only in purged records has left, or is known from its later ones.
    const purgedSequence = this.scannedSequence === 0 ? (await records.tail()) - 1 : 0;
    this.scannedSequence = Math.max(this.scannedSequence, purgedSequence);
    while (this.scannedSequence < records.head) {
      const record = await records.read(this.scannedSequence + 1);
      for (const [tableId, { schema, name, snapshotId }] of Object.entries(record.tables)) {
        if (this.tables.has(tableId)) continue;
        // A table whose snapshot was begun may be older than what is left of the log.
        const mayLack = record.sequence === purgedSequence + 1 && snapshotId !== null;
        const sequence = purgedSequence > 0 && mayLack ? 0 : record.sequence - 1;
        this.add(tableId, { schema, name, removed: false, heldSequence: null, sequence });
      }
      for (const event of [...record.events.values()].flat()) {
        this.stagedRows += rowsOf(event);
        if (event.kind === "snapshot-end") this.tables.get(event.tableId)?.snapshotStaged();
      }
      this.scannedSequence = record.sequence;
    }
    await this.updateLsn();
  }

  /** Whether there are staged commits that nobody has looked at. Cheap. */
  async hasStaged(): Promise<boolean> {
    const { records } = this.context;
    await records.refreshHead();
    return records.head > this.scannedSequence;
  }

  /** One turn for each table that has something to do. */
  async applyDue(signal: AbortSignal): Promise<void> {
    const turns = this.tables.values();
    const work = async () => {
      for (const table of turns) {
        if (signal.aborted) break;
        if (table.isDue(Date.now())) await table.advance(Date.now());
      }
    };
    await Promise.all(Array.from({ length: this.kind.parallelMax }, work));
    await this.updateLsn();
    if (performance.now() - this.writtenMs >= progressMs || this.hasNewHome) await this.keepProgress();
  }

  /** A table has got its place: that it is ours must be known should its log be damaged. */
  private get hasNewHome(): boolean {
    const written = this.written?.tables ?? {};
    for (const [tableId, table] of this.tables) {
      if (table.progress().heldSequence !== null && (written[tableId]?.heldSequence ?? null) === null) return true;
    }
    return false;
  }

  /**
   * What keeps tables and staging small, within its part of the time; `intervalMs`: how long a due batch may wait, null
   * when none does. Never throws.
   */
  async maintain(signal: AbortSignal, intervalMs: number | null): Promise<void> {
    const { maintenance, records } = this.context;
    const untilMs = intervalMs === null ? Number.POSITIVE_INFINITY : performance.now() + intervalMs * maintainPart;
    if (this.purge.isDue) {
      await this.keepProgress();
      await this.purge.run(records.head);
    }
    const tables = [...this.tables.values()];
    // Each begins another time, so that none waits for all others.
    const first = this.maintained++ % Math.max(1, tables.length);
    for (const table of [...tables.slice(first), ...tables.slice(0, first)]) {
      for (;;) {
        const startedMs = performance.now();
        this.budget = refill(this.budget, startedMs, maintenance.timeShareMax);
        const bytesMax = bytesAllowed(this.budget, intervalMs, maintenance.bytesMax);
        if (signal.aborted || bytesMax === 0 || startedMs > untilMs) return;
        const bytes = await table.maintain(bytesMax, !this.isShared(table));
        if (bytes === null) break;
        this.budget = spend(this.budget, performance.now() - startedMs, bytes);
      }
    }
  }

  /** Another table may need files of the place. */
  private isShared(table: AppliedTable): boolean {
    return [...this.tables.values()].some(
      (other) => other !== table && other.isPresent && isSamePlace(other.place, table.place),
    );
  }

  async close(): Promise<void> {
    this.context.runs.end(Date.now());
    await this.keepProgress();
  }

  status(): ApplierTableStatus[] {
    return [...this.tables.values()].map((table) => table.status());
  }

  private async updateLsn(): Promise<void> {
    const sequence = this.appliedSequence;
    const endLsn = sequence === 0 ? lsnZero : parseLsn(await this.context.records.endLsn(sequence));
    const isCaughtUp = sequence === this.stagedSequence;
    this.appliedLsn = formatLsn(isCaughtUp ? maxLsn(endLsn, this.idleLsn) : endLsn);
  }

  /** Never throws: nothing depends on it. */
  private async flushRuns(): Promise<void> {
    await this.context.runs.flush().catch((error: unknown) => {
      log("warning", "run-history-failed", { error: describeError(error) });
    });
  }

  /** The progress is a hint: a staging that can't take it now is no reason to end. */
  private async keepProgress(): Promise<void> {
    try {
      await this.writeProgress();
    } catch (error) {
      if (faultOf(error) === "permanent") throw error;
      log("warning", "progress-failed", { staging: this.store.location, error: describeError(error) });
    }
  }

  private async writeProgress(): Promise<void> {
    this.context.runs.settle(Date.now());
    await this.flushRuns();
    const tables = Object.fromEntries([...this.tables].map(([tableId, table]) => [tableId, table.progress()]));
    const { logId } = this.context;
    const ran = this.ranAtMs === null ? {} : { ranAt: new Date(this.ranAtMs).toISOString() };
    const progress: ApplierProgress = { version: 1, logId, scannedSequence: this.scannedSequence, ...ran, tables };
    this.writtenMs = performance.now();
    if (isDeepStrictEqual(progress, this.written)) return;
    await writeProgress(this.store, this.id, progress);
    this.written = progress;
  }
}

function rowsOf(event: StagedEvent): number {
  switch (event.kind) {
    case "changes":
      return event.inserts + event.updates + event.deletes;
    case "snapshot-rows":
      return event.files.reduce((sum, { rows }) => sum + rows, 0);
    default:
      return 0;
  }
}

/** `progress/gateway.json`: up to where an idle source had nothing to stage; zero when it can't be read. */
async function readIdleLsn(store: ObjectStore): Promise<Lsn> {
  try {
    const content = await store.get(gatewayProgressKeys.idle);
    return content === null ? lsnZero : parseLsn((JSON.parse(content.toString("utf8")) as { idleLsn: string }).idleLsn);
  } catch {
    return lsnZero;
  }
}

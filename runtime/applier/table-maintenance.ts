import type { MaintenanceConfig } from "../config";
import type { FileState } from "../destination/compaction-plan";
import { isSmall } from "../destination/compaction-plan";
import type { DeltaTable } from "../destination/delta/delta-table";
import { fileRetentionMs } from "../destination/delta/retention";
import { vacuumTable } from "../destination/delta/vacuum";
import type { DuckDbSession } from "../destination/duckdb-session";
import { compactTable, fileStates, nextCompaction } from "../destination/table-compaction";
import { describeError } from "../errors";
import { log } from "../operate/log";
import type { TableCondition, TableMaintenanceStatus } from "../status";
import type { TableHome } from "./table-home";

/** A vacuum reads the table's folder: not more often. */
const vacuumMs = 3_600_000;
const retryMs = 300_000;

/** Of a table that nothing was done to yet. */
export const noMaintenance = (): TableMaintenanceStatus => ({
  compactions: 0,
  conflicts: 0,
  filesCompacted: 0,
  bytesCompacted: 0,
  bytesWritten: 0,
  filesVacuumed: 0,
  bytesVacuumed: 0,
  checkpoints: 0,
  checkpointVersion: null,
  logFilesRemoved: 0,
  lastRunAt: null,
  error: null,
});

export interface MaintenanceRun {
  /** what one compaction may read */
  bytesMax: number;
  /** nobody else needs files of the place */
  mayVacuum: boolean;
  /** physical names of the table's key */
  keyNames: () => Promise<string[]>;
  /** of the columns that the table's options say its rows are clustered by; [] when they don't */
  clusterNames: string[];
}

/** Keeps one table as fast as it was, between batches. A failure is told, and never in the way of applying. */
export class TableMaintenance {
  readonly status = noMaintenance();
  /** nothing to compact at this version, as far as it was looked for */
  private checked: { path: string; version: number; isIdle: boolean } | null = null;
  /** the version that isn't one of a compaction, and since when the table has had it */
  private changed: { path: string; version: number; sinceMs: number } | null = null;
  private vacuumAfterMs = 0;
  private pausedUntilMs = 0;
  private failure: unknown = null;

  constructor(
    private readonly session: DuckDbSession,
    private readonly config: MaintenanceConfig,
    private readonly engineInfo: string,
  ) {}

  /** One compaction, or a vacuum. @returns bytes of files read to write them anew; null when nothing was to be done */
  async run(home: TableHome, label: string, options: MaintenanceRun): Promise<number | null> {
    const { delta } = home;
    if (!delta.exists || home.isDisplaced || performance.now() < this.pausedUntilMs) return null;
    this.failure = null;
    try {
      const bytes = (await this.compact(home, label, options)) ?? (await this.vacuum(delta, label, options));
      if (bytes !== null) {
        this.status.error = null;
        this.status.lastRunAt = new Date().toISOString();
      }
      return bytes;
    } catch (error) {
      this.failure = error;
      this.pausedUntilMs = performance.now() + retryMs;
      this.status.error = describeError(error);
      log("warning", "maintenance-failed", { table: label, error: describeError(error), retryMs });
      return 0;
    }
  }

  /** What a run has failed by, once; null when none has. */
  takeFailure(): unknown {
    const { failure } = this;
    this.failure = null;
    return failure;
  }

  /** After a commit. A failure harms no reader, and is told. */
  async checkpoint(delta: DeltaTable, label: string): Promise<void> {
    if (!delta.checkpointIsDue) return;
    try {
      this.status.logFilesRemoved += await delta.writeCheckpoint();
      this.status.checkpoints++;
      this.status.checkpointVersion = delta.snapshot.version;
    } catch (error) {
      this.status.error = describeError(error);
      log("warning", "checkpoint-failed", { table: label, error: describeError(error) });
    }
  }

  private async compact({ delta }: TableHome, label: string, options: MaintenanceRun): Promise<number | null> {
    const { path, snapshot } = delta;
    if (!this.config.compaction) return null;
    const isIdle = this.isIdle(path, snapshot.version);
    const { checked } = this;
    if (checked?.path === path && checked.version === snapshot.version && checked.isIdle === isIdle) return null;
    const limits = isIdle ? { ...this.config, deletedShareMin: Number.MIN_VALUE } : this.config;
    const step = nextCompaction(delta, limits, options.bytesMax);
    if (step === null) {
      this.checked = { path, version: snapshot.version, isIdle };
      return null;
    }
    const ofKey = this.config.clusterByKey && options.clusterNames.length === 0;
    const orderBy = ofKey ? await options.keyNames() : options.clusterNames;
    const done = await compactTable(delta, step, { session: this.session, engineInfo: this.engineInfo, orderBy });
    if (done === null) {
      this.status.conflicts++;
      return 0;
    }
    if (this.changed !== null) this.changed.version = snapshot.version;
    this.status.compactions++;
    this.status.filesCompacted += done.filesRemoved;
    this.status.bytesCompacted += done.bytesRead;
    this.status.bytesWritten += done.bytesWritten;
    log("info", "compacted", { table: label, reason: step.reason, ...done });
    return done.bytesRead;
  }

  /** Whether the table's deletion vectors may all go, as it rests. */
  private isIdle(path: string, version: number): boolean {
    const { purgeAfterIdleMs } = this.config;
    if (purgeAfterIdleMs === undefined) return false;
    if (this.changed?.path !== path || this.changed.version !== version) {
      this.changed = { path, version, sinceMs: performance.now() };
    }
    return performance.now() - this.changed.sinceMs >= purgeAfterIdleMs;
  }

  private async vacuum(delta: DeltaTable, label: string, { mayVacuum }: MaintenanceRun): Promise<number | null> {
    if (!this.config.vacuum || !mayVacuum || performance.now() < this.vacuumAfterMs) return null;
    // Files that other writers have added since the last batch are not to be taken for needless ones.
    await delta.refresh();
    const retentionMs = fileRetentionMs(delta.snapshot.metaData?.configuration, this.config.fileRetentionMs);
    const { files, bytes } = await vacuumTable(delta, retentionMs);
    this.vacuumAfterMs = performance.now() + Math.max(1_000, Math.min(vacuumMs, retentionMs));
    this.status.filesVacuumed += files;
    this.status.bytesVacuumed += bytes;
    if (files > 0) log("info", "vacuumed", { table: label, files, bytes });
    return 0;
  }
}

/** What a reader of a table meets; remembered by version, as it is asked for often. */
export class ConditionMemo {
  private known: { delta: DeltaTable; version: number; condition: TableCondition } | null = null;

  of(delta: DeltaTable): TableCondition {
    const { version } = delta.snapshot;
    if (this.known?.delta !== delta || this.known.version !== version) {
      this.known = { delta, version, condition: tableCondition(fileStates(delta)) };
    }
    return this.known.condition;
  }
}

/** Pure. */
export function tableCondition(files: readonly FileState[]): TableCondition {
  const sum = (of: (file: FileState) => number) => files.reduce((total, file) => total + of(file), 0);
  const records = sum((file) => file.records);
  return {
    files: files.length,
    bytes: sum((file) => file.bytes),
    smallFiles: files.filter(isSmall).length,
    deletedShare: records === 0 ? 0 : Math.round((sum((file) => file.deleted) / records) * 1000) / 1000,
  };
}

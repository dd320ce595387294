import type { MaintenanceConfig } from "../config";
import { fileRetentionMs } from "../destination/delta/retention";
import { vacuumTable } from "../destination/delta/vacuum";
import type { DuckDbSession } from "../destination/duckdb-session";
import { compactTable } from "../destination/table-compaction";
import { describeError } from "../errors";
import { log } from "../operate/log";
import type { TableMaintenanceStatus } from "../status";
import type { TableHome } from "./table-home";

/** A vacuum reads the table's folder: not more often. */
const vacuumMs = 3_600_000;
const retryMs = 300_000;

/** Keeps one table as fast as it was, between batches. A failure is told, and never in the way of applying. */
export class TableMaintenance {
  readonly status: TableMaintenanceStatus = { compactions: 0, filesCompacted: 0, bytesWritten: 0, filesVacuumed: 0 };
  /** nothing to compact at this version */
  private checked: { path: string; version: number } | null = null;
  private vacuumAfterMs = 0;
  private pausedUntilMs = 0;

  constructor(
    private readonly session: DuckDbSession,
    private readonly config: MaintenanceConfig,
    private readonly engineInfo: string,
  ) {}

  /** `mayVacuum`: nobody else needs files of the place. */
  async run(home: TableHome, label: string, deadlineMs: number, mayVacuum: boolean): Promise<void> {
    const { delta } = home;
    if (!delta.exists || home.isDisplaced || Date.now() < this.pausedUntilMs) return;
    try {
      if (this.config.compaction) await this.compact(home, deadlineMs);
      if (this.config.vacuum && mayVacuum && Date.now() >= this.vacuumAfterMs) {
        // Files that other writers have added since the last batch are not to be taken for needless ones.
        await delta.refresh();
        const retention = fileRetentionMs(delta.snapshot.metaData?.configuration, this.config.fileRetentionMs);
        this.status.filesVacuumed += await vacuumTable(delta.path, delta.snapshot, retention);
        this.vacuumAfterMs = Date.now() + Math.min(vacuumMs, retention);
      }
    } catch (error) {
      this.pausedUntilMs = Date.now() + retryMs;
      log("warning", "maintenance-failed", { table: label, error: describeError(error), retryMs });
    }
  }

  private async compact({ delta }: TableHome, deadlineMs: number): Promise<void> {
    while (Date.now() < deadlineMs) {
      const { path, snapshot } = delta;
      if (this.checked?.path === path && this.checked.version === snapshot.version) return;
      const done = await compactTable(delta, this.session, this.engineInfo);
      if (done === null) {
        this.checked = { path, version: delta.snapshot.version };
        return;
      }
      this.status.compactions++;
      this.status.filesCompacted += done.filesRemoved;
      this.status.bytesWritten += done.bytes;
    }
  }
}

import { renderMetrics, singleMetric, tableMetrics } from "../operate/metrics";
import { parseLsn } from "../postgres/lsn";
import type { ApplierStatus } from "../status";

/** The applier's status as Prometheus text. */
export function applierMetrics(status: ApplierStatus): string {
  const perTable = tableMetrics(status.tables);
  return renderMetrics([
    singleMetric(
      "sluice_applier_up",
      "1 while staged commits are applied",
      "gauge",
      status.state.kind === "running" ? 1 : 0,
    ),
    singleMetric("sluice_applier_staged_sequence", "newest staged commit seen", "counter", status.stagedSequence),
    singleMetric(
      "sluice_applier_applied_sequence",
      "staged commit that every table holds",
      "counter",
      status.appliedSequence,
    ),
    singleMetric(
      "sluice_applier_applied_lsn_bytes",
      "WAL position that every table holds",
      "gauge",
      Number(parseLsn(status.appliedLsn)),
    ),
    perTable("sluice_destination_rows", "rows in the destination table", "gauge", (table) => table.rows),
    perTable("sluice_destination_upserted_total", "rows upserted", "counter", (table) => table.upserted),
    perTable("sluice_destination_deleted_total", "rows deleted", "counter", (table) => table.deleted),
    perTable("sluice_destination_files", "files that a scan of the table reads", "gauge", (table) => table.files),
    perTable("sluice_destination_small_files", "files that compaction merges", "gauge", (table) => table.smallFiles),
    perTable("sluice_destination_file_bytes", "size of the files that a scan reads", "gauge", (table) => table.bytes),
    perTable(
      "sluice_destination_deleted_share",
      "part of the rows in files that is marked as deleted",
      "gauge",
      (table) => table.deletedShare,
    ),
    perTable(
      "sluice_compactions_total",
      "compactions of the table",
      "counter",
      (table) => table.maintenance.compactions,
    ),
    perTable(
      "sluice_compacted_bytes_total",
      "bytes of files written anew",
      "counter",
      (table) => table.maintenance.bytesCompacted,
    ),
    perTable(
      "sluice_vacuumed_bytes_total",
      "bytes of files removed after the retention",
      "counter",
      (table) => table.maintenance.bytesVacuumed,
    ),
    perTable(
      "sluice_checkpoints_total",
      "checkpoints written of the table's log",
      "counter",
      (table) => table.maintenance.checkpoints,
    ),
    perTable("sluice_maintenance_failed", "1 while the table's last run of maintenance has failed", "gauge", (table) =>
      table.maintenance.error === null ? 0 : 1,
    ),
    singleMetric("sluice_staging_purged_records_total", "staged commits removed", "counter", status.purge.records),
    singleMetric(
      "sluice_staging_tail_sequence",
      "oldest staged commit that is left",
      "counter",
      status.purge.tail ?? 0,
    ),
    singleMetric("sluice_staging_bytes", "size of staged files", "gauge", status.purge.bytes ?? 0),
    perTable("sluice_destination_failed", "1 while the table can't be applied", "gauge", (table) =>
      table.state.kind === "failed" || table.state.kind === "quarantined" ? 1 : 0,
    ),
    perTable(
      "sluice_destination_quarantined",
      "1 while the table needs somebody, or sluice resync",
      "gauge",
      (table) => (table.state.kind === "quarantined" ? 1 : 0),
    ),
  ]);
}

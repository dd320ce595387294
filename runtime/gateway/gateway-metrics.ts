import { renderMetrics, singleMetric, tableMetrics } from "../operate/metrics";
import { parseLsn } from "../postgres/lsn";
import type { AlertKind, GatewayStatus } from "../status";

const walStatuses = ["reserved", "extended", "unreserved", "lost"] as const;
const alertKinds: AlertKind[] = ["slot-loss", "lag", "retained-wal", "holding-transaction"];

/** The gateway's status as Prometheus text. */
export function gatewayMetrics(status: GatewayStatus): string {
  const perTable = tableMetrics(status.tables);
  return renderMetrics([
    singleMetric("sluice_gateway_up", "1 while the stream runs", "gauge", status.state.kind === "running" ? 1 : 0),
    singleMetric(
      "sluice_gateway_staged_lsn_bytes",
      "WAL position that is staged",
      "gauge",
      Number(parseLsn(status.stagedLsn)),
    ),
    singleMetric(
      "sluice_gateway_acknowledged_lsn_bytes",
      "WAL position that is acknowledged",
      "gauge",
      Number(parseLsn(status.acknowledgedLsn)),
    ),
    singleMetric("sluice_gateway_staged_sequence", "newest staged commit", "counter", status.stagedSequence),
    singleMetric("sluice_gateway_transactions_total", "source transactions received", "counter", status.transactions),
    singleMetric("sluice_gateway_changes_total", "row changes spooled", "counter", status.changes),
    singleMetric("sluice_gateway_reconnects_total", "connections lost and made again", "counter", status.reconnects),
    singleMetric(
      "sluice_slot_retained_bytes",
      "WAL that the server keeps for the slot",
      "gauge",
      status.slot?.retainedBytes ?? 0,
    ),
    singleMetric("sluice_lag_bytes", "WAL of the server that is not acknowledged", "gauge", status.lag.bytes),
    singleMetric(
      "sluice_lag_seconds",
      "time since nothing of the server was missing",
      "gauge",
      status.lag.ms === null ? null : status.lag.ms / 1000,
    ),
    singleMetric(
      "sluice_standby_replay_delay_seconds",
      "age of what the standby that is read from has replayed; absent on a primary",
      "gauge",
      status.standby?.replayDelayMs == null ? null : status.standby.replayDelayMs / 1000,
    ),
    singleMetric(
      "sluice_slot_safe_wal_bytes",
      "WAL that may be written before the slot can be lost; absent without a limit",
      "gauge",
      status.slot?.safeWalBytes ?? null,
    ),
    singleMetric(
      "sluice_slot_loss_seconds",
      "projected time until the slot is lost; absent while it doesn't come nearer",
      "gauge",
      status.slot?.lossMs == null ? null : status.slot.lossMs / 1000,
    ),
    {
      name: "sluice_slot_wal_status",
      help: "1 for the slot's wal_status",
      type: "gauge",
      samples: walStatuses.map((value) => ({
        labels: { wal_status: value },
        value: status.slot?.walStatus === value ? 1 : 0,
      })),
    },
    singleMetric("sluice_slot_active", "1 while the slot is read", "gauge", status.slot?.active === true ? 1 : 0),
    singleMetric(
      "sluice_holding_transaction_seconds",
      "age of the oldest transaction that holds the slot",
      "gauge",
      (status.holdingTransactions[0]?.ageMs ?? 0) / 1000,
    ),
    singleMetric("sluice_heartbeats_total", "heartbeats written to the source's WAL", "counter", status.heartbeats),
    {
      name: "sluice_alert",
      help: "1 for a warning, 2 for a critical state",
      type: "gauge",
      samples: alertKinds.map((kind) => {
        const level = status.alerts.find((alert) => alert.kind === kind)?.level;
        return { labels: { kind }, value: level === "critical" ? 2 : level === "warning" ? 1 : 0 };
      }),
    },
    perTable("sluice_table_snapshot_rows", "rows copied by the running or newest snapshot", "gauge", (table) =>
      table.state.kind === "snapshot" ? table.state.rows : table.snapshotRows,
    ),
    perTable("sluice_table_snapshot_bytes", "bytes of the running snapshot's files", "gauge", (table) =>
      table.state.kind === "snapshot" ? table.state.bytes : 0,
    ),
    perTable(
      "sluice_table_snapshot_rows_estimate",
      "rows of the table being copied, by the catalog",
      "gauge",
      (table) => (table.state.kind === "snapshot" ? table.state.rowsEstimate : 0),
    ),
    perTable("sluice_table_snapshot_ranges", "ranges of the running snapshot", "gauge", (table) =>
      table.state.kind === "snapshot" ? table.state.ranges : 0,
    ),
    perTable("sluice_table_snapshot_ranges_done", "ranges of the running snapshot that are copied", "gauge", (table) =>
      table.state.kind === "snapshot" ? table.state.rangesDone : 0,
    ),
    perTable("sluice_table_snapshot_left_seconds", "until all is copied, at the speed so far", "gauge", (table) =>
      table.state.kind === "snapshot" ? (table.state.secondsLeft ?? 0) : 0,
    ),
    perTable("sluice_table_inserts_total", "inserts staged", "counter", (table) => table.inserts),
    perTable("sluice_table_updates_total", "updates staged", "counter", (table) => table.updates),
    perTable("sluice_table_deletes_total", "deletes staged", "counter", (table) => table.deletes),
    {
      name: "sluice_column_unrepresentable_total",
      help: "values that the destination's type can't hold, staged as NULL",
      type: "counter",
      samples: status.tables.flatMap((table) =>
        Object.entries(table.unrepresentable).map(([column, value]) => ({
          labels: { schema: table.schema, table: table.name, column },
          value,
        })),
      ),
    },
  ]);
}

import { type Metric, renderMetrics } from "../operate/metrics";
import { parseLsn } from "../postgres/lsn";
import type { GatewayStatus, GatewayTableStatus } from "../status";

/** The gateway's status as Prometheus text. */
export function gatewayMetrics(status: GatewayStatus): string {
  const perTable = (
    name: string,
    help: string,
    type: Metric["type"],
    value: (table: GatewayTableStatus) => number,
  ): Metric => ({
    name,
    help,
    type,
    samples: status.tables.map((table) => ({
      labels: { schema: table.schema, table: table.name },
      value: value(table),
    })),
  });
  const single = (name: string, help: string, type: Metric["type"], value: number): Metric => ({
    name,
    help,
    type,
    samples: [{ value }],
  });
  return renderMetrics([
    single("sluice_gateway_up", "1 while the stream runs", "gauge", status.state.kind === "running" ? 1 : 0),
    single(
      "sluice_gateway_staged_lsn_bytes",
      "WAL position that is staged",
      "gauge",
      Number(parseLsn(status.stagedLsn)),
    ),
    single(
      "sluice_gateway_acknowledged_lsn_bytes",
      "WAL position that is acknowledged",
      "gauge",
      Number(parseLsn(status.acknowledgedLsn)),
    ),
    single("sluice_gateway_staged_sequence", "newest staged commit", "counter", status.stagedSequence),
    single("sluice_gateway_transactions_total", "source transactions received", "counter", status.transactions),
    single("sluice_gateway_changes_total", "row changes spooled", "counter", status.changes),
    single("sluice_gateway_reconnects_total", "connections lost and made again", "counter", status.reconnects),
    single(
      "sluice_slot_retained_bytes",
      "WAL that the server keeps for the slot",
      "gauge",
      status.slot?.retainedBytes ?? 0,
    ),
    perTable("sluice_table_snapshot_rows", "rows copied by the running or newest snapshot", "gauge", (table) =>
      table.state.kind === "snapshot" ? table.state.rows : table.snapshotRows,
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

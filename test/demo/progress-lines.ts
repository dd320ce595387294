import type { ApplierStatus, GatewayStatus, GatewayTableStatus } from "../../runtime/status";
import type { WorkloadCounts } from "../support/workload";

export interface ProgressView {
  gateway: GatewayStatus | null;
  applier: ApplierStatus | null;
  workload: WorkloadCounts | null;
}

const barWidth = 24;

/** One bar for each table and a line for the whole. */
export function progressLines({ gateway, applier, workload }: ProgressView): string[] {
  const tables = [...(gateway?.tables ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
  const width = Math.max(8, ...tables.map(({ name }) => name.length));
  const lines = tables.map((table) => {
    const applied = applier?.tables.find(({ tableId }) => tableId === table.tableId);
    const rows = applied === undefined ? "" : `${count(applied.rows)} in Delta`;
    return `${table.name.padEnd(width)} ${bar(copied(table))} ${doing(table).padEnd(40)} ${rows}`.trimEnd();
  });
  return [...lines, progressSummary({ gateway, applier, workload })];
}

export function progressSummary({ gateway, applier, workload }: ProgressView): string {
  if (gateway === null) return "the gateway starts";
  const streaming = gateway.tables.filter(({ state }) => state.kind === "streaming").length;
  const rows = applier?.tables.reduce((sum, table) => sum + table.rows, 0) ?? 0;
  return [
    `${streaming} of ${gateway.tables.length} tables streaming`,
    `staged ${gateway.stagedSequence}, applied ${applier?.appliedSequence ?? 0}`,
    `${count(rows)} rows in Delta`,
    `${count(gateway.changes)} changes`,
    ...(workload === null ? [] : [`${count(workload.transactions)} transactions of the workload`]),
  ].join(", ");
}

function copied({ state }: GatewayTableStatus): number {
  switch (state.kind) {
    case "pending":
    case "failed":
      return 0;
    case "snapshot":
      // The estimate may be too small; full is what is streaming.
      return Math.min(0.99, state.rows / Math.max(state.rowsEstimate, 1));
    case "streaming":
      return 1;
  }
}

function doing({ state, inserts, updates, deletes }: GatewayTableStatus): string {
  switch (state.kind) {
    case "pending":
      return state.waitingFor === undefined ? "waiting" : `waiting for ${state.waitingFor}`;
    case "snapshot":
      return `copying ${count(state.rows)} of about ${count(state.rowsEstimate)}`;
    case "streaming":
      return `streaming +${count(inserts)} ~${count(updates)} -${count(deletes)}`;
    case "failed":
      return `failed: ${state.message}`;
  }
}

/** @param part from 0 to 1 */
function bar(part: number): string {
  const full = Math.floor(part * barWidth);
  return `[${"#".repeat(full)}${"-".repeat(barWidth - full)}]`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}

import { countText, secondsText, textTable } from "../../runtime/operate/text-table";
import type { ApplierTableStatus } from "../../runtime/status";

const headings = ["NAME", "TYPE", "STATUS", "DURATION", "UPSERTED", "DELETED", "DROPPED", "FAIL %"];

/** The run's tables as lines: names to the left, numbers to the right. */
export function runTable(tables: readonly ApplierTableStatus[]): string[] {
  return textTable(headings, [...tables].sort((a, b) => (a.name < b.name ? -1 : 1)).map(cells), 3);
}

function cells(table: ApplierTableStatus): string[] {
  return [
    table.name,
    table.type,
    statusOf(table.state),
    secondsText(table.durationMs),
    ...[table.upserted, table.deleted, table.dropped].map(countText),
    table.failPercent.toFixed(1),
  ];
}

function statusOf(state: ApplierTableStatus["state"]): string {
  switch (state.kind) {
    case "waiting":
      return "waiting for its snapshot";
    case "running":
      return "applying";
    case "idle":
      return "up to date";
    case "removed":
      return "removed";
    case "failed":
      return `failed: ${state.message}`;
    case "quarantined":
      return `quarantined: ${state.message}`;
  }
}

import type { ApplierTableStatus } from "../../runtime/status";

const headings = ["NAME", "TYPE", "STATUS", "DURATION", "UPSERTED", "DELETED", "DROPPED", "FAIL %"];

/** The run's tables as lines: names to the left, numbers to the right. */
export function runTable(tables: readonly ApplierTableStatus[]): string[] {
  const rows = [...tables].sort((a, b) => (a.name < b.name ? -1 : 1)).map(cells);
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column].length)));
  const line = (row: string[]) =>
    row
      .map((cell, column) => (column < 3 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd();
  return [line(headings), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)];
}

function cells(table: ApplierTableStatus): string[] {
  return [
    table.name,
    table.type,
    statusOf(table.state),
    `${(table.durationMs / 1_000).toFixed(1)} s`,
    ...[table.upserted, table.deleted, table.dropped].map((rows) => rows.toLocaleString("en")),
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

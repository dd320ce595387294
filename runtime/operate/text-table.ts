/** Lines of a table for a terminal: headings, a rule, rows; the first `left` columns to the left, others to the right. */
export function textTable(headings: readonly string[], rows: readonly (readonly string[])[], left: number): string[] {
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column].length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column < left ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd();
  return [line(headings), widths.map((width) => "-".repeat(width)).join("  "), ...rows.map(line)];
}

export function secondsText(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

export function countText(count: number): string {
  return count.toLocaleString("en");
}

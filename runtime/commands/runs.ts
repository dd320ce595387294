import type { ApplierConfig } from "../config";
import { readRuns, type TableRun } from "../operate/run-history";

/** `sluice runs`: what applying has done, by table, the newest first. */
export function showRuns(config: ApplierConfig, options: { table?: string; limit: number; asJson: boolean }): void {
  const runs = readRuns(config.statusPath, options);
  if (options.asJson) process.stdout.write(`${JSON.stringify({ runs })}\n`);
  else process.stdout.write(runs.length === 0 ? "no runs yet\n" : `${formatRuns(runs).join("\n")}\n`);
}

const headings = ["STARTED", "TABLE", "STATUS", "DURATION", "UPSERTED", "DELETED", "DROPPED", "FAIL %", "BYTES"];
/** columns of text stand left, numbers right */
const textColumns = 3;

/** Pure: a table of text, an error below its run. */
export function formatRuns(runs: TableRun[]): string[] {
  const cells = runs.map((run) => [
    run.startedAt,
    `${run.schema}.${run.name}`,
    run.status,
    `${(run.durationMs / 1000).toFixed(1)} s`,
    ...[run.upserted, run.deleted, run.dropped].map((count) => count.toLocaleString("en")),
    run.failPercent.toFixed(1),
    run.bytes.toLocaleString("en"),
  ]);
  const widths = headings.map((heading, index) => Math.max(heading.length, ...cells.map((row) => row[index].length)));
  const line = (row: string[]) =>
    row
      .map((cell, index) => (index < textColumns ? cell.padEnd(widths[index]) : cell.padStart(widths[index])))
      .join("  ");
  return [
    line(headings),
    ...cells.flatMap((row, index) => {
      const { error } = runs[index];
      return error === undefined ? [line(row)] : [line(row), `  ${error.message}`];
    }),
  ];
}

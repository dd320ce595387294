import type { BenchName } from "./bench-options";

/** Seconds of repeated runs. */
export interface Timing {
  runs: number;
  min: number;
  median: number;
}

export interface Figure {
  bench: BenchName;
  /** what was carried: rows or changes */
  rows: number;
  ours: Timing & { rowsPerSecond: number; peakMemoryMb: number };
  /** null when it isn't on this machine and can't be installed: the ratio is then not measured */
  peer: (Timing & { name: string; rowsPerSecond: number }) | null;
  /** median of ours divided by median of the peer; below 1 is faster than the peer */
  ratio: number | null;
  skipped?: string;
  [detail: string]: unknown;
}

export function timing(seconds: number[]): Timing {
  const sorted = [...seconds].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { runs: sorted.length, min: round(sorted[0]), median: round(median) };
}

export function figure(
  bench: Figure["bench"],
  rows: number,
  ours: { seconds: number[]; peakMemoryBytes: number[] },
  peer: { name: string; seconds: number[] } | { skipped: string },
  details: Record<string, unknown> = {},
): Figure {
  const own = timing(ours.seconds);
  const perSecond = (seconds: number) => Math.round(rows / seconds);
  const result: Figure = {
    bench,
    rows,
    ours: {
      ...own,
      rowsPerSecond: perSecond(own.median),
      peakMemoryMb: Math.round(Math.max(...ours.peakMemoryBytes) / 1e6),
    },
    peer: null,
    ratio: null,
    ...details,
  };
  if ("skipped" in peer) return { ...result, skipped: peer.skipped };
  const theirs = timing(peer.seconds);
  result.peer = { name: peer.name, ...theirs, rowsPerSecond: perSecond(theirs.median) };
  result.ratio = Math.round((own.median / theirs.median) * 100) / 100;
  return result;
}

const round = (seconds: number) => Math.round(seconds * 1000) / 1000;

/** A few lines for people. */
export function renderFigure({ bench, rows, ours, peer, ratio, skipped }: Figure): string {
  const line = (name: string, { min, median, runs }: Timing, rest: string) =>
    `  ${name.padEnd(24)} min ${min.toFixed(3)} s, median ${median.toFixed(3)} s of ${runs}${rest}`;
  return [
    `${bench}: ${rows.toLocaleString("en")} rows`,
    line("sluice", ours, `, ${ours.rowsPerSecond.toLocaleString("en")}/s, peak ${ours.peakMemoryMb} MB`),
    peer === null
      ? `  peer SKIPPED: ${skipped}`
      : line(peer.name, peer, `, ${peer.rowsPerSecond.toLocaleString("en")}/s`),
    ...(ratio === null ? [] : [`  ratio of medians: ${ratio.toFixed(2)} times the peer's time`]),
  ].join("\n");
}

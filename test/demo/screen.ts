/** Where the demo writes: steps, lines, and a block that is redrawn on a terminal. */
export interface Screen {
  step(title: string): void;
  line(text?: string): void;
  /** Redraws the block of lines; not on a terminal: `summary` as a line, every few seconds. */
  block(lines: string[], summary: string): void;
  /** What was drawn last stays; the next block begins below. */
  endBlock(): void;
}

export interface ScreenOptions {
  write: (text: string) => void;
  /** columns of the terminal, asked for at each block; null: not a terminal */
  columns: () => number | null;
  now?: () => number;
  /** not on a terminal: between lines of a block; default 3,000 */
  summaryMs?: number;
}

export function openScreen({ write, columns, now = Date.now, summaryMs = 3_000 }: ScreenOptions): Screen {
  const startedMs = now();
  let drawn = 0;
  let summaryAtMs = Number.NEGATIVE_INFINITY;
  const endBlock = () => {
    drawn = 0;
    summaryAtMs = Number.NEGATIVE_INFINITY;
  };
  return {
    step(title) {
      endBlock();
      const seconds = ((now() - startedMs) / 1_000).toFixed(1).padStart(6);
      write(`\n[${seconds} s] ${title}\n`);
    },
    line(text = "") {
      endBlock();
      write(text === "" ? "\n" : `  ${text}\n`);
    },
    block(lines, summary) {
      const width = columns();
      if (width === null) {
        if (now() - summaryAtMs < summaryMs) return;
        summaryAtMs = now();
        write(`  ${summary}\n`);
        return;
      }
      // Up to the block's first line; each line is cut, so that none wraps, and cleared to its end.
      const up = drawn === 0 ? "" : `\x1b[${drawn}A`;
      const rows = lines.map((line) => `\r  ${line.slice(0, Math.max(width - 3, 10))}\x1b[K\n`);
      write(`${up}${rows.join("")}\x1b[J`);
      drawn = lines.length;
    },
    endBlock,
  };
}

import { z } from "zod";
import type { TableRun } from "../status";
import type { RunPlace } from "./run-place";

const tableRunSchema = z.looseObject({
  tableId: z.string(),
  schema: z.string(),
  name: z.string(),
  startedAt: z.iso.datetime(),
  status: z.enum(["running", "succeeded", "failed", "quarantined", "interrupted"]),
});

/** Lines that there are at least before all is written anew. */
const linesMin = 1_000;

/**
 * The last runs of each table, as JSON lines: of the lines of one run the last one holds. Lines are only appended; what has
 * grown is replaced as a whole, and so is always what can't be appended to. A line that a crash has cut is left out.
 */
export class RunHistory {
  /** by table, newest last */
  private readonly runs = new Map<string, TableRun[]>();
  /** newest state of each run that isn't written, by table and start */
  private pending = new Map<string, TableRun>();
  private lines: number;
  /** nothing is written before, but at once */
  private dueMs = 0;

  private constructor(
    private readonly place: RunPlace,
    private readonly keptMax: number,
    found: { runs: TableRun[]; lines: number },
  ) {
    this.lines = found.lines;
    for (const run of found.runs) this.keep(run);
  }

  /** Runs that an earlier process has left open become `interrupted`. */
  static async open(place: RunPlace, keptMax: number): Promise<RunHistory> {
    const history = new RunHistory(place, keptMax, await readLines(place));
    for (const run of history.all()) if (run.status === "running") history.put({ ...run, status: "interrupted" });
    await history.flush();
    return history;
  }

  /** A new run, or a later state of one. */
  put(run: TableRun): void {
    this.keep(run);
    this.pending.set(keyOf(run), run);
  }

  /** Newest last. */
  of(tableId: string): readonly TableRun[] {
    return this.runs.get(tableId) ?? [];
  }

  /**
   * Makes durable what was put since, at once or when the place's interval has passed. What could not be written is tried
   * again by a next call.
   */
  async flush({ isAtOnce = false } = {}): Promise<void> {
    const written = new Map(this.pending);
    const nowMs = performance.now();
    if (written.size === 0 || (!isAtOnce && nowMs < this.dueMs)) return;
    const { append, intervalMs } = this.place;
    this.dueMs = nowMs + intervalMs;
    const all = this.all();
    const isLong = this.lines + written.size > Math.max(linesMin, 2 * all.length);
    if (append === undefined || isLong) {
      await this.place.replace(textOf(all));
      this.lines = all.length;
    } else {
      await append(textOf(written.values()));
      this.lines += written.size;
    }
    for (const [key, run] of written) if (this.pending.get(key) === run) this.pending.delete(key);
  }

  private all(): TableRun[] {
    return [...this.runs.values()].flat();
  }

  private keep(run: TableRun): void {
    const runs = this.runs.get(run.tableId) ?? [];
    this.runs.set(run.tableId, runs);
    const at = runs.findLastIndex(({ startedAt }) => startedAt === run.startedAt);
    if (at >= 0) runs[at] = run;
    else runs.push(run);
    if (runs.length > this.keptMax) runs.shift();
  }
}

const keyOf = ({ tableId, startedAt }: TableRun) => `${tableId} ${startedAt}`;

/** All runs that are kept, oldest first; [] when there is no history. */
export async function readRunHistory(place: RunPlace): Promise<TableRun[]> {
  const runs = new Map<string, TableRun>();
  for (const run of (await readLines(place)).runs) runs.set(keyOf(run), run);
  return [...runs.values()].sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}

async function readLines(place: RunPlace): Promise<{ runs: TableRun[]; lines: number }> {
  const lines = (await place.read()).split("\n").filter((line) => line !== "");
  return { runs: lines.flatMap(parseLine), lines: lines.length };
}

function parseLine(line: string): TableRun[] {
  try {
    const value: unknown = JSON.parse(line);
    return tableRunSchema.safeParse(value).success ? [value as TableRun] : [];
  } catch {
    return [];
  }
}

const textOf = (runs: Iterable<TableRun>) => [...runs].map((run) => `${JSON.stringify(run)}\n`).join("");

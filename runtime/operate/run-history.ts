import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { TableRun } from "../status";

const tableRunSchema = z.looseObject({
  tableId: z.string(),
  schema: z.string(),
  name: z.string(),
  startedAt: z.iso.datetime(),
  status: z.enum(["running", "succeeded", "failed", "quarantined", "interrupted"]),
});

/** Where an applier keeps the history of its runs: beside the tables, so that it outlives staging. */
export function runHistoryPath(destinationPath: string, id: string): string {
  return join(destinationPath, ".sluice", `runs-${encodeURIComponent(id)}.jsonl`);
}

/** Lines that a file has at least before it is written anew. */
const linesMin = 1_000;

/**
 * The last runs of each table, in a file of JSON lines: of the lines of one run the last one holds. Lines are only
 * appended, and flushed; a file that has grown is replaced as a whole. A line that a crash has cut is left out.
 */
export class RunHistory {
  /** by table, newest last */
  private readonly runs = new Map<string, TableRun[]>();
  /** newest state of each run that isn't written, by table and start */
  private pending = new Map<string, TableRun>();
  private lines: number;

  private constructor(
    private readonly path: string,
    private readonly keptMax: number,
    found: { runs: TableRun[]; lines: number },
  ) {
    this.lines = found.lines;
    for (const run of found.runs) this.keep(run);
  }

  /** Runs that an earlier process has left open become `interrupted`. */
  static async open(path: string, keptMax: number): Promise<RunHistory> {
    const history = new RunHistory(path, keptMax, await readLines(path));
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

  /** Makes durable what was put since. What could not be written is tried again by the next call. */
  async flush(): Promise<void> {
    const written = new Map(this.pending);
    if (written.size === 0) return;
    const all = this.all();
    const isLong = this.lines + written.size > Math.max(linesMin, 2 * all.length);
    await mkdir(dirname(this.path), { recursive: true });
    if (isLong) {
      await write(`${this.path}.tmp`, "w", all);
      await rename(`${this.path}.tmp`, this.path);
      this.lines = all.length;
    } else {
      await write(this.path, "a", [...written.values()]);
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
export async function readRunHistory(path: string): Promise<TableRun[]> {
  const runs = new Map<string, TableRun>();
  for (const run of (await readLines(path)).runs) runs.set(keyOf(run), run);
  return [...runs.values()].sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}

async function readLines(path: string): Promise<{ runs: TableRun[]; lines: number }> {
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });
  const lines = text.split("\n").filter((line) => line !== "");
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

async function write(path: string, flag: "a" | "w", runs: TableRun[]): Promise<void> {
  const file = await open(path, flag);
  try {
    // In front too: the line before may be one that a crash has cut.
    const newline = flag === "a" ? "\n" : "";
    await file.writeFile(newline + runs.map((run) => `${JSON.stringify(run)}\n`).join(""));
    await file.sync();
  } finally {
    await file.close();
  }
}

import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { RotatingLog } from "./rotating-log";

/** What a table's applying has done in a stretch of time: of a run that ends by itself, or of a minute of one that doesn't. */
export const tableRunSchema = z.object({
  tableId: z.string(),
  schema: z.string(),
  name: z.string(),
  mode: z.string(),
  status: z.enum(["succeeded", "failed"]),
  startedAt: z.string(),
  endedAt: z.string(),
  /** time spent on it */
  durationMs: z.number(),
  /** commits of the table's Delta log, or failed attempts */
  attempts: z.int(),
  upserted: z.int(),
  deleted: z.int(),
  /** rows that the destination can't have: none today, as such values become NULL and are counted by the gateway */
  dropped: z.int(),
  failPercent: z.number(),
  /** of staged files applied */
  bytes: z.int(),
  /** the staged commits that the table got, first and last; null for a failure */
  fromSequence: z.int().nullable(),
  toSequence: z.int().nullable(),
  deltaVersion: z.int().nullable(),
  error: z.object({ kind: z.string(), message: z.string(), remedy: z.string().optional() }).optional(),
});
export type TableRun = z.infer<typeof tableRunSchema>;

const filesMax = 4;

/** Beside the status document; one JSON object a line. */
export function runHistoryPath(statusPath: string): string {
  return join(dirname(statusPath), "runs.ndjson");
}

/** Keeps runs in files of 5 MB, four at most: about 60,000 runs. */
export class RunHistory {
  private readonly file: RotatingLog;
  /** A line that a crash has cut ends here. */
  private separator = "\n";

  constructor(statusPath: string) {
    this.file = new RotatingLog(runHistoryPath(statusPath), { bytesMax: 5_000_000, filesMax });
  }

  add(run: TableRun): void {
    this.file.write(`${this.separator}${JSON.stringify(run)}\n`);
    this.separator = "";
  }
}

/** The newest runs first. Lines that were cut by a crash are left out. */
export function readRuns(statusPath: string, options: { table?: string; limit: number }): TableRun[] {
  const path = runHistoryPath(statusPath);
  const runs: TableRun[] = [];
  for (let index = 0; index < filesMax; index++) {
    const name = index === 0 ? path : `${path}.${index}`;
    if (!existsSync(name)) continue;
    for (const line of readFileSync(name, "utf8").split("\n").reverse()) {
      const run = parseRun(line);
      if (run === null || (options.table !== undefined && `${run.schema}.${run.name}` !== options.table)) continue;
      runs.push(run);
      if (runs.length === options.limit) return runs;
    }
  }
  return runs;
}

function parseRun(line: string): TableRun | null {
  if (line === "") return null;
  try {
    return tableRunSchema.parse(JSON.parse(line));
  } catch {
    return null;
  }
}

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

interface CommitLine {
  commitInfo?: { timestamp: number; operation: string; sluice?: { sequence: number; durationMs: number } };
}

export interface OwnCommit {
  version: number;
  operation: string;
  timestampMs: number;
  sequence: number;
  /** of the table's life until here: what applying took */
  durationMs: number;
}

/** Commits of ours in a table's log, in order. */
export function ownCommits(tablePath: string, afterVersion = -1): OwnCommit[] {
  const folder = join(tablePath, "_delta_log");
  const commits: OwnCommit[] = [];
  for (const name of readdirSync(folder).sort()) {
    const version = Number.parseInt(name, 10);
    if (!/^\d{20}\.json$/.test(name) || version <= afterVersion) continue;
    const lines = readFileSync(join(folder, name), "utf8").trim().split("\n");
    for (const { commitInfo } of lines.map((line) => JSON.parse(line) as CommitLine)) {
      if (commitInfo?.sluice === undefined) continue;
      const { operation, timestamp, sluice } = commitInfo;
      commits.push({ version, operation, timestampMs: timestamp, ...sluice });
    }
  }
  return commits;
}

/** Seconds that each batch took, by the table's own count, apart from the process's start. */
export function batchSeconds(commits: OwnCommit[]): number[] {
  const seconds: number[] = [];
  for (const [index, commit] of commits.entries()) {
    if (index > 0 && commit.operation === "MERGE")
      seconds.push((commit.durationMs - commits[index - 1].durationMs) / 1e3);
  }
  return seconds;
}

/** Sizes of all files below a folder, by path. */
export function fileSizes(folder: string): Map<string, number> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(folder.length), statSync(path).size];
    }),
  );
}

export function addedBytes(before: Map<string, number>, after: Map<string, number>): number {
  let bytes = 0;
  for (const [path, size] of after) if (!before.has(path)) bytes += size;
  return bytes;
}

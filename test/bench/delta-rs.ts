import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(__dirname, "..", "..", "..");
const venv = join(root, "node_modules", ".cache", "sluice-delta-rs");
const python = join(venv, "bin", "python");

export type DeltaRsResult = { seconds: number[]; bytesWritten: number[] } | { skipped: string };

function runScript<T>(name: string, arguments_: string[]): T | { skipped: string } {
  if (!existsSync(python)) {
    if (spawnSync("python3", ["-m", "venv", venv]).status !== 0) {
      return { skipped: "python3 makes no virtual environment" };
    }
    const pip = spawnSync(python, ["-m", "pip", "install", "-q", "deltalake==1.6.6", "pyarrow"], { timeout: 300_000 });
    if (pip.status !== 0) return { skipped: `pip can't install deltalake: ${pip.stderr?.toString().slice(-200)}` };
  }
  const { status, stdout, stderr } = spawnSync(python, [join(root, "test", "bench", name), ...arguments_], {
    timeout: 1_200_000,
    maxBuffer: 1 << 24,
  });
  if (status !== 0) return { skipped: `delta-rs failed: ${stderr?.toString().slice(-500)}` };
  return JSON.parse(stdout.toString()) as T;
}

/** MERGE of the same changes by delta-rs into a table made of the same files; its own start-up doesn't count. */
export function mergeByDeltaRs(folder: string, changes: string, files: string[], runs: number): DeltaRsResult {
  return runScript("delta_rs_merge.py", [folder, String(runs), changes, ...files]);
}

/** Seconds of a full scan by delta-rs, which reads vectors by one thread: so also seconds of the processor. */
export interface DeltaRsScan {
  ours: number;
  fresh: number;
  oursProcessor: number;
  freshProcessor: number;
}

/** Of a table, and of one of the same rows that was just written. */
export function scanByDeltaRs(table: string, fresh: string): DeltaRsScan | { skipped: string } {
  return runScript("delta_rs_scan.py", [table, fresh]);
}

import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { BenchOptions } from "./bench-options";
import { type Figure, figure } from "./figures";
import { stageTable } from "./staged-updates";
import { type TimedRun, timedProcess } from "./timed-process";

const mainPath = resolve(__dirname, "..", "..", "runtime", "main.js");
const rewritePath = resolve(__dirname, "rewrite-worker.js");
const changes = 100_000;

/** Updates of random rows of a big Delta table, by an applier process, against writing the touched files anew. */
export async function benchApply(options: BenchOptions): Promise<Figure> {
  const rows = options.rows ?? (options.quick ? 1_000_000 : 5_000_000);
  const stagingPath = join(options.folder, "staging");
  options.progress(`${rows.toLocaleString("en")} rows …`);
  const staged = await stageTable(stagingPath, rows);
  const apply = (lake: string): Promise<TimedRun> => {
    const config: RuntimeConfigInput = {
      version: 1,
      role: "applier",
      id: "bench",
      statusPath: join(options.folder, "status.json"),
      stagingPath,
      destination: { kind: "local", path: lake },
      trigger: { kind: "once" },
    };
    const configPath = join(options.folder, "applier.json");
    writeFileSync(configPath, JSON.stringify(config));
    return timedProcess([mainPath, "applier", "--config", configPath], options.timeoutMs);
  };
  const ours: TimedRun[] = [];
  const peer: number[] = [];
  let changed = 0;
  try {
    const lake = join(options.folder, "lake");
    await apply(lake);
    changed = await staged.changes(changes);
    for (let run = 0; run < options.runs; run++) {
      options.progress(`apply ${run + 1}/${options.runs}`);
      // Files of a table are never changed in place: links do for a copy.
      const copy = join(options.folder, `lake_${run}`);
      execFileSync("cp", ["-al", lake, copy]);
      ours.push(await apply(copy));
      const rewritten = join(options.folder, `rewritten_${run}`);
      mkdirSync(rewritten);
      peer.push(
        (await timedProcess([rewritePath, rewritten, staged.changesPath, ...staged.snapshotFiles], options.timeoutMs))
          .seconds,
      );
      rmSync(rewritten, { recursive: true });
      rmSync(copy, { recursive: true });
    }
  } finally {
    staged.close();
  }
  return figure(
    "apply",
    changed,
    { seconds: ours.map((run) => run.seconds), peakMemoryBytes: ours.map((run) => run.peakMemoryBytes) },
    { name: "DuckDB, files rewritten", seconds: peer },
    { tableRows: rows, startupIncluded: true },
  );
}

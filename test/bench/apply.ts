import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { applyOnce } from "./applier-run";
import type { BenchOptions } from "./bench-options";
import { addedBytes, batchSeconds, fileSizes, ownCommits } from "./delta-log";
import { mergeByDeltaRs } from "./delta-rs";
import { type Figure, figure, timing } from "./figures";
import { stageTable } from "./staged-updates";
import { type TimedRun, timedProcess } from "./timed-process";

const rewritePath = resolve(__dirname, "rewrite-worker.js");
const changes = 100_000;

const round = (value: number) => Math.round(value * 100) / 100;
const median = (values: number[]) => timing(values).median;

/**
 * Updates of random rows of a big Delta table that has deletion vectors already, by an applier process, against writing
 * the touched files anew, and against delta-rs MERGE where Python is there.
 */
export async function benchApply(options: BenchOptions): Promise<Figure> {
  const rows = options.rows ?? (options.quick ? 1_000_000 : 5_000_000);
  const stagingPath = join(options.folder, "staging");
  options.progress(`${rows.toLocaleString("en")} rows …`);
  const staged = await stageTable(stagingPath, rows);
  const apply = (lake: string) => applyOnce(options.folder, stagingPath, lake, options.timeoutMs);
  const ours: (TimedRun & { batch: number; bytes: number })[] = [];
  const peer: number[] = [];
  let changed = 0;
  try {
    const lake = join(options.folder, "lake");
    await apply(lake);
    await staged.changes(changes);
    await apply(lake);
    changed = await staged.changes(changes);
    const before = fileSizes(lake);
    for (let run = 0; run < options.runs; run++) {
      options.progress(`apply ${run + 1}/${options.runs}`);
      // Files of a table are never changed in place: links do for a copy.
      const copy = join(options.folder, `lake_${run}`);
      execFileSync("cp", ["-al", lake, copy]);
      const timed = await apply(copy);
      const batch = batchSeconds(ownCommits(join(copy, "public", "big"))).at(-1) ?? Number.NaN;
      ours.push({ ...timed, batch, bytes: addedBytes(before, fileSizes(copy)) });
      const rewritten = join(options.folder, `rewritten_${run}`);
      mkdirSync(rewritten);
      peer.push(
        (await timedProcess([rewritePath, rewritten, staged.changesPath, ...staged.snapshotFiles], options.timeoutMs))
          .seconds,
      );
      rmSync(rewritten, { recursive: true });
      rmSync(copy, { recursive: true });
    }
    options.progress("delta-rs …");
    const deltaRs = mergeByDeltaRs(options.folder, staged.changesPath, staged.snapshotFiles, Math.min(options.runs, 3));
    const batch = timing(ours.map((run) => run.batch));
    const bytesWritten = Math.max(...ours.map((run) => run.bytes));
    return figure(
      "apply",
      changed,
      { seconds: ours.map((run) => run.seconds), peakMemoryBytes: ours.map((run) => run.peakMemoryBytes) },
      { name: "DuckDB, files rewritten", seconds: peer },
      {
        tableRows: rows,
        startupIncluded: true,
        /** apart from the start of the process */
        batch,
        bytesWritten,
        deltaRs:
          "skipped" in deltaRs
            ? deltaRs
            : {
                ...timing(deltaRs.seconds),
                bytesWritten: Math.max(...deltaRs.bytesWritten),
                timesOurSeconds: round(median(deltaRs.seconds) / batch.median),
                timesOurBytes: round(Math.max(...deltaRs.bytesWritten) / bytesWritten),
              },
      },
    );
  } finally {
    staged.close();
  }
}

/** The same number of changes of neighbouring rows, in a table of ten times the rows: the peer is the small table. */
export async function benchGrowth(options: BenchOptions): Promise<Figure> {
  const large = options.rows ?? (options.quick ? 2_000_000 : 10_000_000);
  const measure = async (rows: number): Promise<{ seconds: number[]; peakMemoryBytes: number[] }> => {
    const folder = join(options.folder, String(rows));
    const stagingPath = join(folder, "staging");
    mkdirSync(folder);
    options.progress(`${rows.toLocaleString("en")} rows …`);
    const staged = await stageTable(stagingPath, rows);
    const lake = join(folder, "lake");
    await applyOnce(folder, stagingPath, lake, options.timeoutMs);
    const peakMemoryBytes: number[] = [];
    for (let run = 0; run <= options.runs; run++) {
      await staged.changes(changes, "clustered");
      peakMemoryBytes.push((await applyOnce(folder, stagingPath, lake, options.timeoutMs)).peakMemoryBytes);
    }
    const seconds = batchSeconds(ownCommits(join(lake, "public", "big"))).slice(1);
    staged.close();
    rmSync(folder, { recursive: true });
    return { seconds, peakMemoryBytes };
  };
  const small = await measure(large / 10);
  return figure("growth", changes, await measure(large), { name: "a tenth of the rows", seconds: small.seconds });
}

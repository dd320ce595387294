import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { ApplierStatus } from "../../runtime/status";
import { until } from "../support/conditions";
import { RuntimeProcess } from "../support/runtime-process";
import { applyOnce } from "./applier-run";
import type { BenchOptions } from "./bench-options";
import { addedBytes, batchSeconds, fileSizes, type OwnCommit, ownCommits } from "./delta-log";
import { scanByDeltaRs } from "./delta-rs";
import { type Figure, figure } from "./figures";
import { peakMemory } from "./gateway-run";
import { stageTable } from "./staged-updates";
import { scanTable } from "./table-scan";

const paceMs = 1_000;
const comparedBatches = 10;

const round = (value: number) => Math.round(value * 1000) / 1000;

/** Batch after batch of random changes into a large table that an applier tends: the last against the first. */
export async function benchTended(options: BenchOptions): Promise<Figure> {
  const rows = options.rows ?? (options.quick ? 1_000_000 : 5_000_000);
  const batches = options.quick ? 30 : 100;
  const changes = rows / 50;
  const stagingPath = join(options.folder, "staging");
  const lake = join(options.folder, "lake");
  const tablePath = join(lake, "public", "big");
  options.progress(`${rows.toLocaleString("en")} rows …`);
  const staged = await stageTable(stagingPath, rows);
  await applyOnce(options.folder, stagingPath, lake, options.timeoutMs);
  const atFirst = fileSizes(lake);
  const applier = new RuntimeProcess<ApplierStatus>(options.folder, {
    version: 1,
    role: "applier",
    id: "bench",
    statusPath: join(options.folder, "status.json"),
    stagingPath,
    destination: { kind: "local", path: lake },
  }).start();
  try {
    const commits: OwnCommit[] = ownCommits(tablePath);
    const waits: number[] = [];
    let changed = 0;
    for (let batch = 0; batch < batches; batch++) {
      const paced = pause(paceMs);
      changed += await staged.changes(changes);
      const stagedAt = performance.now();
      await until(
        "the batch is applied",
        () => {
          commits.push(...ownCommits(tablePath, commits.at(-1)?.version));
          return commits.at(-1)?.sequence === staged.sequence || null;
        },
        options.timeoutMs,
      );
      waits.push((performance.now() - stagedAt) / 1e3);
      if ((batch + 1) % 10 === 0) options.progress(`${batch + 1}/${batches} batches`);
      await paced;
    }
    await pause(2_000);
    const [table] = applier.status()?.tables ?? [];
    const peakMemoryBytes = peakMemory(applier.pid);
    await applier.stop();
    const seconds = batchSeconds(commits);
    const bytesAdded = addedBytes(atFirst, fileSizes(lake));
    options.progress("scan …");
    const scan = await scanTable(tablePath, options.folder);
    const deltaRs = scanByDeltaRs(tablePath, join(options.folder, "fresh-delta"));
    const { files, smallFiles, deletedShare, bytes, maintenance } = table;
    return figure(
      "tended",
      Math.round(changed / batches),
      { seconds: seconds.slice(-comparedBatches), peakMemoryBytes: [peakMemoryBytes] },
      { name: "the first batches", seconds: seconds.slice(0, comparedBatches) },
      {
        tableRows: rows,
        batches,
        slowestBatchSeconds: Math.max(...seconds),
        stagedToReadable: {
          first: round(mean(waits.slice(0, 10))),
          last: round(mean(waits.slice(-10))),
          max: round(Math.max(...waits)),
        },
        scan: {
          duckdb: { ...rounded(scan), ratio: round(scan.ours / scan.fresh) },
          deltaRs:
            "skipped" in deltaRs
              ? deltaRs
              : {
                  ...rounded(deltaRs),
                  ratio: round(deltaRs.ours / deltaRs.fresh),
                  processorRatio: round(deltaRs.oursProcessor / deltaRs.freshProcessor),
                },
        },
        table: { files, smallFiles, deletedShare, bytes },
        maintenance,
        /** by batches and maintenance, against those of batches alone: nothing was removed yet */
        writeAmplification: round(bytesAdded / (bytesAdded - maintenance.bytesWritten)),
      },
    );
  } finally {
    if (applier.alive) await applier.kill();
    staged.close();
  }
}

const rounded = (seconds: object) =>
  Object.fromEntries(Object.entries(seconds).map(([name, value]) => [name, round(value as number)]));
const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

import { cpSync, existsSync, readdirSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { DatabricksWorkspace } from "../support/databricks-workspace";
import type { BenchOptions } from "./bench-options";
import type { Figure } from "./figures";
import { benchChanges, smallTransactions } from "./stream";

const latencyMs = 50;
const volume = "main.sluice.staging";

/**
 * The changes of `stream` into a volume of a workspace's stand-in, each of whose answers takes 50 ms, against a folder. What
 * is sent is counted, against what is staged.
 */
export async function benchFiles(options: BenchOptions): Promise<Figure> {
  const workspace = await DatabricksWorkspace.open({ latencyMs });
  try {
    const token = await workspace.addVolume(volume);
    const stagedBytes: number[] = [];
    const figure = await benchChanges(options, {
      ...smallTransactions(options),
      bench: "files",
      variants: [
        {
          name: "volume",
          config: {},
          stage(from, folder) {
            const stagingPath = `/Volumes/main/sluice/staging/${stagedBytes.length}`;
            const place = workspace.files.local(stagingPath);
            cpSync(from, place, { recursive: true });
            symlinkSync(place, join(folder, "staging"));
            const before = dataBytes(place);
            stagedBytes.push(0);
            const index = stagedBytes.length - 1;
            const measure = () => {
              stagedBytes[index] = dataBytes(place) - before;
            };
            const localPath = join(folder, "local");
            const reference = { host: workspace.host, token: { env: "SLUICE_BENCH_TOKEN" } };
            return { config: { stagingPath, staging: { kind: "volume", workspace: reference, localPath } }, measure };
          },
        },
        { name: "folder", config: {} },
      ],
      environment: { SLUICE_BENCH_TOKEN: token },
    });
    const sent = workspace.files.uploadedBytes;
    const made = stagedBytes.reduce((sum, bytes) => sum + bytes, 0);
    const uploads = {
      latencyMs,
      sentBytes: sent,
      stagedBytes: made,
      sentPerStaged: Number((sent / made).toFixed(3)),
      requests: workspace.requests.length,
      requestsAtOnce: workspace.peakRequests,
    };
    return { ...figure, uploads };
  } finally {
    await workspace.close();
  }
}

function dataBytes(staging: string): number {
  const data = join(staging, "data");
  // A log without rows has none.
  if (!existsSync(data)) return 0;
  return readdirSync(data).reduce((sum, name) => sum + statSync(join(data, name)).size, 0);
}

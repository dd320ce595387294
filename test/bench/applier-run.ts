import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import { type TimedRun, timedProcess } from "./timed-process";

const mainPath = resolve(__dirname, "..", "..", "runtime", "main.js");

/** One `sluice applier` with the trigger `once`, from its start to its end. */
export function applyOnce(folder: string, stagingPath: string, lake: string, timeoutMs: number): Promise<TimedRun> {
  const config: RuntimeConfigInput = {
    version: 1,
    role: "applier",
    id: "bench",
    statusPath: join(folder, "status.json"),
    stagingPath,
    destination: { kind: "local", path: lake },
    trigger: { kind: "once" },
  };
  const configPath = join(folder, "applier.json");
  writeFileSync(configPath, JSON.stringify(config));
  return timedProcess([mainPath, "applier", "--config", configPath], timeoutMs);
}

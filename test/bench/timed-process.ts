import { spawn } from "node:child_process";
import { peakMemory } from "./gateway-run";

export interface TimedRun {
  seconds: number;
  peakMemoryBytes: number;
}

/** A Node program from start to end, which must be with code 0. */
export function timedProcess(arguments_: string[], timeoutMs: number): Promise<TimedRun> {
  return new Promise((resolve, reject) => {
    const startedAt = process.hrtime.bigint();
    const child = spawn(process.execPath, arguments_, { stdio: ["ignore", "ignore", "pipe"], timeout: timeoutMs });
    let errors = "";
    let peakMemoryBytes = 0;
    child.stderr.on("data", (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-2000);
    });
    const sample = setInterval(() => {
      peakMemoryBytes = Math.max(peakMemoryBytes, peakMemory(child.pid ?? 0));
    }, 10);
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      clearInterval(sample);
      const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9;
      if (code === 0) resolve({ seconds, peakMemoryBytes });
      else reject(new Error(`${arguments_[0]} ended with ${code ?? signal}: ${errors}`));
    });
  });
}

import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { StagedCommit } from "../../runtime/staging/staged-commit";
import type { GatewayStatus } from "../../runtime/status";
import { until } from "../support/conditions";
import type { TestPostgres } from "../support/postgres-server";
import { RuntimeProcess } from "../support/runtime-process";

export interface GatewayRun {
  /** from the start of the process until what is waited for is durable in staging */
  seconds: number;
  peakMemoryBytes: number;
}

export type GatewayChanges = Partial<Extract<RuntimeConfigInput, { role: "gateway" }>>;

/** A gateway process over a staging folder of its own. */
export function gatewayFor(
  postgres: TestPostgres,
  folder: string,
  slot: string,
  changes: GatewayChanges = {},
  environment: Record<string, string> = {},
): RuntimeProcess<GatewayStatus> {
  mkdirSync(folder, { recursive: true });
  const config: RuntimeConfigInput = {
    version: 1,
    role: "gateway",
    id: "bench",
    source: postgres.source(),
    publication: "bench",
    slot,
    stagingPath: join(folder, "staging"),
    statusPath: join(folder, "status.json"),
    snapshot: { workers: 2 },
    ...changes,
  };
  return new RuntimeProcess<GatewayStatus>(folder, config, environment);
}

/** Starts it, waits for a staged record, stops it. The record is looked for on disk: what isn't durable doesn't count. */
export async function runUntilStaged(
  gateway: RuntimeProcess<GatewayStatus>,
  holds: (record: StagedCommit) => boolean,
  timeoutMs: number,
): Promise<GatewayRun> {
  const log = join(gateway.folder, "staging", "log");
  let seen = 0;
  const startedAt = process.hrtime.bigint();
  gateway.start();
  try {
    await until(
      "staged",
      () => {
        if (!gateway.alive) throw new Error(`the gateway ended: ${gateway.output.slice(-2000)}`);
        const names = readNames(log);
        for (; seen < names.length; seen++) {
          if (holds(JSON.parse(readFileSync(join(log, names[seen]), "utf8")) as StagedCommit)) return true;
        }
        return null;
      },
      timeoutMs,
    );
    const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9;
    return { seconds, peakMemoryBytes: peakMemory(gateway.pid) };
  } finally {
    await gateway.stop();
  }
}

function readNames(log: string): string[] {
  try {
    return readdirSync(log)
      .filter((name) => name.endsWith(".json"))
      .sort();
  } catch {
    return [];
  }
}

/** Peak resident memory, in bytes; 0 where the system doesn't tell. */
export function peakMemory(pid: number): number {
  try {
    const line = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return line === null ? 0 : Number(line[1]) * 1024;
  } catch {
    return 0;
  }
}

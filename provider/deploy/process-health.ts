import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { readStatus } from "./process-files";

/** What whoever keeps a process running knows of it. */
export type Supervision =
  /** its pid; null while there is none */
  | { kind: "trying"; pid: number | null }
  | { kind: "finished" }
  /** waiting any longer is pointless; `message` goes on from "the gateway of orders …" */
  | { kind: "hopeless"; message: string };

/** Crashes after which waiting any longer is pointless. */
export const crashesMax = 3;

/**
 * Returns when the process of this machine is healthy, or has done its work.
 * @throws SluiceError `process` with its own reason, and its last log lines
 */
export async function waitUntilHealthy(
  { directory, config, startTimeoutMs }: ProcessSpec,
  look: () => Supervision | Promise<Supervision>,
  lastLines: () => string[] | Promise<string[]>,
): Promise<void> {
  const deadline = Date.now() + startTimeoutMs;
  const fail = async (message: string, remedy?: string): Promise<SluiceError> => {
    const lines = await lastLines();
    const tail = lines.length === 0 ? "" : `\n  last log lines:\n    ${lines.join("\n    ")}`;
    return new SluiceError("process", `the ${config.role} of ${config.id} ${message}${tail}`, {
      remedy: remedy ?? "Correct what its log says, then run the same again.",
    });
  };
  for (;;) {
    const supervision = await look();
    const status = readStatus(directory);
    if (status?.state.kind === "failed") throw await fail(`failed: ${status.state.message}`, status.state.remedy);
    if (supervision.kind === "finished") return;
    if (supervision.kind === "hopeless") throw await fail(supervision.message);
    const current = status !== null && status.pid === supervision.pid;
    if (current && status.state.kind === "running" && (await isHealthy(status.httpPort))) return;
    if (Date.now() > deadline) {
      const reason = status?.state.kind === "waiting" ? `: ${status.state.reason}` : "";
      throw await fail(
        `is not healthy after ${startTimeoutMs} ms${reason}`,
        "Look at its log, or raise startTimeoutMs.",
      );
    }
    await pause(50);
  }
}

async function isHealthy(httpPort: number | null): Promise<boolean> {
  if (httpPort === null) return false;
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/healthz`, { signal: AbortSignal.timeout(2_000) });
    return response.ok;
  } catch {
    return false;
  }
}

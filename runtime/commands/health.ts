import { readFile } from "node:fs/promises";
import type { RuntimeConfig } from "../config";
import type { HealthReport, StatusDocument } from "../status";

/**
 * `sluice health`: whether the process of this configuration answers `/healthz`, for a container's health check. Its port
 * is in its status document.
 * @returns the exit code: 0 or 1
 */
export async function printHealth(config: RuntimeConfig, asJson: boolean): Promise<number> {
  const report = await readHealth(config.statusPath);
  const text = report.healthy ? "healthy" : `not healthy: ${report.state?.kind ?? "no status yet"}`;
  process.stdout.write(`${asJson ? JSON.stringify(report) : text}\n`);
  return report.healthy ? 0 : 1;
}

export async function readHealth(statusPath: string): Promise<HealthReport> {
  let document: StatusDocument;
  try {
    document = JSON.parse(await readFile(statusPath, "utf8")) as StatusDocument;
  } catch {
    return { healthy: false, state: null };
  }
  const { httpPort, state } = document;
  if (httpPort === null) return { healthy: false, state };
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/healthz`, { signal: AbortSignal.timeout(2_000) });
    return { healthy: response.ok, state };
  } catch {
    return { healthy: false, state };
  }
}

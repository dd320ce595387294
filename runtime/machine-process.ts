import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Of a process on a machine that isn't ours: an app is killed after 15 seconds, and what becomes of a job isn't said anywhere. */
export const stopTimeoutMs = 12_000;

interface Http {
  port: number;
  host: string;
}

/** Pure: a process's configuration on such a machine: its files are in `folder`, which goes with the machine. */
export function machineConfiguration(config: Record<string, unknown>, folder: string, http: Http): object {
  const staging = config.staging as Record<string, unknown> | undefined;
  return {
    ...config,
    http,
    statusPath: join(folder, "status.json"),
    ...(staging === undefined ? {} : { staging: { ...staging, localPath: join(folder, "staging") } }),
  };
}

/** A folder for a process, with its configuration. @param what names the folder */
export function placeProcess(
  what: string,
  config: Record<string, unknown>,
  http: Http,
): { folder: string; configPath: string } {
  const folder = mkdtempSync(join(tmpdir(), `sluice-${what}-`));
  mkdirSync(join(folder, "staging"));
  const configPath = join(folder, "config.json");
  writeFileSync(configPath, JSON.stringify(machineConfiguration(config, folder, http)), { mode: 0o600 });
  return { folder, configPath };
}

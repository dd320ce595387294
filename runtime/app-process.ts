import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SluiceError } from "./errors";
import { superviseProcess } from "./supervisor";

/** The platform kills after 15 seconds. */
const stopTimeoutMs = 12_000;
const defaultPort = 8_000;

interface Environment {
  /** where the platform's front asks */
  DATABRICKS_APP_PORT?: string;
}

/**
 * Pure: a process's configuration where Databricks Apps run it: its port and address are the platform's, and its files in
 * `folder`, which goes with the app.
 */
export function appConfiguration(config: Record<string, unknown>, folder: string, environment: Environment): object {
  const staging = config.staging as Record<string, unknown> | undefined;
  return {
    ...config,
    http: { port: Number(environment.DATABRICKS_APP_PORT ?? defaultPort), host: "0.0.0.0" },
    statusPath: join(folder, "status.json"),
    ...(staging === undefined ? {} : { staging: { ...staging, localPath: join(folder, "staging") } }),
  };
}

/** Runs a process, and again after a crash, as the platform does nothing about one; its output is the app's log. */
export async function runAsApp(configPath: string, { mainPath }: { mainPath: string }): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-app-"));
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(readFileSync(configPath, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw new SluiceError("config", `${configPath} can't be read`, { remedy: "Deploy the app by pulumi up.", cause });
  }
  mkdirSync(join(folder, "staging"));
  const path = join(folder, "config.json");
  writeFileSync(path, JSON.stringify(appConfiguration(config, folder, process.env)), { mode: 0o600 });
  await superviseProcess(path, {
    mainPath,
    stopTimeoutMs,
    log: { write: (chunk) => void process.stdout.write(chunk) },
  });
}

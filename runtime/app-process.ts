import { readFileSync } from "node:fs";
import { SluiceError } from "./errors";
import { placeProcess, stopTimeoutMs } from "./machine-process";
import { superviseProcess } from "./supervisor";

const defaultPort = 8_000;

interface Environment {
  /** where the platform's front asks */
  DATABRICKS_APP_PORT?: string;
}

/** Pure: port and address of a process are the platform's, where Databricks Apps run it. */
export const appHttp = (environment: Environment) => ({
  port: Number(environment.DATABRICKS_APP_PORT ?? defaultPort),
  host: "0.0.0.0",
});

/** Runs a process, and again after a crash, as the platform does nothing about one; its output is the app's log. */
export async function runAsApp(path: string, { mainPath }: { mainPath: string }): Promise<void> {
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw new SluiceError("config", `${path} can't be read`, { remedy: "Deploy the app by pulumi up.", cause });
  }
  const { configPath } = placeProcess("app", config, appHttp(process.env));
  await superviseProcess(configPath, {
    mainPath,
    stopTimeoutMs,
    log: { write: (chunk) => void process.stdout.write(chunk) },
  });
}

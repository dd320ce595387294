import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { readConfigFile } from "./config-file";
import { configExitCode } from "./errors";
import { RotatingLog } from "./operate/rotating-log";
import { identifyProcess, isAlive, type ProcessIdentity, processIdentitySchema } from "./process-identity";

/** `<dir>/tether.json`: identity of the process without which this one ends, for as long as the file is there. */
export const tetherFile = "tether.json";

export const supervisorStateSchema = z.object({
  ...processIdentitySchema.shape,
  child: processIdentitySchema.nullable(),
  restarts: z.int(),
  lastExit: z.object({ code: z.int().nullable(), signal: z.string().nullable(), at: z.string() }).nullable(),
  /** the child ended by itself with code 0: its work is done */
  finished: z.boolean(),
});
/** `<dir>/supervisor.json`, replaced as a whole at every change. */
export type SupervisorState = z.infer<typeof supervisorStateSchema>;

export interface SuperviseOptions {
  /** the program that is started as `node <mainPath> gateway|applier --config <configPath>` */
  mainPath: string;
  /** first and longest pause before a restart; default 500 and 30,000 */
  backoffMs?: { min: number; max: number };
  /** a child that lived so long starts over with the shortest pause; default 60,000 */
  healthyMs?: number;
  /** how long a child may take to end after SIGTERM; default 25,000, then SIGKILL */
  stopTimeoutMs?: number;
  /** where output goes; default `<dir>/<role>.log`, three files of 10 MB */
  log?: { write(chunk: Buffer | string): void };
}

/** Pure: the pause before the next start. */
export function restartPauseMs(
  crashes: number,
  exitCode: number | null,
  { min, max }: { min: number; max: number },
): number {
  if (exitCode === configExitCode) return max;
  return Math.min(max, min * 2 ** Math.min(crashes - 1, 20));
}

/**
 * Keeps one process running by its configuration file until SIGTERM or SIGINT, or until it ends with code 0.
 * Returns when nothing is left to supervise; the caller exits with 0.
 * @throws SluiceError `config`
 */
export async function superviseProcess(configPath: string, options: SuperviseOptions): Promise<void> {
  const { role } = readConfigFile(configPath);
  const directory = dirname(configPath);
  const log = options.log ?? new RotatingLog(join(directory, `${role}.log`));
  const backoffMs = options.backoffMs ?? { min: 500, max: 30_000 };
  const identity = identifyProcess(process.pid) ?? { pid: process.pid, startTime: "unknown" };
  const state: SupervisorState = { ...identity, child: null, restarts: 0, lastExit: null, finished: false };
  const publish = () => replaceFile(join(directory, "supervisor.json"), `${JSON.stringify(state)}\n`);

  let child: ChildProcess | null = null;
  let stopping = false;
  let wake = () => {};
  let killTimer: NodeJS.Timeout | undefined;
  const stop = () => {
    if (stopping) return;
    stopping = true;
    wake();
    child?.kill("SIGTERM");
    killTimer = setTimeout(() => child?.kill("SIGKILL"), options.stopTimeoutMs ?? 25_000);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  const tether = setInterval(() => {
    const holder = readTether(join(directory, tetherFile));
    if (holder === null) clearInterval(tether);
    else if (!isAlive(holder)) stop();
  }, tetherLookMs);

  try {
    publish();
    for (let crashes = 0; !stopping; ) {
      const startedAt = Date.now();
      child = spawn(process.execPath, [options.mainPath, role, "--config", configPath], {
        stdio: ["ignore", "pipe", "pipe"],
        env: process.env,
      });
      state.child = child.pid === undefined ? null : identifyProcess(child.pid);
      publish();
      const { code, signal } = await ended(child, log);
      child = null;
      state.child = null;
      state.lastExit = { code, signal, at: new Date().toISOString() };
      state.finished = code === 0 && !stopping;
      publish();
      if (stopping || code === 0) break;
      crashes = Date.now() - startedAt >= (options.healthyMs ?? 60_000) ? 1 : crashes + 1;
      const pauseMs = restartPauseMs(crashes, code, backoffMs);
      log.write(
        `${JSON.stringify({ at: state.lastExit.at, level: "error", event: "restart", role, code, signal, pauseMs })}\n`,
      );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pauseMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (stopping) break;
      state.restarts++;
    }
  } finally {
    clearTimeout(killTimer);
    clearInterval(tether);
    process.off("SIGTERM", stop);
    process.off("SIGINT", stop);
  }
}

function ended(
  child: ChildProcess,
  log: { write(chunk: Buffer | string): void },
): Promise<{ code: number | null; signal: string | null }> {
  child.stdout?.on("data", (chunk: Buffer) => log.write(chunk));
  child.stderr?.on("data", (chunk: Buffer) => log.write(chunk));
  return new Promise((resolve) => {
    child.on("error", (error) => {
      log.write(
        `${JSON.stringify({ at: new Date().toISOString(), level: "error", event: "spawn", message: error.message })}\n`,
      );
      resolve({ code: null, signal: null });
    });
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
}

const tetherLookMs = 500;

function readTether(path: string): ProcessIdentity | null {
  try {
    return processIdentitySchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return null;
  }
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text);
  renameSync(`${path}.tmp`, path);
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { SluiceError } from "../../runtime/errors";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import { packagedMainPath } from "./packaged-main";
import { processFiles } from "./process-files";
import { environmentOf } from "./process-folder";

/** Drops the tables that an applier, which is gone, has made; idempotent. */
export type DropTables = (spec: ProcessSpec) => Promise<void>;

/**
 * By a process of the runtime on this machine, whatever ran the applier: a container's folders are this machine's, and a
 * warehouse is reached from anywhere. It ends with this one; what it had not dropped is left to the next delete.
 */
export async function dropTables(
  spec: ProcessSpec,
  { mainPath = packagedMainPath(), timeoutMs = 600_000, env = {} as NodeJS.ProcessEnv } = {},
): Promise<void> {
  const { directory, config } = spec;
  const path = join(directory, processFiles.configuration);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  writeFileSync(path, renderConfiguration(config), { mode: 0o600 });
  try {
    await run([mainPath, "drop-tables", "--config", path, "--yes"], {
      directory,
      timeoutMs,
      env: { ...environmentOf(spec), ...env },
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The same of an applier whose folders are on another machine, and its tables and staging in a workspace. */
export async function dropFromHere(spec: ProcessSpec, options: Parameters<typeof dropTables>[1] = {}): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "sluice-drop-"));
  const { staging } = spec.config;
  const own = staging?.kind === "volume" ? { staging: { ...staging, localPath: join(directory, "local") } } : {};
  await dropTables({ ...spec, directory, config: { ...spec.config, ...own } as ProcessSpec["config"] }, options);
}

async function run(
  args: string[],
  { directory, timeoutMs, env }: { directory: string; timeoutMs: number; env: NodeJS.ProcessEnv },
): Promise<void> {
  const child = spawn(process.execPath, args, {
    cwd: directory,
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    env,
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  const told: string[] = [];
  const output = createInterface({ input: child.stdout! }).on("line", (line) => console.log(line));
  const errors = createInterface({ input: child.stderr! }).on("line", (line) => told.push(line));
  const isRead = Promise.all([once(output, "close"), once(errors, "close")]);
  const { code, signal } = await new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  await isRead;
  if (code !== 0) throw dropFailure(told, `exit ${code ?? signal}`);
}

/** Of a run of `drop-tables`, by its log lines. */
export function dropFailure(lines: string[], exit: string): SluiceError {
  const [why, remedy] = (failureOf(lines) ?? exit).split("\n  remedy: ");
  const further = 'Run the same again, which drops the rest; or leave them: onDelete: "keep".';
  return new SluiceError("destination", `the Delta tables could not all be dropped: ${why}`, {
    remedy: remedy === undefined ? further : `${remedy} ${further}`,
  });
}

/** Of the last line of its log. */
function failureOf(lines: string[]): string | null {
  for (const line of lines.reverse()) {
    try {
      const { error } = JSON.parse(line) as { error?: unknown };
      if (typeof error === "string") return error;
    } catch {
      if (line.trim() !== "") return line;
    }
  }
  return null;
}

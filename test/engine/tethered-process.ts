import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";

// Loaded before the child's own code: the child ends when its standard input does, so also when this process is killed.
// The option is taken out of execArgv, so that processes the child forks (meant to outlive it) are not tethered too.
const TETHER = `--import=data:text/javascript,${encodeURIComponent(`
const own = process.execArgv.findIndex((argument) => argument.startsWith("--import=data:"));
if (own >= 0) process.execArgv.splice(own, 1);
process.stdin.on("error", () => process.exit(1)).on("close", () => process.exit(1)).resume();
process.stdin.unref?.();
`)}`;

const STOP_TIMEOUT_MS = 5_000;
/** How long to wait for the rest of an ended child's output, which a process of its own may hold open. */
const DRAIN_TIMEOUT_MS = 1_000;

export interface TetheredOptions {
  script: string;
  args: string[];
  cwd: string;
  env: Record<string, string | undefined>;
  onLine: (line: string, stream: "stdout" | "stderr") => void;
}

/** A Node process that lives no longer than this one. */
export class TetheredProcess {
  readonly #child: ChildProcess;
  /** Exit code, or the signal's name; never rejects. */
  readonly exited: Promise<number | string>;

  constructor(options: TetheredOptions) {
    this.#child = spawn(process.execPath, [TETHER, options.script, ...options.args], {
      cwd: options.cwd,
      env: options.env,
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stdin!.on("error", () => {});
    for (const stream of ["stdout", "stderr"] as const) {
      createInterface({ input: this.#child[stream]! }).on("line", (line) => options.onLine(line, stream));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once("close", (code, signal) => resolve(code ?? signal ?? "unknown"));
      this.#child.once("exit", (code, signal) => {
        setTimeout(() => resolve(code ?? signal ?? "unknown"), DRAIN_TIMEOUT_MS).unref();
      });
      this.#child.once("error", (error) => resolve(error.message));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Closes standard input, and kills what does not end by that. */
  async stop(): Promise<void> {
    this.#child.stdin?.destroy();
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    // A grandchild may hold the output pipes open; the process itself is gone all the same.
    const gone = new Promise<void>((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) resolve();
      else this.#child.once("exit", () => resolve());
    });
    await gone;
    clearTimeout(killer);
    // Its last lines may still be in the pipes.
    await this.exited;
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }
}

/** Rejects with `what` when the promise takes longer. */
export async function withDeadline<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${timeoutMs / 1000} s`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

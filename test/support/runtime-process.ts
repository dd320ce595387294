import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { ApplierStatus, GatewayStatus } from "../../runtime/status";
import { until } from "./conditions";

export const builtMainPath = resolve(
  __dirname,
  "..",
  "..",
  ...(__dirname.includes("/dist/") ? [] : ["dist"]),
  "runtime",
  "main.js",
);

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** One `sluice gateway` or `sluice applier` of a test's own; it dies with the test. */
export class RuntimeProcess<Status extends GatewayStatus | ApplierStatus> {
  private child: ChildProcess | null = null;
  private ended: Promise<Exit> = Promise.resolve({ code: null, signal: null });
  output = "";
  /** of the runtime that the next start takes */
  mainPath = builtMainPath;

  constructor(
    readonly folder: string,
    readonly config: RuntimeConfigInput,
    private readonly environment: Record<string, string> = {},
  ) {
    mkdirSync(folder, { recursive: true });
  }

  start(environment: Record<string, string> = {}): this {
    const configPath = join(this.folder, `${this.config.role}.json`);
    writeFileSync(configPath, JSON.stringify(this.config));
    const child = spawn(process.execPath, [this.mainPath, this.config.role, "--config", configPath], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...this.environment, ...environment },
    });
    const collect = (chunk: Buffer) => {
      this.output += chunk.toString();
    };
    child.stdout.on("data", collect);
    child.stderr.on("data", collect);
    this.child = child;
    this.ended = new Promise((resolveExit) => {
      child.on("close", (code, signal) => {
        if (this.child === child) this.child = null;
        resolveExit({ code, signal });
      });
    });
    return this;
  }

  get alive(): boolean {
    return this.child !== null;
  }

  get pid(): number {
    return this.child?.pid ?? 0;
  }

  status(): Status | null {
    try {
      return JSON.parse(readFileSync(this.config.statusPath, "utf8")) as Status;
    } catch {
      return null;
    }
  }

  /** Waits until this very process says what is wanted. */
  async untilStatus(what: string, holds: (status: Status) => boolean, timeoutMs = 30_000): Promise<Status> {
    try {
      return await until(
        what,
        () => {
          const status = this.status();
          if (!this.alive) throw new Error(`the ${this.config.role} ended: ${what}`);
          return status !== null && status.pid === this.pid && holds(status) ? status : null;
        },
        timeoutMs,
      );
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.output.slice(-3000)}\n${JSON.stringify(this.status())}`);
    }
  }

  async exited(timeoutMs = 30_000): Promise<Exit> {
    return Promise.race([
      this.ended,
      pause(timeoutMs, undefined, { ref: false }).then(() => {
        throw new Error(`the ${this.config.role} did not end within ${timeoutMs} ms\n${this.output.slice(-3000)}`);
      }),
    ]);
  }

  async stop(): Promise<Exit> {
    this.child?.kill("SIGTERM");
    return this.exited();
  }

  async kill(): Promise<Exit> {
    this.child?.kill("SIGKILL");
    return this.exited();
  }
}

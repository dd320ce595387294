import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { type CliEvent, reportOfEvents } from "./cli-events";
import type { OperationResult, RefreshOptions, Selection, StackOptions } from "./engine";
import { sdkEntry } from "./protocol";

const COMMAND_TIMEOUT_MS = 60 * 60_000;

/** The program `pulumi` on a PATH, or undefined. */
export function findCli(searchPath: string | undefined): string | undefined {
  const folders = (searchPath ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, "pulumi")).find((file) => existsSync(file));
}

function flagsOf({ target, targetDependents, exclude, excludeDependents, replace }: Selection = {}): string[] {
  const each = (flag: string, urns: readonly string[] = []) => urns.flatMap((urn) => [flag, urn]);
  return [
    ...each("--target", target),
    ...(targetDependents ? ["--target-dependents"] : []),
    ...each("--exclude", exclude),
    ...(excludeDependents ? ["--exclude-dependents"] : []),
    ...each("--replace", replace),
  ];
}

interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Drives the real CLI on a file backend beside the state file; secrets go in by standard input, never as arguments. */
export class CliStack {
  readonly #cli: string;
  readonly #options: StackOptions;
  readonly #configFile: string;
  readonly #env: Record<string, string | undefined>;

  private constructor(cli: string, options: StackOptions) {
    const backend = `${resolve(options.stateFile)}.backend`;
    mkdirSync(backend, { recursive: true, mode: 0o700 });
    const env = { ...process.env, ...options.env };
    this.#cli = cli;
    this.#options = options;
    this.#configFile = join(backend, "config.yaml");
    this.#env = {
      ...env,
      // Without it there is no --event-log.
      PULUMI_DEBUG_COMMANDS: "true",
      // The plug-in for dynamic providers lies in the SDK; the CLI finds it on PATH.
      PATH: [dirname(process.execPath), env.PATH, resolve(sdkEntry("cmd/run"), "../../..")].join(delimiter),
      PULUMI_BACKEND_URL: `file://${backend}`,
      PULUMI_CONFIG_PASSPHRASE: env.PULUMI_CONFIG_PASSPHRASE ?? "",
      PULUMI_SKIP_UPDATE_CHECK: "true",
    };
  }

  static async open(cli: string, options: StackOptions): Promise<CliStack> {
    const stack = new CliStack(cli, options);
    // Creating a stack writes its settings into the project; ours lie beside the state.
    const settings = join(options.projectDir, `Pulumi.${options.stack}.yaml`);
    const hadSettings = existsSync(settings);
    await stack.#expect(["stack", "select", "--create", "--secrets-provider", "passphrase", "--stack", options.stack]);
    if (!hadSettings) rmSync(settings, { force: true });
    rmSync(stack.#configFile, { force: true });
    for (const [key, value] of Object.entries(options.config ?? {})) await stack.#configure(key, value, "--plaintext");
    for (const [key, value] of Object.entries(options.secretConfig ?? {})) {
      await stack.#configure(key, value, "--secret");
    }
    return stack;
  }

  preview(selection?: Selection): Promise<OperationResult> {
    return this.#operate(["preview", ...this.#policy(), ...flagsOf(selection)]);
  }

  up(selection?: Selection): Promise<OperationResult> {
    return this.#operate(["up", "--yes", "--skip-preview", ...this.#policy(), ...flagsOf(selection)]);
  }

  refresh({ previewOnly, ...selection }: RefreshOptions = {}): Promise<OperationResult> {
    const how = previewOnly ? ["--preview-only"] : ["--yes", "--skip-preview"];
    return this.#operate(["refresh", ...how, ...flagsOf(selection)]);
  }

  destroy(selection?: Selection): Promise<OperationResult> {
    return this.#operate(["destroy", "--yes", "--skip-preview", ...flagsOf(selection)]);
  }

  #policy(): string[] {
    const { policyPack } = this.#options;
    return policyPack === undefined ? [] : ["--policy-pack", policyPack];
  }

  async #operate(command: string[]): Promise<OperationResult> {
    const begun = Date.now();
    const folder = mkdtempSync(join(tmpdir(), "pulumi-events-"));
    try {
      const log = join(folder, "events");
      const flags = ["--stack", this.#options.stack, "--config-file", this.#configFile, "--event-log", log];
      const { code, stderr } = await this.#run([...command, ...flags], undefined, this.#options.onLine);
      const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n") : [];
      const report = reportOfEvents(lines.filter((line) => line !== "").map((line) => JSON.parse(line) as CliEvent));
      const failed = code !== 0;
      if (failed && !report.diagnostics.some(({ severity }) => severity === "error")) {
        report.diagnostics.push({ severity: "error", message: stderr.trim() || `pulumi ended with ${code}` });
      }
      if (!failed && this.#options.showSecrets && command[0] === "up") report.outputs = await this.#shownOutputs();
      return { ...report, failed, seconds: (Date.now() - begun) / 1000 };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  async #shownOutputs(): Promise<Record<string, unknown>> {
    const args = ["stack", "output", "--json", "--show-secrets", "--stack", this.#options.stack];
    return JSON.parse((await this.#expect(args)).stdout) as Record<string, unknown>;
  }

  async #configure(key: string, value: string, kind: "--plaintext" | "--secret"): Promise<void> {
    const place = ["--stack", this.#options.stack, "--config-file", this.#configFile];
    await this.#expect(["config", "set", key, kind, ...place], value);
  }

  async #expect(args: string[], input?: string): Promise<CommandResult> {
    const result = await this.#run(args, input);
    if (result.code !== 0) throw new Error(`pulumi ${args.slice(0, 2).join(" ")} failed: ${result.stderr.trim()}`);
    return result;
  }

  #run(args: string[], input = "", onLine?: (line: string) => void): Promise<CommandResult> {
    return new Promise((resolveResult, reject) => {
      const child = spawn(this.#cli, [...args, "--non-interactive", "--color", "never"], {
        cwd: this.#options.projectDir,
        env: this.#env,
        timeout: COMMAND_TIMEOUT_MS,
      });
      const lines: Record<"stdout" | "stderr", string[]> = { stdout: [], stderr: [] };
      for (const stream of ["stdout", "stderr"] as const) {
        createInterface({ input: child[stream] }).on("line", (line) => {
          lines[stream].push(line);
          onLine?.(line);
        });
      }
      child.once("error", reject);
      child.once("close", (code) =>
        resolveResult({ code, stdout: lines.stdout.join("\n"), stderr: lines.stderr.join("\n") }),
      );
      child.stdin.on("error", () => {}).end(input);
    });
  }
}

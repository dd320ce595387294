import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { ScenarioOperation } from "./conformance-scenario";
import type { Deployer } from "./deployer";
import type { OperationResult, StackOptions, Step } from "./engine";

const here = path.join(process.cwd(), "test/engine/conformance");
export const recordedFile = path.join(here, "recorded.json");

/** What an operation did: its steps, whether it failed, and every call of the provider with its arguments. */
export interface Recorded {
  name: string;
  kind: string;
  ops: string[];
  failed: boolean;
  providerCalls: string[];
}

/** A provider's call by its method and the resource's id. */
export const withoutArguments = (call: string) => call.replace(/ *\{.*/, "");

export const readRecorded = () => JSON.parse(fs.readFileSync(recordedFile, "utf8")) as Recorded[];

type Open = (options: StackOptions) => Omit<Deployer, "kind"> | Promise<Omit<Deployer, "kind">>;

/** One stack of the set's program, with a world of its own; operations go on from each other. */
export class ConformanceSession {
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-conformance-"));
  readonly #open: Open;

  constructor(open: Open) {
    this.#open = open;
    fs.cpSync(path.join(here, "program"), path.join(this.#folder, "program"), { recursive: true });
    fs.symlinkSync(path.join(process.cwd(), "node_modules"), path.join(this.#folder, "program/node_modules"));
    fs.mkdirSync(path.join(this.#folder, "world"));
  }

  async run(operation: ScenarioOperation): Promise<Recorded & { result: OperationResult }> {
    const { name, kind, params, selection, before } = operation;
    const world = path.join(this.#folder, "world");
    const log = path.join(this.#folder, "calls");
    fs.writeFileSync(log, "");
    before?.(world);
    const stack = await this.#open({
      projectDir: path.join(this.#folder, "program"),
      stack: "cmp",
      stateFile: path.join(this.#folder, "state.json"),
      config: { "dyn:k": "v1" },
      secretConfig: { "dyn:pw": "hunter2" },
      env: {
        PARAMS: JSON.stringify(params ?? {}),
        WORLD: world,
        PROV_LOG: log,
        PULUMI_NODEJS_TRANSPILE_ONLY: "true",
      },
    });
    const result = await stack[kind](selection);
    const providerCalls = fs.readFileSync(log, "utf8").split("\n").slice(0, -1);
    return { name, kind, ops: result.steps.map(shown), failed: result.failed, providerCalls, result };
  }

  end(): void {
    fs.rmSync(this.#folder, { recursive: true, force: true });
  }
}

function shown(step: Step): string {
  const [, , ...rest] = step.urn.split("::");
  return `${step.op} ${rest.join("::")}${step.failed ? " FAILED" : ""}`;
}

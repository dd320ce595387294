// Contract: a real program that reaches its package by self-reference is deployed by its real provider process, whose
// stored code imports the package's handlers from the program's folder; errors come back whole; a state file can be
// read by nobody else and holds no secret in plain text.
// Invariants 5 (no process remains, whatever is killed) and 6 (no secret leaves the place it was given to).

import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { longTest } from "../support/long-test";
import { type OperationResult, Stack, type StackOptions } from "./engine";

const CANARY = "canary-7f3a91c2e5";
const fixture = path.join(process.cwd(), "test/engine/fixtures/self-reference");

let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-"));
});

afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function options(mode = "", more: Partial<StackOptions> = {}): StackOptions {
  return {
    projectDir: fixture,
    stack: "test",
    stateFile: path.join(folder, "state.json"),
    config: { "engine-fixture:host": "db", ...(mode ? { "engine-fixture:mode": mode } : {}) },
    secretConfig: { "engine-fixture:password": CANARY },
    env: { FIXTURE_WORLD: folder, FIXTURE_SHOUT: CANARY, PULUMI_NODEJS_TRANSPILE_ONLY: "true" },
    ...more,
  };
}

const errors = (result: OperationResult) => result.diagnostics.filter(({ severity }) => severity === "error");
const steps = (result: OperationResult) => result.steps.map(({ op, name }) => `${op} ${name}`);
const state = () => fs.readFileSync(path.join(folder, "state.json"), "utf8");

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited too long until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1][0] !== "Z";
  } catch {
    return false;
  }
}

describe("a program that reaches its package by self-reference", () => {
  longTest("is deployed, kept, and destroyed by the code in the state", async () => {
    const lines: string[] = [];
    const stack = new Stack(options("", { onLine: (line) => lines.push(line) }));
    const preview = await stack.preview();
    expect(preview).toMatchObject({ failed: false, outputs: { address: "[unknown]", host: "db", here: "quickstart" } });
    expect(fs.existsSync(path.join(folder, "state.json"))).toBe(false);

    const up = await stack.up();
    expect(errors(up)).toEqual([]);
    expect(steps(up)).toEqual(["create engine-fixture-test", "create link"]);
    expect(up.outputs).toEqual({ address: "[secret]", host: "db", here: "quickstart" });
    expect(lines).toContain(" + fixture:Link link creating…");
    expect(fs.readFileSync(path.join(folder, "calls"), "utf8")).toBe(
      `link create in ${path.join(fixture, "examples/quickstart")}\n`,
    );

    const again = await stack.up();
    expect(steps(again)).toEqual(["same engine-fixture-test", "same link"]);
    const shown = await new Stack(options("", { showSecrets: true })).up();
    expect(shown.outputs.address).toBe(`${CANARY}@db`);

    const changed = await new Stack(options("", { config: { "engine-fixture:host": "db2" } })).up();
    expect(changed.steps[1]).toMatchObject({ op: "update", name: "link", diffKeys: ["host"] });

    const destroyed = await stack.destroy();
    expect(destroyed.failed).toBe(false);
    expect(steps(destroyed)).toEqual(["delete link", "delete engine-fixture-test"]);
    expect(JSON.parse(state()).deployment.resources).toEqual([]);
  });

  it("reports log messages of the program with their severity", async () => {
    const { diagnostics } = await new Stack(options()).preview();
    expect(diagnostics).toContainEqual({ severity: "warning", message: "a warning of the program" });
  });

  it("reports a provider's error with its resource", async () => {
    const result = await new Stack(options("fail")).up();
    expect(result.failed).toBe(true);
    expect(errors(result)).toEqual([
      { severity: "error", message: "no access with [secret]", urn: expect.stringContaining("fixture:Link::link") },
    ]);
    expect(JSON.parse(state()).deployment.resources.map((resource: { urn: string }) => resource.urn)).not.toContain(
      errors(result)[0].urn,
    );
  });

  it("keeps what was created in part, with the reasons", async () => {
    const result = await new Stack(options("half")).up();
    expect(errors(result)).toMatchObject([{ message: "not ready\n* waited for db" }]);
    const kept = JSON.parse(state()).deployment.resources.find(({ id }: { id?: string }) => id === "half-1");
    expect(kept.initErrors).toEqual(["waited for db"]);
  });

  it("deletes nothing when the program leaves early", async () => {
    await new Stack(options()).up();
    const left = await new Stack(options("leave")).up();
    expect(left.failed).toBe(true);
    expect(left.steps.filter(({ op }) => op === "delete")).toEqual([]);
    expect(JSON.parse(state()).deployment.resources).toHaveLength(3);
  });
});

describe("a secret", () => {
  it("is in no file, message or line in plain text", async () => {
    for (const mode of ["", "fail", "half"]) {
      const lines: string[] = [];
      const result = await new Stack(options(mode, { onLine: (line) => lines.push(line) })).up();
      // The program and the provider both print it, so something was hidden.
      expect(lines.join("\n")).toContain("the provider saw [secret]");
      expect(lines.join("\n")).toContain("password is [secret]");
      expect(lines.join("\n")).not.toContain(CANARY);
      expect(JSON.stringify(result)).not.toContain(CANARY);
      expect(state()).not.toContain(CANARY);
      expect(state()).toContain('"ciphertext"');
      fs.rmSync(path.join(folder, "state.json"));
    }
  });

  it("is in a file that only its owner can read, under the passphrase", async () => {
    const env = { ...options().env, PULUMI_CONFIG_PASSPHRASE: "one" };
    await new Stack(options("", { env })).up();
    expect(fs.statSync(path.join(folder, "state.json")).mode & 0o777).toBe(0o600);
    const other = await new Stack(options("", { env: { ...env, PULUMI_CONFIG_PASSPHRASE: "two" } })).destroy();
    expect(errors(other)).toMatchObject([{ message: expect.stringContaining("PULUMI_CONFIG_PASSPHRASE") }]);
    expect((await new Stack(options("", { env })).destroy()).failed).toBe(false);
  });
});

describe("an engine that is killed", () => {
  it("leaves no provider and no program, and the next operation says what was interrupted", async () => {
    const script = `
      const { Stack } = require(${JSON.stringify(path.join(process.cwd(), "dist/test/engine/engine.js"))});
      new Stack(JSON.parse(process.argv[1])).up();`;
    const engine = spawn(process.execPath, ["-e", script, JSON.stringify(options("hang"))], { stdio: "ignore" });
    const hanging = path.join(folder, "hanging");
    await until(() => fs.existsSync(hanging) && fs.readFileSync(hanging, "utf8") !== "", "the provider hangs");
    const provider = Number(fs.readFileSync(hanging, "utf8"));
    const children = fs.readFileSync(`/proc/${engine.pid}/task/${engine.pid}/children`, "utf8").trim().split(" ");
    expect(children).toHaveLength(2);
    expect(children.map(Number)).toContain(provider);
    engine.kill("SIGKILL");
    await until(() => children.every((pid) => !alive(Number(pid))), "both processes have ended");

    const next = await new Stack(options()).up();
    expect(next.failed).toBe(false);
    expect(next.diagnostics).toContainEqual(
      expect.objectContaining({ severity: "warning", message: expect.stringContaining("interrupted while creating") }),
    );
  });
});

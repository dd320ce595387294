// Contract: openStack takes `pulumi` from PATH where there is one, else the test engine, with the same results. Where
// no CLI can be had the driver is held to a stand-in that writes down its calls and answers with recorded kinds of
// events: it shows what the driver asks and how it reads the answer, not that the real CLI agrees.
// Invariant 6: a secret is never an argument.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStack } from "./deployer";

const SECRET = "canary-5d1e08aa";
let folder: string;

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "deployer-"));
});

afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

function options(searchPath: string, env: Record<string, string> = {}) {
  return {
    projectDir: path.join(process.cwd(), "test/engine/fixtures/self-reference"),
    stack: "s",
    stateFile: path.join(folder, "state.json"),
    config: { "engine-fixture:host": "db" },
    secretConfig: { "engine-fixture:password": SECRET },
    env: { PATH: searchPath, FIXTURE_WORLD: folder, PULUMI_NODEJS_TRANSPILE_ONLY: "true", ...env },
  };
}

/** A folder with a `pulumi` in it. */
function standIn(): string {
  const bin = path.join(folder, "bin");
  fs.mkdirSync(bin);
  const script = path.join(process.cwd(), "test/engine/fixtures/cli/pulumi.js");
  fs.writeFileSync(path.join(bin, "pulumi"), `#!/bin/sh\nexec "${process.execPath}" "${script}" "$@"\n`, {
    mode: 0o755,
  });
  return `${bin}:/usr/bin:/bin`;
}

function calls(): { args: string[]; input: string }[] {
  const text = fs.readFileSync(path.join(folder, "state.json.backend/calls"), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

describe("without a CLI", () => {
  it("the engine deploys", async () => {
    const stack = await openStack(options("/nowhere"));
    expect(stack.kind).toBe("engine");
    expect(await stack.preview()).toMatchObject({ failed: false, outputs: { host: "db" } });
  });
});

describe("with a CLI on PATH", () => {
  it("the CLI deploys, and its events are the result", async () => {
    const stack = await openStack(options(standIn()));
    expect(stack.kind).toBe("cli");
    const result = await stack.up();
    expect(result).toMatchObject({ failed: false, outputs: { a: 1, list: ["[secret]"] } });
    expect(result.steps.map(({ op, name }) => `${op} ${name}`)).toEqual(["same p-s", "update t", "delete u"]);
    expect(result.steps[1].diffKeys).toEqual(["size"]);
    expect(result.diagnostics).toEqual([
      { severity: "info", message: "hello", urn: "urn:pulumi:s::p::pulumi-nodejs:dynamic/a:Thing::t" },
    ]);
  });

  it("a failure is a result, not an exception", async () => {
    const stack = await openStack(options(standIn(), { FAKE_FAILS: "true" }));
    const result = await stack.up();
    expect(result.failed).toBe(true);
    expect(result.steps[1]).toMatchObject({ op: "update", failed: true });
    expect(result.diagnostics.at(-1)).toEqual({ severity: "error", message: "error: update failed" });
  });

  it("no secret is among the arguments", async () => {
    const stack = await openStack(options(standIn()));
    await stack.preview();
    await stack.refresh({ previewOnly: true });
    await stack.destroy();
    const made = calls();
    expect(made.filter(({ input }) => input === SECRET)).toHaveLength(1);
    expect(made.flatMap(({ args }) => args).join(" ")).not.toContain(SECRET);
    const operations = made.map(({ args }) => args[0]).filter((name) => name !== "stack" && name !== "config");
    expect(operations).toEqual(["preview", "refresh", "destroy"]);
    expect(made.at(-2)?.args).toContain("--preview-only");
    for (const { args } of made) expect(args).toContain("--non-interactive");
  });
});

// Contract: the test engine does what the Pulumi CLI does. conformance/recorded.json holds the steps, the outcome and
// every provider call of 54 operations, recorded from the CLI (3.260) with the program in conformance/program.
// Order counts in the first 30 operations, except inside a refresh, where the engine reads in parallel; the `x-`
// operations register independent resources, so theirs are compared as sets. In three of them the order in which
// registrations arrive before a failure is a race: there the failing steps and the provider's calls must be the same,
// and nothing may happen that the CLI does not do in the same situation.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { scenario } from "./conformance-scenario";
import { Stack, type Step } from "./engine";

interface Recorded {
  name: string;
  kind: string;
  ops: string[];
  failed: boolean;
  providerCalls: string[];
}

const RACES = new Set(["x-undefined-out", "x-crash", "x-parallel-fail"]);
/** Resources without a change, that may or may not have been registered before the failure of a race. */
const BYSTANDERS = ["one", "host", "st", "guest"].map((name) => `same pulumi-nodejs:dynamic:Resource::${name}`);

const here = path.join(process.cwd(), "test/engine/conformance");
const recorded = JSON.parse(fs.readFileSync(path.join(here, "recorded.json"), "utf8")) as Recorded[];

let folder: string;

beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "engine-conformance-"));
  fs.cpSync(path.join(here, "program"), path.join(folder, "program"), { recursive: true });
  fs.symlinkSync(path.join(process.cwd(), "node_modules"), path.join(folder, "program/node_modules"));
  fs.mkdirSync(path.join(folder, "world"));
});

afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

function shown(step: Step): string {
  const [, , ...rest] = step.urn.split("::");
  return `${step.op} ${rest.join("::")}${step.failed ? " FAILED" : ""}`;
}

/** The second half, from an empty state again, is of the long tests. */
const isLeftOut = (name: string) => process.env.SLUICE_TEST_ENGINE !== "all" && name.startsWith("x-");

describe("the engine and the CLI", () => {
  it("have the same operations to do", () => {
    expect(scenario.map(({ name, kind }) => ({ name, kind }))).toEqual(
      recorded.map(({ name, kind }) => ({ name, kind })),
    );
    expect(scenario).toHaveLength(54);
  });

  for (const [index, operation] of scenario.entries()) {
    it.skipIf(isLeftOut(operation.name))(`${operation.name} (${operation.kind})`, async () => {
      const world = path.join(folder, "world");
      const log = path.join(folder, "calls");
      fs.writeFileSync(log, "");
      operation.before?.(world);
      const stack = new Stack({
        projectDir: path.join(folder, "program"),
        stack: "cmp",
        stateFile: path.join(folder, "state.json"),
        config: { "dyn:k": "v1" },
        secretConfig: { "dyn:pw": "hunter2" },
        env: {
          PARAMS: JSON.stringify(operation.params ?? {}),
          WORLD: world,
          PROV_LOG: log,
          PULUMI_NODEJS_TRANSPILE_ONLY: "true",
        },
      });
      const result = await stack[operation.kind]();
      const ops = result.steps.map(shown);
      const calls = fs.readFileSync(log, "utf8").split("\n").slice(0, -1);
      const expected = recorded[index];
      const said = result.diagnostics.map(({ severity, message }) => `${severity}: ${message}`).join("\n");
      expect(result.failed, said).toBe(expected.failed);
      if (RACES.has(operation.name)) {
        const failing = (list: string[]) => list.filter((op) => op.endsWith(" FAILED")).sort();
        expect(failing(ops), said).toEqual(failing(expected.ops));
        const allowed = new Set([...expected.ops, ...BYSTANDERS]);
        expect(ops.filter((op) => !allowed.has(op))).toEqual([]);
        expect(calls.sort()).toEqual(expected.providerCalls.sort());
        return;
      }
      const ordered = !operation.name.startsWith("x-") && operation.kind !== "refresh";
      const list = (items: string[]) => (ordered ? items : items.toSorted());
      expect(list(ops), said).toEqual(list(expected.ops));
      expect(list(calls)).toEqual(list(expected.providerCalls));
      expect(
        result.diagnostics.some(({ severity }) => severity === "error"),
        said,
      ).toBe(expected.failed);
    });
  }
});

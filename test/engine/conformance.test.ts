// Contract: the test engine does what the Pulumi CLI does. conformance/recorded.json holds the steps, the outcome and
// every provider call of 83 operations, recorded from the CLI (3.260) with the program in conformance/program.
// Order counts, except inside a refresh, where the engine reads in parallel; the `x-` operations register independent
// resources, so theirs are compared as sets. In three of them the order in which registrations arrive before a failure is
// a race: there the failing steps and the provider's calls must be the same, and nothing may happen that the CLI does not
// do in the same situation. The `t-` operations are about some of the resources; which of them the
// CLI asks first is chance, and their calls are recorded without arguments.

import { afterAll, describe, expect, it } from "vitest";
import { scenario } from "./conformance-scenario";
import { ConformanceSession, readRecorded, withoutArguments } from "./conformance-session";
import { Stack } from "./engine";

const RACES = new Set(["x-undefined-out", "x-crash", "x-parallel-fail"]);
/** Resources without a change, that may or may not have been registered before the failure of a race. */
const BYSTANDERS = ["one", "host", "st", "guest"].map((name) => `same pulumi-nodejs:dynamic:Resource::${name}`);

const recorded = readRecorded();
const session = new ConformanceSession((options) => new Stack(options));

afterAll(() => session.end());

/** They are in one row; a preview and update of each first kind are in every test run, the rest in the long one. */
const shortEnd = scenario.findIndex(({ name }) => name === "up-update");
const isLeftOut = (index: number) => process.env.SLUICE_TEST_ENGINE !== "all" && index > shortEnd;

describe("the engine and the CLI", () => {
  it("have the same operations to do", () => {
    expect(scenario.map(({ name, kind }) => ({ name, kind }))).toEqual(
      recorded.map(({ name, kind }) => ({ name, kind })),
    );
    expect(scenario).toHaveLength(83);
  });

  for (const [index, operation] of scenario.entries()) {
    it.skipIf(isLeftOut(index))(`${operation.name} (${operation.kind})`, async () => {
      const { ops, providerCalls: calls, result } = await session.run(operation);
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
      if (operation.name.startsWith("t-")) {
        expect(calls.map(withoutArguments).sort(), said).toEqual(expected.providerCalls.toSorted());
      } else expect(list(calls)).toEqual(list(expected.providerCalls));
      expect(
        result.diagnostics.some(({ severity }) => severity === "error"),
        said,
      ).toBe(expected.failed);
    });
  }
});

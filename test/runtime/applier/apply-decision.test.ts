// Contract: what stops a table, and what it needs to go on, is decided purely: a new snapshot heals all but a lost place.
import { describe, expect, it } from "vitest";
import { type ApplySituation, decideApply } from "../../../runtime/applier/apply-decision";
import type { ApplyPlan, ApplyStep } from "../../../runtime/destination/apply-plan";

const point = { commitLsn: null, commitTimeMicros: 0n };
const steps: Record<string, ApplyStep> = {
  c: { kind: "changes", schemaId: 1, files: [] },
  r: { kind: "replace", schemaId: 1, files: [], point },
};
const plan = (text: string): ApplyPlan => ({
  steps: [...text].map((letter) => steps[letter]),
  ...{ sequence: 1, upserted: 0, deleted: 0, dropped: 0, changeBytes: 0 },
});

function decide(text: string, more: Partial<ApplySituation> = {}): string {
  const decision = decideApply({
    ready: plan(text),
    change: { kind: "none" },
    ...{ lacksPurged: false, isQuarantined: false, keepsHistory: false, isHeld: true },
    ...{ isDisplaced: false, isTaken: false, isRightful: true, isRightfullyTaken: false },
    ...more,
  });
  if (decision.kind === "waiting") return "waiting";
  if (decision.kind === "blocked") return `blocked by ${decision.by}`;
  return `${decision.plan.steps.map((step) => step.kind[0]).join("")}${decision.goesOn ? " goes on" : ""}`;
}

const refresh = { kind: "refresh", reason: "its mode changes" } as const;

/** Another table has the place, and so has this one by the newest record. */
const taken = { isTaken: true, isRightfullyTaken: true };

describe("decideApply", () => {
  it.each<[string, Partial<ApplySituation>, string]>([
    ["c", {}, "c goes on"],
    ["rc", {}, "rc"],
    ["crc", { keepsHistory: true }, "crc goes on"],
    ["rc", { keepsHistory: true }, "rc goes on"],
    ["rc", { keepsHistory: true, isHeld: false }, "rc"],
    ["c", { change: refresh }, "blocked by options"],
    ["crc", { change: refresh, keepsHistory: true }, "rc"],
    ["c", { lacksPurged: true }, "blocked by purged"],
    ["crc", { lacksPurged: true, keepsHistory: true }, "rc goes on"],
    ["c", { isQuarantined: true }, "c goes on"],
    ["crc", { isQuarantined: true, keepsHistory: true }, "rc goes on"],
    ["c", { ...taken, isDisplaced: true }, "blocked by place"],
    ["c", { ...taken, isDisplaced: true, isRightfullyTaken: false }, "c goes on"],
    ["c", taken, "c goes on"],
    ["rc", { ...taken, isDisplaced: true }, "rc"],
    ["rc", { ...taken, isRightful: false }, "waiting"],
    ["c", { ...taken, isRightful: false, isDisplaced: true }, "waiting"],
    ["c", { isRightful: false }, "c goes on"],
  ])("%s with %j: %s", (text, more, expected) => expect(decide(text, more)).toBe(expected));
});

// Contract: maintenance takes its part of the time and no more, and no run is meant to be longer than the interval.
import { describe, expect, it } from "vitest";
import { bytesAllowed, newBudget, refill, spend } from "../../../runtime/applier/maintenance-budget";

const mebibyte = 1024 * 1024;

it("runs take their part of the time, however long each is", () => {
  for (const runMs of [3, 90, 400, 5_000]) {
    let budget = newBudget(0);
    let spentMs = 0;
    let nowMs = 0;
    while (nowMs < 600_000) {
      budget = refill(budget, nowMs, 0.2);
      if (bytesAllowed(budget, 500, mebibyte) > 0) {
        budget = spend(budget, runMs, 0);
        spentMs += runMs;
        nowMs += runMs;
      } else nowMs += 10;
    }
    expect(spentMs / nowMs).toBeGreaterThan(0.15);
    expect(spentMs / nowMs).toBeLessThan(0.22);
  }
});

describe("a run's size", () => {
  it("is what the interval allows at the speed of runs so far", () => {
    let budget = newBudget(0);
    for (let run = 0; run < 10; run++) budget = { ...spend(budget, 100, 10 * mebibyte), creditMs: 1 };
    const allowed = bytesAllowed(budget, 500, 1024 * mebibyte);
    expect(allowed).toBeGreaterThan(60 * mebibyte);
    expect(allowed).toBeLessThan(80 * mebibyte);
    expect(bytesAllowed(budget, 500, mebibyte)).toBe(mebibyte);
    expect(bytesAllowed(budget, null, 1024 * mebibyte)).toBe(1024 * mebibyte);
  });

  it("is never so small that nothing could be done", () => {
    const slow = { creditMs: 1, atMs: 0, bytesPerMs: 1 };
    expect(bytesAllowed(slow, 10, 64 * mebibyte)).toBe(mebibyte);
    expect(bytesAllowed(slow, 500, 64 * mebibyte)).toBe(8 * mebibyte);
    expect(bytesAllowed({ ...slow, creditMs: 0 }, 10, 64 * mebibyte)).toBe(0);
  });
});

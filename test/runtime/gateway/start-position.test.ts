// Contract: streaming starts where nothing is missing, or not at all (invariant 3; the slot must never lead staging).
import { describe, expect, it } from "vitest";
import { SluiceError } from "../../../runtime/errors";
import { type SlotPosition, startPosition } from "../../../runtime/gateway/start-position";
import { parseLsn } from "../../../runtime/postgres/lsn";

const slot = (confirmed: string | null, changes: Partial<SlotPosition> = {}): SlotPosition => ({
  name: "s",
  plugin: "pgoutput",
  database: "d",
  walStatus: "reserved",
  invalidationReason: null,
  conflicting: false,
  confirmedFlushLsn: confirmed === null ? null : parseLsn(confirmed),
  ...changes,
});

function kindOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SluiceError) {
      expect(error.remedy).toBeTruthy();
      return error.kind;
    }
  }
  return "no error";
}

describe("start position", () => {
  it("is the slot's in an empty staging", () => {
    expect(startPosition(slot("0/500"), "s", null)).toBe(parseLsn("0/500"));
  });
  it("is staging's when the slot lags", () => {
    expect(startPosition(slot("0/500"), "s", parseLsn("0/900"))).toBe(parseLsn("0/900"));
    expect(startPosition(slot("0/900"), "s", parseLsn("0/900"))).toBe(parseLsn("0/900"));
  });
  it.each([
    ["the slot leads", slot("0/901"), "0/900"],
    ["the slot is gone", null, "0/900"],
    ["the slot is gone in an empty staging", null, null],
    ["the slot is lost", slot("0/500", { walStatus: "lost" }), "0/900"],
    ["the slot was idle for too long", slot("0/500", { invalidationReason: "idle_timeout" }), "0/900"],
    ["the slot conflicts with recovery", slot("0/500", { conflicting: true }), "0/900"],
    ["the slot has no position", slot(null), null],
    ["another plug-in decodes", slot("0/500", { plugin: "test_decoding" }), null],
  ])("is refused with a remedy when %s", (_name, state, staged) => {
    expect(kindOf(() => startPosition(state, "s", staged === null ? null : parseLsn(staged)))).toBe("slot-lost");
  });
});

// Contract: the comment of a publication tells whose it is and what a state may not know, and any other comment tells
// nothing.
import { expect, it } from "vitest";
import { formatMark, type Mark, markedPipelineId, parseMark } from "../../../provider/postgres/publication-mark";
import fc from "../../support/property";

const name = fc.stringMatching(/^[a-z0-9_]{1,40}$/);
const identity = fc.oneof(
  fc.constantFrom({ kind: "default" as const }, { kind: "full" as const }, { kind: "nothing" as const }),
  fc.record({ kind: fc.constant("index" as const), index: fc.string() }),
);
const mark: fc.Arbitrary<Mark> = fc.record({
  pipelineId: name,
  keptSlots: fc.array(name, { maxLength: 3 }),
  newOf: fc.option(fc.stringMatching(/^[0-9a-f]{16}$/)),
  identities: fc.array(fc.record({ schema: fc.string(), name: fc.string(), previous: identity }), { maxLength: 3 }),
});

it("reads what it writes, whatever tables are called", () => {
  fc.assert(
    fc.property(mark, (one) => {
      expect(parseMark(formatMark(one))).toEqual(one);
    }),
  );
});

it.each([null, "", "reporting", "sluice:", "sluice:a b", "not sluice:a", "sluice:a new", "sluice:a was nothing"])(
  "takes %j for nobody's",
  (comment) => {
    expect(markedPipelineId(comment)).toBeNull();
  },
);

it("takes the mark of earlier versions", () => {
  expect(parseMark("sluice:0a_1")).toEqual({ pipelineId: "0a_1", keptSlots: [], newOf: null, identities: [] });
});

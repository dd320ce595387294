// Contract: ranges of a relation cover every block exactly once, the last one is open; what is done survives as text.
import { describe, expect, it } from "vitest";
import {
  copiedShare,
  formatDone,
  isCopied,
  type PartSize,
  parseDone,
  planPart,
  rangeBlocks,
  rangesLeft,
} from "../../../runtime/gateway/copy-ranges";
import fc from "../../support/property";

const size = (blocks: number, bytes: number, rangeable = true): PartSize => ({
  relationId: "1",
  schema: "s",
  name: "t",
  fileNode: "2",
  blocks,
  bytes,
  rangeable,
});

describe("copy ranges", () => {
  it("cover all blocks once, in order, and end open", () => {
    fc.assert(
      fc.property(fc.nat(200_000), fc.nat(1e9), fc.integer({ min: 1e6, max: 1e8 }), (blocks, toast, rangeBytes) => {
        const part = planPart(size(blocks, blocks * 8192 + toast), rangeBytes);
        const ranges = rangesLeft([part]);
        expect(ranges).toHaveLength(part.ranges);
        if (part.ranges === 1) {
          expect(rangeBlocks(ranges[0])).toBeNull();
          return;
        }
        let next = 0;
        for (const range of ranges.slice(0, -1)) {
          const { first, end } = rangeBlocks(range) as { first: number; end: number };
          expect(first).toBe(next);
          expect(end).toBeGreaterThan(first);
          next = end;
        }
        expect(rangeBlocks(ranges.at(-1) as (typeof ranges)[0])).toEqual({ first: next, end: null });
        expect(next).toBeLessThan(blocks);
      }),
    );
  });

  it("are one for a small table, an empty one, and one that can't be divided", () => {
    expect(planPart(size(100, 819_200), 1e6).ranges).toBe(1);
    expect(planPart(size(0, 0), 8192).ranges).toBe(1);
    expect(planPart(size(1e6, 8e9, false), 1e6).ranges).toBe(1);
  });

  it("are more for a table whose bytes are in TOAST, but never more than blocks", () => {
    expect(planPart(size(100, 1e9), 1e8).ranges).toBe(10);
    expect(planPart(size(4, 1e9), 1e8).ranges).toBe(4);
  });

  it("start with the largest relation, and leave out what is done", () => {
    const small = planPart({ ...size(10, 81_920), name: "small" }, 8192 * 5);
    const large = planPart({ ...size(20, 163_840), name: "large" }, 8192 * 5);
    large.done.add(1);
    expect(rangesLeft([small, large]).map(({ part, index }) => `${part.name} ${index}`)).toEqual([
      ...["large 0", "large 2", "large 3"],
      ...["small 0", "small 1"],
    ]);
    expect(copiedShare([small, large])).toBeCloseTo(1 / 6);
    expect(isCopied([small, large])).toBe(false);
  });

  it("are kept as runs", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(300)), (indexes) => {
        const done = new Set(indexes);
        expect(parseDone(formatDone(done))).toEqual(done);
      }),
    );
    expect(formatDone(new Set([3, 0, 1, 2, 7]))).toBe("0-3,7");
  });
});

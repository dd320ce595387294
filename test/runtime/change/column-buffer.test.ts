// Contract: what a buffer can't hold is an error, never a value that is cut or moved (invariant 4): a heap's offsets have
// 32 bits.
import { describe, expect, it } from "vitest";
import { ColumnBuffer, heapBytesMax } from "../../../runtime/change/column-buffer";

describe("a column's buffer", () => {
  it("refuses values beyond the offsets of its heap", () => {
    const column = new ColumnBuffer("bytes", 8);
    column.heapLength = heapBytesMax - 10;
    expect(() => column.reserve(11)).toThrow(/don't fit into one batch/);
  });
});

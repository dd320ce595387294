// Contract: what a buffer can't hold is an error, never a value that is cut or moved (invariant 4): a heap's offsets have
// 32 bits; -0 is told, and looking for it ends whatever the column is.
import { describe, expect, it } from "vitest";
import { ColumnBuffer, heapBytesMax } from "../../../runtime/change/column-buffer";

describe("a column's buffer", () => {
  it("refuses values beyond the offsets of its heap", () => {
    const column = new ColumnBuffer("bytes", 8);
    column.heapLength = heapBytesMax - 10;
    expect(() => column.reserve(11)).toThrow(/don't fit into one batch/);
  });

  it("finds -0 among floats and doubles, and in no other column", () => {
    for (const storage of ["f32", "f64"] as const) {
      const column = new ColumnBuffer(storage, 8);
      const values = storage === "f32" ? column.f32 : column.f64;
      values.set([0, Number.NaN, -1, Number.NEGATIVE_INFINITY]);
      expect(column.hasMinusZero(4)).toBe(false);
      values[3] = -0;
      expect([column.hasMinusZero(3), column.hasMinusZero(4)]).toEqual([false, true]);
    }
    for (const storage of ["i8", "i64", "bytes"] as const)
      expect(new ColumnBuffer(storage, 8).hasMinusZero(8)).toBe(false);
  });
});

// Contract: which files are written anew is a pure decision: small ones of about one size, and those with many deleted
// rows, never more than one run may read; and a table that is tended comes to rest.
import { describe, expect, it } from "vitest";
import { maintenanceSchema } from "../../../runtime/config";
import { type CompactionStep, type FileState, planCompaction } from "../../../runtime/destination/compaction-plan";

const mebibyte = 1024 * 1024;
const options = maintenanceSchema.parse({});
const file = (path: string, mb: number, deletedShare = 0): FileState => ({
  path,
  bytes: mb * mebibyte,
  records: 1_000_000,
  deleted: deletedShare * 1_000_000,
});
const many = (count: number, prefix: string, mb: number) =>
  Array.from({ length: count }, (_, index) => file(`${prefix}${index}`, mb));
const names = (count: number, prefix: string) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
const merge = (files: string[], reason: CompactionStep["reason"]): CompactionStep => ({ kind: "merge", files, reason });

describe("what is done next", () => {
  it.each<[string, FileState[], number, CompactionStep | null]>([
    ["nothing of an empty table", [], 64, null],
    ["nothing of large files", many(30, "a", 20), 64, null],
    ["nothing of seven small ones", many(7, "a", 0.01), 64, null],
    ["eight small ones become one", many(8, "a", 0.01), 64, merge(names(8, "a"), "small-files")],
    ["small ones of other sizes wait", [...many(7, "a", 0.01), ...many(7, "b", 1)], 64, null],
    [
      "with a tier go the smaller ones, smallest first",
      [...many(8, "b", 1), file("a", 0.01)],
      64,
      merge(["a", ...names(8, "b")], "small-files"),
    ],
    ["a run reads only so much", many(8, "a", 1), 4, merge(names(4, "a"), "small-files")],
    ["a few at a time aren't worth it", many(8, "a", 1), 3, null],
    ["but where there would be more and more", many(32, "a", 10), 24, merge(["a0", "a1"], "small-files")],
    [
      "a merged file is about as large as wanted",
      many(12, "a", 10),
      640,
      merge(["a0", "a1", "a10", "a11", "a2", "a3"], "small-files"),
    ],
    ["no run for what two files can't have", many(8, "a", 10), 12, null],
    ["few deleted rows stay", [file("a", 20, 0.19)], 64, null],
    ["many deleted rows go", [file("a", 20, 0.2), file("b", 20)], 64, merge(["a"], "deleted-rows")],
    [
      "most deleted rows first",
      [file("a", 40, 0.4), file("b", 40, 0.9), file("c", 40, 0.5)],
      100,
      merge(["b", "c"], "deleted-rows"),
    ],
    [
      "a file that is too large for a run is written anew in parts",
      [file("a", 40, 0.5)],
      10,
      { kind: "part", file: "a", rows: 250_000, reason: "deleted-rows" },
    ],
    [
      "small ones come before deleted rows",
      [...many(8, "a", 0.01), file("b", 20, 0.9)],
      64,
      merge(names(8, "a"), "small-files"),
    ],
    ["larger ones after them", [...many(8, "a", 4), file("b", 20, 0.2)], 64, merge(["b"], "deleted-rows")],
    [
      "but for many of them",
      [...many(32, "a", 1), file("b", 20, 0.2)],
      8,
      merge(["a0", "a1", "a10", "a11", "a12", "a13", "a14", "a15"], "small-files"),
    ],
    ["a file whose rows nobody has counted stays", [{ path: "a", bytes: mebibyte, records: 0, deleted: 0 }], 64, null],
  ])("%s", (_, files, mb, step) => {
    expect(planCompaction(files, options, mb * mebibyte)).toEqual(step);
  });
});

it("a table with a batch after another keeps few files, and each row is written anew a few times only", () => {
  let files: FileState[] = [];
  let written = 0;
  let most = 0;
  const batches = 3_000;
  for (let batch = 0; batch < batches; batch++) {
    files.push({ path: `f${batch}`, bytes: 100_000, records: 1_000, deleted: 0 });
    for (let run = 0; ; run++) {
      const step = planCompaction(files, options, 64 * mebibyte);
      if (step === null) break;
      if (step.kind !== "merge" || run > 20) throw new Error(`it never rests: ${JSON.stringify(step)}`);
      const group = files.filter(({ path }) => step.files.includes(path));
      const sum = (of: (file: FileState) => number) => group.reduce((total, each) => total + of(each), 0);
      const merged = { bytes: sum(({ bytes }) => bytes), records: sum(({ records }) => records), deleted: 0 };
      written += merged.bytes;
      files = [...files.filter(({ path }) => !step.files.includes(path)), { path: `m${batch}-${run}`, ...merged }];
    }
    most = Math.max(most, files.length);
  }
  expect(most).toBeLessThan(60);
  expect(written / (batches * 100_000)).toBeLessThan(5);
  expect(files.reduce((total, { records }) => total + records, 0)).toBe(batches * 1_000);
});

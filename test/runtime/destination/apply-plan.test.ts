// Contract: what is staged folds into the same plan, however records fall into batches; a table with an unfinished
// snapshot stays at the record before its begin (invariants 3 and 4).
import { describe, expect, it } from "vitest";
import { type ApplyPlan, afterApply, foldRecord, startPlan } from "../../../runtime/destination/apply-plan";
import { portions } from "../../../runtime/destination/table-apply";
import { folderName } from "../../../runtime/destination/table-path";
import type { StagedEvent, StagedFile } from "../../../runtime/staging/staged-commit";

const table = { tableId: "1", schemaId: 1 };
const file = (path: string): StagedFile => ({ path, rows: 2, bytes: 10 });
const begin = (snapshotId: string): StagedEvent => ({ kind: "snapshot-begin", ...table, snapshotId, rowsEstimate: 0 });
const rows = (snapshotId: string, path: string): StagedEvent => ({
  kind: "snapshot-rows",
  ...table,
  snapshotId,
  files: [file(path)],
});
const end = (snapshotId: string): StagedEvent => ({ kind: "snapshot-end", ...table, snapshotId, rows: 2 });
const changes = (path: string, schemaId = 1): StagedEvent => ({
  kind: "changes",
  tableId: "1",
  schemaId,
  files: [file(path)],
  inserts: 1,
  updates: 0,
  deletes: 1,
});
const truncate: StagedEvent = { kind: "truncate", ...table };

const record = (sequence: number) => ({ sequence, startLsn: "0/10", stagedAt: "2026-01-01T00:00:00.000Z" });

function fold(...records: StagedEvent[][]): ReturnType<typeof startPlan> {
  return records.reduce((state, events, index) => foldRecord(state, record(index + 1), events), startPlan(0));
}

/** `r:a c:b,c t` */
function brief({ steps }: ApplyPlan): string {
  return steps
    .map((step) =>
      "files" in step ? `${step.kind[0]}:${step.files.map((each) => each.path).join(",")}` : step.kind[0],
    )
    .join(" ");
}

describe("the plan", () => {
  it("is a snapshot, then the changes since its begin", () => {
    const state = fold([begin("x"), changes("c1")], [rows("x", "s1")], [end("x"), changes("c2")]);
    expect(brief(state.ready)).toBe("r:s1 c:c1,c2");
    expect(state.ready).toMatchObject({ sequence: 3, upserted: 4, deleted: 2 });
  });

  it("stays before the begin of an unfinished snapshot", () => {
    const state = fold([changes("c0")], [begin("x"), rows("x", "s1")], [changes("c1")]);
    expect(brief(state.ready)).toBe("c:c0");
    expect(state).toMatchObject({ ready: { sequence: 1 }, scannedSequence: 3 });
    expect(afterApply(state)).toMatchObject({ baseSequence: 1, scannedSequence: 3 });
  });

  it("forgets a void snapshot with its changes, and rows and ends of others", () => {
    const state = fold([begin("x"), changes("c1")], [begin("y"), rows("x", "s1"), end("x"), rows("y", "s2"), end("y")]);
    expect(brief(state.ready)).toBe("r:s2");
  });

  it("leaves out what a snapshot or TRUNCATE makes needless, but counts it", () => {
    const state = fold([changes("c1"), truncate, changes("c2")]);
    expect(brief(state.ready)).toBe("t c:c2");
    expect(state.ready.upserted).toBe(2);
    expect(brief(fold([changes("c1")], [begin("x"), rows("x", "s"), end("x"), truncate]).ready)).toBe("r: t");
    const open = [
      [begin("x"), changes("c1")],
      [truncate, changes("c2")],
      [rows("x", "s"), end("x")],
    ];
    expect(brief(fold(...open).ready)).toBe("r: t c:c2");
    expect(fold(...open).ready.upserted).toBe(4);
    const kept = open.reduce(
      (state, events, at) => foldRecord(state, record(at + 1), events),
      startPlan(0, false, true),
    );
    expect(brief(kept.ready)).toBe("r:s c:c1 t c:c2");
  });

  it("keeps changes of two schemas apart", () => {
    const state = fold([changes("c1"), { kind: "schema", tableId: "1", schemaId: 2 }, changes("c2", 2)]);
    expect(brief(state.ready)).toBe("c:c1 s c:c2");
  });

  it("has no steps for records without the table's events, and moves on", () => {
    expect(fold([], [])).toMatchObject({ baseSequence: 2, ready: { steps: [], sequence: 2 } });
  });

  it("gives up an unfinished snapshot of a table that leaves", () => {
    const state = fold([changes("c0"), begin("x")], [{ kind: "removed", ...table }]);
    expect(state).toMatchObject({ removed: true, open: null, ready: { sequence: 2 } });
    expect(foldRecord(state, record(3), [begin("y")]).removed).toBe(false);
  });
});

describe("portions", () => {
  it("are files in order, as many as fit, one at least", () => {
    const names = (bytesMax: number) =>
      portions(["a", "b", "c"].map(file), bytesMax).map((files) => files.map(({ path }) => path).join(""));
    expect(names(25)).toEqual(["ab", "c"]);
    expect(names(1)).toEqual(["a", "b", "c"]);
    expect(names(30)).toEqual(["abc"]);
    expect(portions([], 10)).toEqual([]);
  });
});

describe("folderName", () => {
  it.each([
    ["orders", "orders"],
    ["Größe_2.x", "Größe_2.x"],
    ["..", "~2E~2E"],
    ["a/b*[c]", "a~2Fb~2A~5Bc~5D"],
    ["_delta_log", "~5Fdelta_log"],
    [".hidden", "~2Ehidden"],
    ["100%", "100~25"],
  ])("%s becomes %s", (identifier, folder) => expect(folderName(identifier)).toBe(folder));
});

// Contract: the statements that a warehouse gets for a batch make of a table what its staged events do, one after another
// (invariants 3, 4): which rows there are, and which values of new columns those have that were there before.
import { describe, expect, it } from "vitest";
import { type ApplyPlan, foldRecord, startPlan } from "../../../../runtime/destination/apply-plan";
import { stagesOf } from "../../../../runtime/destination/databricks/batch-stages";
import type { StagedEvent, StagedFile } from "../../../../runtime/staging/staged-commit";
import fc, { propertyRuns } from "../../../support/property";

const kinds = ["begin", "rows", "end", "truncate", "schema", "fill", "changes", "record"] as const;
type Kind = (typeof kinds)[number];

/** Files for rows: of each the fills that its rows have got since. */
type Content = Map<string, string[]>;

/** A table told event by event, and its events as they are staged. */
class Source {
  readonly records: StagedEvent[][] = [[]];
  content: Content = new Map([["before", []]]);
  /** all that happens, where history is kept */
  history: string[] = [];
  private open: { snapshotId: string; schemaId: number; rows: string[]; later: (() => void)[] } | null = null;
  private schemaId = 1;
  private files = 0;

  do(kind: Kind): void {
    const { open, schemaId } = this;
    const place = { tableId: "1", schemaId };
    const apply = (act: () => void) => (open === null ? act() : open.later.push(act));
    switch (kind) {
      case "begin":
        this.open = { snapshotId: `s${++this.files}`, schemaId, rows: [], later: [] };
        this.stage({ kind: "snapshot-begin", ...place, snapshotId: this.open.snapshotId, rowsEstimate: 0 });
        return;
      case "rows": {
        if (open === null) return;
        const file = this.file("r");
        open.rows.push(file.path);
        const { snapshotId } = open;
        this.stage({ kind: "snapshot-rows", ...place, schemaId: open.schemaId, snapshotId, files: [file] });
        return;
      }
      case "end": {
        if (open === null) return;
        const { snapshotId } = open;
        this.stage({ kind: "snapshot-end", ...place, schemaId: open.schemaId, snapshotId, rows: open.rows.length });
        this.open = null;
        this.content = new Map(open.rows.map((path) => [path, []]));
        this.history.push(`replace ${open.rows.join()}`);
        for (const act of open.later) act();
        return;
      }
      case "truncate":
        this.stage({ kind: "truncate", ...place });
        apply(() => {
          this.content.clear();
          this.history.push("truncate");
        });
        return;
      case "schema":
      case "fill": {
        const fill = kind === "fill" ? this.file("f") : undefined;
        this.stage({ kind: "schema", tableId: "1", schemaId: ++this.schemaId, fill });
        apply(() => {
          if (fill === undefined) return;
          for (const fills of this.content.values()) fills.push(fill.path);
          this.history.push(`fill ${fill.path}`);
        });
        return;
      }
      case "changes": {
        const file = this.file("c");
        this.stage({ kind: "changes", ...place, files: [file], inserts: 1, updates: 0, deletes: 0 });
        apply(() => {
          this.content.set(file.path, []);
          this.history.push(file.path);
        });
        return;
      }
      case "record":
        this.records.push([]);
    }
  }

  private stage(event: StagedEvent): void {
    this.records.at(-1)?.push(event);
  }

  private file(letter: string): StagedFile {
    return { path: `${letter}${++this.files}`, rows: 1, bytes: 1 };
  }
}

function planOf(records: StagedEvent[][], keepsHistory: boolean): ApplyPlan {
  const head = { startLsn: "0/10", stagedAt: "2026-01-01T00:00:00.000Z" };
  const start = startPlan(0, false, keepsHistory);
  return records.reduce((state, events, at) => foldRecord(state, { sequence: at + 1, ...head }, events), start).ready;
}

const story = fc.array(fc.constantFrom(...kinds), { maxLength: 24, size: "max" });
/** The key is another one with some schemas, and may be one of before again. */
const keyOf = (every: number) => (schemaId: number) => String(Math.floor(schemaId / every) % 2);

describe("the stages of a batch", () => {
  it("leave the rows that the events leave, with their fills", () => {
    fc.assert(
      fc.property(story, fc.integer({ min: 1, max: 4 }), (steps, every) => {
        const source = new Source();
        for (const step of [...steps, "end" as const]) source.do(step);
        const content: Content = new Map([["before", []]]);
        let schemaId = 0;
        for (const stage of stagesOf(planOf(source.records, false), false, keyOf(every))) {
          const { start, changes, fills } = stage;
          expect(stage.schemaId).toBeGreaterThanOrEqual(schemaId);
          schemaId = stage.schemaId;
          if (start !== null) content.clear();
          const files = start?.kind === "replace" ? start.files : [];
          for (const { path } of files) content.set(path, []);
          for (const row of content.values()) row.push(...fills.map(({ file }) => file.path));
          for (const { files: changed, fills: from } of changes) {
            for (const { path } of changed)
              content.set(
                path,
                fills.slice(from).map(({ file }) => file.path),
              );
          }
        }
        expect([...content].sort()).toEqual([...source.content].sort());
      }),
      propertyRuns(1_000),
    );
  });

  it("tell all that happened in its order, where history is kept", () => {
    fc.assert(
      fc.property(story, fc.integer({ min: 1, max: 4 }), (steps, every) => {
        const source = new Source();
        for (const step of [...steps, "end" as const]) source.do(step);
        const told = stagesOf(planOf(source.records, true), true, keyOf(every)).flatMap(({ start, changes, fills }) => {
          const acts =
            start === null ? [] : [start.kind === "truncate" ? "truncate" : `replace ${namesOf(start.files)}`];
          for (let at = 0; at <= fills.length; at++) {
            acts.push(
              ...changes.filter((each) => each.fills === at).flatMap(({ files }) => files.map(({ path }) => path)),
            );
            if (at < fills.length) acts.push(`fill ${fills[at].file.path}`);
          }
          return acts;
        });
        expect(told).toEqual(source.history);
      }),
      propertyRuns(1_000),
    );
  });
});

const namesOf = (files: StagedFile[]) => files.map(({ path }) => path).join();

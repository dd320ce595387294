// Contract: a table's own history tells its position, whatever others did to it (invariant 3); a change of columns that was cut
// off anywhere is known for what it came to, and goes on to the same columns.
import { describe, expect, it } from "vitest";
import {
  formatPosition,
  furthest,
  type HistoryEntry,
  newestPosition,
  parsePositions,
  type WarehousePosition,
  wholeSequence,
} from "../../../../runtime/destination/databricks/position";
import {
  afterChange,
  schemaStep,
  settled,
  type WarehouseColumns,
} from "../../../../runtime/destination/databricks/table-statements";
import { warehouseTarget } from "../../../../runtime/destination/databricks/warehouse-target";
import { targetTable } from "../../../../runtime/destination/target-table";
import { defaultTableOptions } from "../../../../runtime/table-options";
import fc from "../../../support/property";
import { tableSchema } from "../../applier/staged-log";

const at = (sequence: number, done = 1, of = 1): WarehousePosition => ({
  logId: "b1c2-3",
  tableId: "77",
  base: sequence - 1,
  sequence,
  done,
  of,
});
const merge = (version: number, position: WarehousePosition): HistoryEntry => ({
  version,
  operation: "MERGE",
  parameters: `{"predicate":"[\\"((_token#477 = ${formatPosition(position)}) AND (id#478 <=> c1#475))\\"]"}`,
});
const other = (version: number, operation: string, parameters = "{}"): HistoryEntry => ({
  version,
  operation,
  parameters,
});

describe("a position", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 9 }), (sequence, done, of) => {
        const position = { ...at(sequence + 1), done: done % (of + 1), of };
        expect(parsePositions(`x ${formatPosition(position)}) y`)).toEqual([position]);
      }),
    );
  });

  it("is the newest of this log's and table's", () => {
    const foreign = { ...at(9), logId: "other-log" };
    const history = [merge(7, foreign), other(6, "OPTIMIZE"), merge(5, at(4)), merge(4, at(3))];
    expect(newestPosition(history, at(1))).toEqual(at(4));
    expect(newestPosition([other(6, "OPTIMIZE")], at(1))).toBeNull();
  });

  it("is that of a version that was restored", () => {
    const history = [other(8, "RESTORE", '{"version":"4","timestamp":null}'), merge(7, at(6)), merge(4, at(3))];
    expect(newestPosition(history, at(1))).toEqual(at(3));
  });

  it("of a batch that was begun is that before it", () => {
    expect(wholeSequence(at(5, 1, 3))).toBe(4);
    expect(furthest(at(5, 1, 3), at(4))).toEqual(at(5, 1, 3));
    expect(furthest(at(4), at(5, 1, 3))).toEqual(at(5, 1, 3));
    expect(furthest(null, at(4))).toEqual(at(4));
  });
});

const names = fc.uniqueArray(fc.constantFrom("a", "b", "c", "d", "e"), { minLength: 1, maxLength: 4 });
/** Columns by attribute number; some are in both, under the same name or another. */
const columnsOf = (given: string[], offset: number) =>
  Object.fromEntries(given.map((name, index) => [String(index + 1 + offset), name]));

function targetOf(columns: Record<string, string>) {
  const schema = tableSchema("77", "orders", { id: "long*" });
  const wanted = Object.entries(columns).map(([number, name]) => ({
    ...schema.columns[0],
    attributeNumber: Number(number),
    name,
    physicalName: `c${number}`,
    keyOrdinal: null,
  }));
  return warehouseTarget(targetTable({ ...schema, columns: wanted }, defaultTableOptions), "t");
}

describe("columns", () => {
  it("come to be those of the target, wherever their change is cut off", () => {
    fc.assert(
      fc.property(names, names, fc.nat(2), fc.infiniteStream(fc.nat(3)), (before, after, offset, cuts) => {
        const wanted = columnsOf(after, offset);
        let known: WarehouseColumns["known"] = { names: columnsOf(before, 0), pending: null };
        let there = new Set<string>(before);
        const types = () => new Map([...there].map((name) => [name, "long"]));
        for (let attempt = 0; attempt < 200; attempt++) {
          const step = schemaStep({ known, types: types() }, targetOf(wanted), new Set());
          if (step.kind === "rewrite") return;
          if (step.kind === "same") break;
          let told = settled({ known, types: types() });
          for (const change of step.changes) {
            // Each of these may be the last thing that a process does.
            const cut = cuts.next().value as number;
            known = { names: told, pending: change };
            if (cut === 0) break;
            if (change.kind === "add") expect(there.has(change.name)).toBe(false);
            else expect(there.has(change.name)).toBe(true);
            there = new Set([...there].filter((name) => change.kind === "add" || name !== change.name));
            if (change.kind === "add") there.add(change.name);
            if (change.kind === "rename") there.add(change.to);
            if (cut === 1) break;
            told = afterChange(told, change);
          }
        }
        expect(settled({ known, types: types() })).toEqual(wanted);
        expect([...there].sort()).toEqual([...after].sort());
      }),
    );
  });
});

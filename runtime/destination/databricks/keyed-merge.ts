import type { ColumnSchema } from "../../change/table-schema";
import { insertValues, type MergeParts, updateSet } from "./merge-statement";
import {
  type ChangesTraits,
  currentRows,
  isDelete,
  latest,
  oldName,
  resolved,
  resolvedValue,
  rowHistory,
  unsentColumns,
  upserts,
  withWord,
} from "./row-history";
import { sqlName } from "./sql-text";
import { own, sameKey, staged, type WarehouseTarget } from "./warehouse-target";

/** The value of each of the table's columns for a row `s`; `old`: what stands where only the table knows it. */
export function rowValues(
  target: WarehouseTarget,
  resolvedColumns: readonly ColumnSchema[],
  old: (column: ColumnSchema) => string,
  meta: Record<string, string>,
): [string, string][] {
  const isResolved = new Set(resolvedColumns.map(({ attributeNumber }) => attributeNumber));
  return [
    ...target.columns.map((column): [string, string] => {
      const value = isResolved.has(column.attributeNumber)
        ? resolvedValue(column, "s", old(column))
        : `s.${staged(column)}`;
      return [sqlName(column.name), value];
    }),
    ...target.meta.map(({ name }): [string, string] => [sqlName(name), meta[name] ?? `s.${name}`]),
  ];
}

/** scd1: the last change of each key counts. */
export function keyedMerge(target: WarehouseTarget, changes: string, traits: ChangesTraits): MergeParts {
  const { table } = target;
  const on = sameKey(target, "t", "s");
  if (!traits.hasUnchanged) {
    const values = rowValues(target, [], own.bind(null, "t"), {});
    const rows = `WITH changes AS (${changes}),\n${latest(target, "changes")}\nSELECT * FROM latest`;
    return { table, rows, on, clauses: keyedClauses(values, values) };
  }
  const wanted = unsentColumns(target);
  const history = rowHistory(target, wanted, traits);
  const before = [`changes AS (${changes})`, ...history, latest(target, "valued")];
  // A row that keeps its key is the one that is matched: its old values are at hand.
  const last = traits.hasMoves
    ? resolved(target, wanted, "latest", { rows: upserts, current: currentRows(target) })
    : "resolved AS (SELECT * FROM latest)";
  const values = (old: (column: ColumnSchema) => string) => rowValues(target, wanted, old, {});
  const fromTable = traits.hasMoves ? (column: ColumnSchema) => `s.${oldName(column)}` : own.bind(null, "t");
  const inserted = traits.hasMoves ? values(fromTable) : values(() => "NULL");
  const rows = `${withWord(traits)} ${[...before, last].join(",\n")}\nSELECT * FROM resolved`;
  return { table, rows, on, clauses: keyedClauses(values(fromTable), inserted) };
}

function keyedClauses(updated: [string, string][], inserted: [string, string][]): string[] {
  return [
    `WHEN MATCHED AND ${isDelete("s.")} THEN DELETE`,
    `WHEN MATCHED THEN ${updateSet(updated)}`,
    `WHEN NOT MATCHED AND s.${upserts} THEN ${insertValues(inserted)}`,
  ];
}

/** softDelete: as scd1, but a deleted row stays as it was, with the time of its delete; so does one under a former key. */
export function softDeleteMerge(
  target: WarehouseTarget,
  changes: string,
  traits: ChangesTraits,
  /** deletes have whole rows */
  isWhole: boolean,
): MergeParts {
  const { table } = target;
  const on = sameKey(target, "t", "s");
  const meta = { _deleted_at: `IF(${isDelete("s.")}, s._commit_time, NULL)` };
  if (isWhole && !traits.hasUnchanged) {
    const values = rowValues(target, [], own.bind(null, "t"), meta);
    const rows = `WITH changes AS (${changes}),\n${latest(target, "changes")}\nSELECT * FROM latest`;
    return {
      table,
      rows,
      on,
      clauses: [`WHEN MATCHED THEN ${updateSet(values)}`, `WHEN NOT MATCHED THEN ${insertValues(values)}`],
    };
  }
  const wanted = target.columns.filter(({ keyOrdinal }) => keyOrdinal === null);
  const followed = { ...traits, hasUnchanged: true };
  const before = [`changes AS (${changes})`, ...rowHistory(target, wanted, followed), latest(target, "valued")];
  const last = traits.hasMoves
    ? resolved(target, wanted, "latest", { rows: "true", current: currentRows(target) })
    : "resolved AS (SELECT *, _known AS _found FROM latest)";
  const old = (column: ColumnSchema) => (traits.hasMoves ? `s.${oldName(column)}` : own("t", column));
  const values = (from: (column: ColumnSchema) => string) => rowValues(target, wanted, from, meta);
  const inserted = values((column) => (traits.hasMoves ? `s.${oldName(column)}` : "NULL"));
  return {
    table,
    rows: `${withWord(followed)} ${[...before, last].join(",\n")}\nSELECT * FROM resolved`,
    on,
    clauses: [
      `WHEN MATCHED THEN ${updateSet(values(old))}`,
      `WHEN NOT MATCHED AND (s._found OR NOT ${isDelete("s.")}) THEN ${insertValues(inserted)}`,
    ],
  };
}

import { changeOp } from "../../staging/staged-commit";
import { rowValues } from "./keyed-merge";
import { insertValues, type MergeParts } from "./merge-statement";
import {
  type ChangesTraits,
  currentRows,
  isDelete,
  oldName,
  resolved,
  rowHistory,
  unsentColumns,
  upserts,
  withWord,
} from "./row-history";
import { keyList, own, sameKey, staged, type WarehouseTarget } from "./warehouse-target";

/** Relations up to `told`: every change with all values, of columns that weren't sent those of the row before. */
function everyChange(target: WarehouseTarget, changes: string, traits: ChangesTraits): string[] {
  if (!traits.hasUnchanged || target.key.length === 0) return [`told AS (${changes})`];
  const wanted = unsentColumns(target);
  const kept = target.columns.filter((column) => !wanted.includes(column)).map(staged);
  const values = wanted.map((column) => {
    const value = `IF(_value${column.attributeNumber} IS NULL, ${oldName(column)}, _value${column.attributeNumber}.v)`;
    return `IF(${isDelete()}, ${staged(column)}, ${value}) AS ${staged(column)}`;
  });
  const names = ["_op", "_commit_lsn", "_ordinal", "_commit_time", ...kept, ...values];
  return [
    `changes AS (${changes})`,
    ...rowHistory(target, wanted, traits),
    resolved(target, wanted, "valued", { rows: upserts, current: currentRows(target) }),
    `told AS (SELECT ${names.join(", ")} FROM resolved)`,
  ];
}

/** append: every change becomes a row. */
export function appendMerge(target: WarehouseTarget, changes: string, traits: ChangesTraits): MergeParts {
  const { insert, update, beforeImage } = changeOp;
  const op = `CASE s._op WHEN ${insert} THEN 'insert' WHEN ${update} THEN 'update' WHEN ${beforeImage} THEN 'update_preimage' ELSE 'delete' END`;
  const rows = `${withWord(traits)} ${everyChange(target, changes, traits).join(",\n")}\nSELECT * FROM told`;
  return { table: target.table, rows, ...onlyInsert(rowValues(target, [], own.bind(null, "t"), { _op: op })) };
}

/** No row of the table has it, and its files' bounds say so. */
export function onlyInsert(values: readonly [string, string][]): Pick<MergeParts, "on" | "clauses"> {
  return { on: "t._commit_lsn < -1", clauses: [`WHEN NOT MATCHED THEN ${insertValues(values)}`] };
}

/**
 * scd2: every change of a row makes a version of it, valid until the next change of its key (`scd2-changes.ts`).
 * `hasOrdinals`: false for the rows of a snapshot.
 */
export function versionsMerge(
  target: WarehouseTarget,
  changes: string,
  traits: ChangesTraits,
  hasOrdinals: boolean,
): MergeParts {
  const keys = keyList(target);
  const relations = [
    ...everyChange(target, changes, traits),
    `closed AS (SELECT ${target.key.map((column) => `${own("o", column)} AS ${staged(column)}`).join(", ")}, max(o.valid_from) AS _since
  FROM ${target.table} o WHERE o.is_current GROUP BY ${target.key.map((column) => own("o", column)).join(", ")})`,
    // A life is what happens to a key up to its delete; the first may go on from a version in the table.
    `lives AS (SELECT *, coalesce(count_if(${isDelete()}) OVER
  (PARTITION BY ${keys} ORDER BY _commit_lsn, _ordinal ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS _life FROM told)`,
    `timed AS (SELECT e.*, greatest(c._since, max(e._commit_time) OVER (PARTITION BY ${keyList(target, "e.")}, e._life
  ORDER BY e._commit_lsn, e._ordinal)) AS _begins FROM lives e LEFT JOIN closed c ON e._life = 0 AND ${target.key
    .map((column) => `e.${staged(column)} <=> c.${staged(column)}`)
    .join(" AND ")})`,
    `spans AS (SELECT *, lead(_begins) OVER later AS _ends, row_number() OVER later AS _number
  FROM timed WINDOW later AS (PARTITION BY ${keys} ORDER BY _commit_lsn, _ordinal))`,
  ];
  const values = rowValues(target, [], own.bind(null, "t"), {
    valid_from: "s._begins",
    valid_to: "s._ends",
    is_current: "s._ends IS NULL",
    _ordinal: hasOrdinals ? "s._ordinal" : "NULL",
  });
  return {
    table: target.table,
    rows: `${withWord(traits)} ${relations.join(",\n")}
SELECT *, true AS _closes FROM spans WHERE _number = 1
UNION ALL SELECT *, false FROM spans WHERE ${upserts}`,
    on: `s._closes AND t.is_current AND ${sameKey(target, "t", "s")}`,
    clauses: [
      "WHEN MATCHED THEN UPDATE SET valid_to = s._begins, is_current = false",
      `WHEN NOT MATCHED AND NOT s._closes THEN ${insertValues(values)}`,
    ],
  };
}

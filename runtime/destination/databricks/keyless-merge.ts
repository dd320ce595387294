import type { ColumnSchema } from "../../change/table-schema";
import { insertValues, type MergeParts } from "./merge-statement";
import { upserts } from "./row-history";
import { sqlName } from "./sql-text";
import { identity, own, sameValue, staged, type WarehouseTarget } from "./warehouse-target";

/** Relation `balances` over `changes`: of each value how many rows more or less there are, and who changed it last. */
export function balances({ columns, meta }: WarehouseTarget): string {
  const values = columns.map((column) => `first(${staged(column)}) AS ${staged(column)}`);
  const lasts = meta.map(({ name }) => `max(${name}) AS ${name}`);
  const groups = columns.flatMap((column) => identity(column, staged(column)));
  return `balances AS (SELECT ${[...values, ...lasts].join(", ")}, sum(IF(${upserts}, 1, -1)) AS _balance
  FROM changes GROUP BY ${groups.join(", ")})`;
}

/** A query of rows that come, each as often as its balance says. */
export function comingRows({ columns, meta }: WarehouseTarget, extra = ""): string {
  const names = [...columns.map(staged), ...meta.map(({ name }) => name)].join(", ");
  return `SELECT ${names}${extra} FROM balances LATERAL VIEW explode(sequence(1, CAST(_balance AS INT))) AS _time WHERE _balance > 0`;
}

/**
 * A table without a key is a multiset: only the balance of each value counts. MERGE deletes all equal rows of a value or
 * none, so those that stay are written again, as they are.
 */
export function keylessMerge(target: WarehouseTarget, changes: string): MergeParts {
  const { columns, meta, table } = target;
  const names = [...columns.map(staged), ...meta.map(({ name }) => name)];
  const equal = (one: (column: ColumnSchema) => string, other: (column: ColumnSchema) => string) =>
    columns.map((column) => sameValue(column, one(column), other(column))).join(" AND ");
  const mine = (column: ColumnSchema) => own("o", column);
  const read = [
    ...columns.map((column) => `${mine(column)} AS ${staged(column)}`),
    ...meta.map((column) => `${mine(column)} AS ${column.name}`),
  ];
  const groups = columns.flatMap((column) => identity(column, mine(column)));
  const rows = `WITH changes AS (${changes}),
${balances(target)},
found AS (SELECT ${read.join(", ")}, d._balance, row_number() OVER (PARTITION BY ${groups.join(", ")} ORDER BY 1) AS _number
  FROM ${table} o JOIN (SELECT * FROM balances WHERE _balance < 0) d ON ${equal(mine, (column) => `d.${staged(column)}`)})
SELECT ${names.join(", ")}, true AS _goes FROM balances WHERE _balance < 0
UNION ALL SELECT ${names.join(", ")}, false FROM found WHERE _number > -_balance
UNION ALL ${comingRows(target, ", false")}`;
  const values: [string, string][] = [
    ...columns.map((column): [string, string] => [sqlName(column.name), `s.${staged(column)}`]),
    ...meta.map(({ name }): [string, string] => [sqlName(name), `s.${name}`]),
  ];
  return {
    table,
    rows,
    on: `s._goes AND ${equal(
      (column) => own("t", column),
      (column) => `s.${staged(column)}`,
    )}`,
    clauses: ["WHEN MATCHED THEN DELETE", `WHEN NOT MATCHED AND NOT s._goes THEN ${insertValues(values)}`],
  };
}

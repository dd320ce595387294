import type { ColumnSchema } from "../change/table-schema";
import { duckDbType } from "./delta/table-metadata";
import { isFloating, name } from "./parquet-file";

/** SQL expressions by which two values are one value: zero and minus zero are equal to SQL, yet two values. */
export function identityOf(column: ColumnSchema, expression: string): string[] {
  return [expression, ...signOf(column, expression)];
}

/** The sign of a NaN is none. */
export function signOf(column: ColumnSchema, expression: string): string[] {
  if (!isFloating(column)) return [];
  return [`CASE WHEN isnan(${expression}) THEN false ELSE signbit(${expression}) END`];
}

/** A condition that two rows, by their aliases, have the same values in all of these columns. */
export function sameValues(columns: ColumnSchema[], one: string, other: string): string {
  const of = (alias: string) => columns.flatMap((column) => identityOf(column, `${alias}.${name(column)}`));
  const theirs = of(other);
  return of(one)
    .map((value, at) => `${value} IS NOT DISTINCT FROM ${theirs[at]}`)
    .join(" AND ");
}

/** A query's rows less those of another, one for one. */
export function multisetDifference(columns: ColumnSchema[], rows: string, without: string): string {
  const signs = columns.filter(isFloating).map((column) => signOf(column, name(column))[0]);
  const names = columns.map(name);
  const side = (source: string) =>
    `SELECT ${[...names, ...signs.map((sign, at) => `${sign} AS _sign${at}`)].join(", ")} FROM ${source}`;
  // What DuckDB groups by loses the sign of zero.
  let at = 0;
  const values = columns.map((column) => {
    if (!isFloating(column)) return name(column);
    const value = `CASE WHEN _sign${at++} AND ${name(column)} = 0 THEN '-0'::${duckDbType(column.deltaType)} ELSE ${name(column)} END`;
    return `${value} AS ${name(column)}`;
  });
  return `SELECT ${values.join(", ")} FROM (${side(rows)} EXCEPT ALL ${side(without)})`;
}

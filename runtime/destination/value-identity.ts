import { type ColumnSchema, elementTypeOf } from "../change/table-schema";
import { duckDbType } from "./delta/table-metadata";
import { isFloating, name } from "./parquet-file";

/** SQL expressions by which two values are one value: zero and minus zero are equal to SQL, yet two values. */
export function identityOf(column: ColumnSchema, expression: string): string[] {
  return [expression, ...signOf(column, expression)];
}

/** Of an array the signs of its elements. The sign of a NaN is none. */
export function signOf(column: ColumnSchema, expression: string): string[] {
  if (!isFloating(column)) return [];
  const sign = (value: string) => `CASE WHEN isnan(${value}) THEN false ELSE signbit(${value}) END`;
  return [elementTypeOf(column.deltaType) === null ? sign(expression) : `[${sign("x")} for x in ${expression}]`];
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
    const elementType = elementTypeOf(column.deltaType);
    const signed = (value: string, sign: string) =>
      `CASE WHEN ${sign} AND ${value} = 0 THEN '-0'::${duckDbType(elementType ?? column.deltaType)} ELSE ${value} END`;
    const sign = `_sign${at++}`;
    const value =
      elementType === null ? signed(name(column), sign) : `[${signed("x", `${sign}[i]`)} for x, i in ${name(column)}]`;
    return `${value} AS ${name(column)}`;
  });
  return `SELECT ${values.join(", ")} FROM (${side(rows)} EXCEPT ALL ${side(without)})`;
}

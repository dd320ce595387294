import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import type { CatalogTable, Unfilterable } from "./catalog";
import { type FilterKind, type FilterLiterals, renderLiteral } from "./filter-literal";

declare const tableOf: unique symbol;

/** A column of a table within its row filter. */
export interface FilterColumn<T extends CatalogTable, K extends FilterKind> {
  readonly column: string;
  readonly value: K;
  readonly [tableOf]?: T;
}

/** A column that a row filter can only ask for NULL: its type has no literals here. */
export interface OpaqueColumn<T extends CatalogTable> {
  readonly column: string;
  readonly value: "other";
  readonly [tableOf]?: T;
}

/** A column that no row filter may use. */
export interface ColumnWithoutFilter<Reason extends Unfilterable> {
  readonly unfilterable: Reason;
}

/** A condition on rows of one table: a row for which it is false or NULL isn't published. */
export interface Condition<T extends CatalogTable> {
  /** as PostgreSQL reads it */
  readonly sql: string;
  readonly [tableOf]?: T;
}

/** The columns of a table, as its filter names them. */
export type FilterRow<T extends CatalogTable> = {
  readonly [N in keyof T["columns"]]: T["columns"][N] extends { readonly unfilterable: infer R extends Unfilterable }
    ? ColumnWithoutFilter<R>
    : T["columns"][N]["value"] extends infer K extends FilterKind
      ? FilterColumn<T, K>
      : OpaqueColumn<T>;
};

type Number = "smallint" | "integer" | "bigint" | "numeric";
/** Kinds that PostgreSQL compares by an immutable operator, as a row filter must. */
type Comparable<K extends FilterKind> = K extends Number ? Number : K extends "real" | "double" ? "real" | "double" : K;

/** A value, or another column of the same table. */
export type Operand<T extends CatalogTable, K extends FilterKind> = FilterLiterals[K] | FilterColumn<T, Comparable<K>>;

const isColumn = (value: unknown): value is { column: string } =>
  typeof value === "object" && value !== null && "column" in value;

function render({ column, value: kind }: { column: string; value: FilterKind }, operand: unknown): string {
  return isColumn(operand) ? quoteIdentifier(operand.column) : renderLiteral(quoteIdentifier(column), kind, operand);
}

function comparison(operator: string) {
  return <T extends CatalogTable, K extends FilterKind>(
    column: FilterColumn<T, K>,
    value: Operand<T, K>,
  ): Condition<T> => ({ sql: `${quoteIdentifier(column.column)} ${operator} ${render(column, value)}` });
}

/** `=` */
export const eq = comparison("=");
/** `<>`: false for NULL too, as in SQL */
export const ne = comparison("<>");
/** `<` */
export const lt = comparison("<");
/** `<=` */
export const le = comparison("<=");
/** `>` */
export const gt = comparison(">");
/** `>=` */
export const ge = comparison(">=");

/** One of these values, at least one. It isn't rendered as `IN`, which a publication refuses for a varchar. */
export function oneOf<T extends CatalogTable, K extends FilterKind>(
  column: FilterColumn<T, K>,
  values: readonly FilterLiterals[K][],
): Condition<T> {
  if (values.length === 0) throw empty(`oneOf on column ${quoteIdentifier(column.column)} has no values`);
  return { sql: values.map((value) => `${quoteIdentifier(column.column)} = ${render(column, value)}`).join(" OR ") };
}

/** `BETWEEN`: both bounds included. */
export function between<T extends CatalogTable, K extends FilterKind>(
  column: FilterColumn<T, K>,
  low: Operand<T, K>,
  high: Operand<T, K>,
): Condition<T> {
  return {
    sql: `${quoteIdentifier(column.column)} BETWEEN ${render(column, low)} AND ${render(column, high)}`,
  };
}

/** `LIKE`, with `%`, `_` and the escape `\`. */
export function like<T extends CatalogTable>(column: FilterColumn<T, "text">, pattern: string): Condition<T> {
  if (/(?<!\\)(\\\\)*\\$/.test(pattern)) {
    throw new SluiceError(
      "config",
      `like on column ${quoteIdentifier(column.column)}: its pattern ends with an escape`,
      {
        remedy: "Write two backslashes for one.",
      },
    );
  }
  return { sql: `${quoteIdentifier(column.column)} LIKE ${render(column, pattern)}` };
}

export function isNull<T extends CatalogTable>(column: FilterColumn<T, FilterKind> | OpaqueColumn<T>): Condition<T> {
  return { sql: `${quoteIdentifier(column.column)} IS NULL` };
}

export function isNotNull<T extends CatalogTable>(column: FilterColumn<T, FilterKind> | OpaqueColumn<T>): Condition<T> {
  return { sql: `${quoteIdentifier(column.column)} IS NOT NULL` };
}

/** All of these, at least one. */
export function and<T extends CatalogTable>(...conditions: Condition<T>[]): Condition<T> {
  return joined("and", " AND ", conditions);
}

/** Any of these, at least one. */
export function or<T extends CatalogTable>(...conditions: Condition<T>[]): Condition<T> {
  return joined("or", " OR ", conditions);
}

export function not<T extends CatalogTable>(condition: Condition<T>): Condition<T> {
  return { sql: `NOT (${condition.sql})` };
}

function joined<T extends CatalogTable>(name: string, by: string, conditions: Condition<T>[]): Condition<T> {
  if (conditions.length === 0) throw empty(`${name}() has no conditions`);
  return { sql: conditions.map(({ sql }) => `(${sql})`).join(by) };
}

const empty = (message: string) =>
  new SluiceError("config", message, { remedy: "Give one, or leave the condition out." });

/** Pure: the columns of a table for its filter. */
export function filterRow<T extends CatalogTable>({ columns }: T): FilterRow<T> {
  const entries = Object.entries(columns).map(([column, { value }]) => [column, { column, value }]);
  return Object.fromEntries(entries) as FilterRow<T>;
}

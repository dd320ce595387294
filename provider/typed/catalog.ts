/**
 * What values a column has, as far as filters and options are concerned. A domain counts as the type under it; `other` is
 * whatever has no literals here: arrays, json, intervals, network types …
 */
export type ColumnValue =
  | "smallint"
  | "integer"
  | "bigint"
  | "numeric"
  | "real"
  | "double"
  | "text"
  | "boolean"
  | "date"
  | "timestamp"
  | "timestamptz"
  | "uuid"
  | "bytea"
  | "enum"
  | "other";

/** Why PostgreSQL takes no row filter on a column (its documentation, section 29.4.2), or why the stream lacks it. */
export type Unfilterable = "its type is user-defined" | "its collation is user-defined" | "it is generated";

/** A column as `sluice codegen` writes it. */
export interface CatalogColumn {
  /** as PostgreSQL writes the type: `numeric(10,2)` */
  readonly type: string;
  readonly value: ColumnValue;
  readonly nullable: boolean;
  /** of an enum, in its order */
  readonly labels?: readonly string[];
  /** no column list may name it: a virtual generated column, or a stored one before PostgreSQL 18 */
  readonly unpublishable?: true;
  readonly unfilterable?: Unfilterable;
}

/** A table as `sluice codegen` writes it. */
export interface CatalogTable {
  readonly schema: string;
  readonly name: string;
  readonly kind: "table" | "partitioned" | "partition";
  /** columns of the primary key, in its order; empty without one */
  readonly key: readonly string[];
  readonly columns: { readonly [name: string]: CatalogColumn };
}

/** The tables of a database, by schema and name: what `sluice codegen` writes. */
export interface Catalog {
  readonly [schema: string]: { readonly [table: string]: CatalogTable };
}

/** Names of a table's columns; those whose values are of these kinds. */
export type ColumnName<T extends CatalogTable, V extends ColumnValue = ColumnValue> = {
  [N in keyof T["columns"] & string]: T["columns"][N]["value"] extends V ? N : never;
}[keyof T["columns"] & string];

/** Names of the columns that a publication's column list may name. */
export type PublishableColumn<T extends CatalogTable> = {
  [N in keyof T["columns"] & string]: T["columns"][N] extends { readonly unpublishable: true } ? never : N;
}[keyof T["columns"] & string];

interface RowValues {
  smallint: number;
  integer: number;
  bigint: bigint;
  numeric: string;
  real: number;
  double: number;
  text: string;
  boolean: boolean;
  date: string;
  timestamp: string;
  timestamptz: string;
  uuid: string;
  bytea: Uint8Array;
  other: string;
}

type ValueOf<C extends CatalogColumn> = C extends { readonly labels: readonly (infer L)[] }
  ? L
  : C["value"] extends keyof RowValues
    ? RowValues[C["value"]]
    : string;

/** A row of a table: enums as unions of their labels, numbers that a double can't hold as bigint or text. */
export type Row<T extends CatalogTable> = {
  [N in keyof T["columns"]]: ValueOf<T["columns"][N]> | (T["columns"][N]["nullable"] extends true ? null : never);
};

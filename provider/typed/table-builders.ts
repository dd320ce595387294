import type { TableOptionsArgs } from "../ingestion-pipeline";
import type { CatalogTable, ColumnName, PublishableColumn } from "./catalog";
import { type Condition, type FilterRow, filterRow } from "./row-filter";

/** What of a table is published. */
export interface TablePart<T extends CatalogTable> {
  /** Only these columns; those of the replica identity must be among them. Default: all. */
  columns?: readonly PublishableColumn<T>[];
  /** Only rows for which this is true; where updates and deletes are published it names columns of the replica identity. */
  where?: (row: FilterRow<T>) => Condition<T>;
}

/** As `PublicationArgs.tables` takes them. */
export interface TypedTable {
  table: { schema: string; name: string };
  columns?: string[];
  where?: string;
}

/**
 * A table of a catalogue that `sluice codegen` wrote, for `tables` of a resource; with its columns and rows where not all
 * are wanted: `table(catalog.public.orders, { columns: ["id"], where: ({ id }) => gt(id, 10) })`.
 */
export function table(of: CatalogTable): { schema: string; name: string };
export function table<T extends CatalogTable>(of: T, part: TablePart<T>): TypedTable;
export function table<T extends CatalogTable>(
  of: T,
  part?: TablePart<T>,
): TypedTable | { schema: string; name: string } {
  const { schema, name } = of;
  if (part === undefined) return { schema, name };
  const { columns, where } = part;
  return {
    table: { schema, name },
    ...(columns === undefined ? {} : { columns: [...columns] }),
    ...(where === undefined ? {} : { where: where(filterRow(of)).sql }),
  };
}

/** Kinds of values that Delta partitions can have. */
type Partitioning = "text" | "enum" | "smallint" | "integer" | "bigint" | "numeric" | "date" | "boolean";

/** `TableOptionsArgs` with columns of the table. */
export interface TypedTableOptions<T extends CatalogTable>
  extends Omit<TableOptionsArgs, "table" | "include" | "exclude" | "hash" | "key" | "partitionBy" | "clusterBy"> {
  include?: readonly ColumnName<T>[];
  exclude?: readonly ColumnName<T>[];
  hash?: readonly ColumnName<T>[];
  key?: readonly ColumnName<T>[];
  partitionBy?: readonly ColumnName<T, Partitioning>[];
  clusterBy?: readonly ColumnName<T>[];
}

/** Options of a table of a catalogue, for `tableOptions` of a resource. */
export function tableOptions<T extends CatalogTable>(
  { schema, name }: T,
  options: TypedTableOptions<T>,
): TableOptionsArgs {
  return { ...(options as Omit<TableOptionsArgs, "table">), table: { schema, name } };
}

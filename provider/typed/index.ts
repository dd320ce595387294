export type { Catalog, CatalogColumn, CatalogTable, ColumnName, ColumnValue, Row } from "./catalog";
export type { FilterKind, FilterLiterals } from "./filter-literal";
export {
  and,
  between,
  type Condition,
  eq,
  type FilterRow,
  ge,
  gt,
  isNotNull,
  isNull,
  le,
  like,
  lt,
  ne,
  not,
  oneOf,
  or,
} from "./row-filter";
export { type TablePart, type TypedTable, type TypedTableOptions, table, tableOptions } from "./table-builders";

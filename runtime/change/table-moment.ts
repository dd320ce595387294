import type { AttributeDescription, TableDescription } from "../postgres/table-description";
import type { ColumnType } from "./catalog";
import type { TableSchema } from "./table-schema";

/** A table's columns at a certain moment. */
export interface TableMoment {
  schema: string;
  name: string;
  replicaIdentity: TableSchema["replicaIdentity"];
  columns: { type: ColumnType; attribute: AttributeDescription; keyOrdinal: number | null }[];
  table: TableDescription;
  /** the description is of this very moment, not of a later one */
  exact: boolean;
  /** of the transaction that is streamed */
  xid: number;
}

/** The columns that the publication sends. */
export function describedColumns(table: TableDescription): TableMoment["columns"] {
  return table.attributes
    .filter((attribute) => attribute.published)
    .map((attribute) => {
      const { primaryKeyOrdinal, identityOrdinal } = attribute;
      const keyOrdinal = table.replicaIdentity === "i" ? identityOrdinal : primaryKeyOrdinal;
      return { attribute, type: { ...attribute, baseType: attribute.baseType ?? undefined }, keyOrdinal };
    });
}

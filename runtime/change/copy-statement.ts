import { quoteIdentifier, quoteTable } from "../postgres/identifier";
import type { TableSchema } from "./table-schema";
import { typeOfColumn } from "./types";

/** What of a relation is copied. */
export interface CopySource {
  /** the table, or a leaf of it: columns are taken by name, whose numbers differ from leaf to leaf */
  relation: { schema: string; name: string };
  /** a boolean expression over the columns, as the publication has it; null for all rows */
  rowFilter: string | null;
  /** heap blocks, `end` null: to the end; null for all, read without a condition */
  blocks: { first: number; end: number | null } | null;
}

/**
 * The statement that copies the schema's columns, in binary where the type has a reader, else as text. A range of
 * blocks is read by a TID range scan (PostgreSQL 14 or newer): nothing outside of it is touched.
 */
export function copyStatement(schema: TableSchema, source: CopySource): string {
  const columns = schema.columns.map((column) => {
    const name = quoteIdentifier(column.name);
    // The type's output function, whatever casts there are: the same text as in the stream. A composite with a NULL field
    // is not "IS NOT NULL", but it is distinct from NULL.
    return typeOfColumn(column).readBinary === null
      ? `CASE WHEN ${name} IS DISTINCT FROM NULL THEN pg_catalog.format('%s', ${name}) END`
      : name;
  });
  const relation = quoteTable(source.relation);
  const conditions: string[] = [];
  if (source.blocks !== null) {
    conditions.push(`ctid >= '(${source.blocks.first},0)'::pg_catalog.tid`);
    if (source.blocks.end !== null) conditions.push(`ctid < '(${source.blocks.end},0)'::pg_catalog.tid`);
  }
  if (source.rowFilter !== null) conditions.push(`(${source.rowFilter})`);
  // A query, not the table: COPY of a table refuses generated columns.
  const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  return `COPY (SELECT ${columns.join(", ")} FROM ONLY ${relation}${where}) TO STDOUT (FORMAT binary)`;
}

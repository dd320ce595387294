/**
 * The one function that quotes an identifier for SQL (PostgreSQL documentation, section 4.1.1).
 * DuckDB takes the same form.
 */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** `"schema"."name"` */
export function quoteTable(table: { schema: string; name: string }): string {
  return `${quoteIdentifier(table.schema)}.${quoteIdentifier(table.name)}`;
}

/** A string literal, for the few statements (COPY, replication commands, DDL) that can't bind a value. */
export function quoteLiteral(value: string): string {
  const escaped = value.replaceAll("'", "''");
  return escaped.includes("\\") ? ` E'${escaped.replaceAll("\\", "\\\\")}'` : `'${escaped}'`;
}

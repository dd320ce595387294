import type { ColumnSchema } from "../change/table-schema";
import { quoteIdentifier } from "../postgres/identifier";
import { type DuckDbQueries, literal } from "./duckdb-session";

/** A column as SQL names it in files and queries of ours. */
export const name = (column: ColumnSchema): string => quoteIdentifier(column.physicalName);

/** Writes the rows of a query, which gives these columns (and maybe others), into a Parquet file; returns their number. */
export async function writeParquet(
  session: DuckDbQueries,
  query: string,
  columns: ColumnSchema[],
  path: string,
): Promise<number> {
  const ids = columns.map((column) => `${name(column)}: ${column.attributeNumber}`);
  const options = ["FORMAT parquet", "COMPRESSION zstd", `FIELD_IDS {${ids.join(", ")}}`];
  // DuckDB 1.5 takes 0 and -0 for one entry of a dictionary.
  if (await hasMinusZero(session, query, columns)) options.push("DICTIONARY_SIZE_LIMIT 0");
  const rows = await session.rows<{ Count: bigint }>(`COPY (${query}) TO ${literal(path)} (${options.join(", ")})`);
  return Number(rows[0].Count);
}

async function hasMinusZero(session: DuckDbQueries, query: string, columns: ColumnSchema[]): Promise<boolean> {
  const tests = columns.filter(isFloating).map((column) => `${name(column)} = 0 AND signbit(${name(column)})`);
  if (tests.length === 0) return false;
  const [{ found }] = await session.rows<{ found: boolean | null }>(
    `SELECT bool_or(${tests.map((test) => `coalesce(${test}, false)`).join(" OR ")}) AS found FROM (${query})`,
  );
  return found === true;
}

export function isFloating(column: ColumnSchema): boolean {
  return column.deltaType === "double" || column.deltaType === "float";
}

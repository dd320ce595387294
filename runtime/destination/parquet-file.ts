import { type ColumnSchema, elementTypeOf } from "../change/table-schema";
import { quoteIdentifier } from "../postgres/identifier";
import { type DuckDbQueries, literal, parquet } from "./duckdb-session";

/** A column as SQL names it in files and queries of ours. */
export const name = (column: ColumnSchema): string => quoteIdentifier(column.physicalName);

/** Names of the columns that any of these files has. */
export async function presentColumns(session: DuckDbQueries, paths: string[]): Promise<Set<string>> {
  const rows = await session.rows<{ column_name: string }>(`DESCRIBE SELECT * FROM ${parquet(paths)}`);
  return new Set(rows.map((row) => row.column_name));
}

/** By its footer. */
export async function countRecords(path: string, session: DuckDbQueries): Promise<number> {
  const [{ rows }] = await session.rows<{ rows: bigint }>(
    `SELECT num_rows AS rows FROM parquet_file_metadata(${literal(path)})`,
  );
  return Number(rows);
}

/** Writes the rows of a query, which gives these columns (and maybe others), into a Parquet file; returns their number. */
export async function writeParquet(
  session: DuckDbQueries,
  query: string,
  columns: ColumnSchema[],
  path: string,
): Promise<number> {
  const options = await parquetOptions(session, query, columns);
  const rows = await session.rows<{ Count: bigint }>(`COPY (${query}) TO ${literal(path)} (${options.join(", ")})`);
  return Number(rows[0].Count);
}

/** The columns that the files of a partitioned table have. */
export function withoutPartition(columns: ColumnSchema[], partition: ColumnSchema[]): ColumnSchema[] {
  const names = new Set(partition.map(({ physicalName }) => physicalName));
  return columns.filter(({ physicalName }) => !names.has(physicalName));
}

export interface WrittenPartition {
  /** absolute */
  filename: string;
  count: bigint;
  file_size_bytes: bigint;
  /** texts of the partition columns' values, by their names */
  partition_keys: { key: string; value: string | null }[];
}

/** The same into files of one partition each, below a folder; they don't have the partition columns. */
export async function writePartitions(
  session: DuckDbQueries,
  query: string,
  columns: ColumnSchema[],
  partition: ColumnSchema[],
  folder: string,
  prefix: string,
): Promise<WrittenPartition[]> {
  const options = [
    ...(await parquetOptions(session, query, withoutPartition(columns, partition))),
    `PARTITION_BY (${partition.map(name).join(", ")})`,
    `FILENAME_PATTERN ${literal(`${prefix}-{uuid}`)}`,
    "RETURN_STATS",
  ];
  return session.rows<WrittenPartition>(`COPY (${query}) TO ${literal(folder)} (${options.join(", ")})`);
}

async function parquetOptions(session: DuckDbQueries, query: string, columns: ColumnSchema[]): Promise<string[]> {
  const ids = columns.map((column) => `${name(column)}: ${column.attributeNumber}`);
  const options = ["FORMAT parquet", "COMPRESSION zstd", `FIELD_IDS {${ids.join(", ")}}`];
  // DuckDB 1.5 takes 0 and -0 for one entry of a dictionary.
  if (await hasMinusZero(session, query, columns)) options.push("DICTIONARY_SIZE_LIMIT 0");
  return options;
}

async function hasMinusZero(session: DuckDbQueries, query: string, columns: ColumnSchema[]): Promise<boolean> {
  const tests = columns.filter(isFloating).map((column) => {
    const isOne = (value: string) => `${value} = 0 AND signbit(${value})`;
    return elementTypeOf(column.deltaType) === null
      ? isOne(name(column))
      : `len([x for x in ${name(column)} if ${isOne("x")}]) > 0`;
  });
  if (tests.length === 0) return false;
  const [{ found }] = await session.rows<{ found: boolean | null }>(
    `SELECT bool_or(${tests.map((test) => `coalesce(${test}, false)`).join(" OR ")}) AS found FROM (${query})`,
  );
  return found === true;
}

/** A column of floating-point numbers, or of arrays of them. */
export function isFloating({ deltaType }: ColumnSchema): boolean {
  const type = elementTypeOf(deltaType) ?? deltaType;
  return type === "double" || type === "float";
}

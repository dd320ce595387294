import type { ColumnSchema } from "../change/table-schema";
import { quoteIdentifier } from "../postgres/identifier";
import { duckDbType } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { name } from "./parquet-file";
import { filesRelation, type TableFile } from "./partition";
import type { WorkingTable } from "./working-table";

/**
 * Some of the table's files as a relation, deleted rows included, with these columns at least: those that no file has are
 * NULL. It gives `file_index` (into the table's paths) and `file_row_number` too.
 */
export async function tableRows(
  session: DuckDbSession,
  working: WorkingTable,
  columns: ColumnSchema[],
  fileIndexes: number[],
): Promise<string> {
  const files = fileIndexes.map((index) => working.file(index));
  const { source, present } = await filesRelation(session, files, working.types);
  const absent = columns.filter((column) => !present.has(column.physicalName));
  const isAll = files.length === working.paths.length;
  if (absent.length === 0 && isAll) return source;
  const nulls = absent.map((column) => `NULL::${duckDbType(column.deltaType)} AS ${name(column)}, `).join("");
  const fileIndex = isAll ? "file_index" : `[${fileIndexes.join(", ")}][file_index::BIGINT + 1] AS file_index`;
  const own = [...present].map(quoteIdentifier).join(", ");
  return `(SELECT ${own}, ${nulls}${fileIndex}, file_row_number FROM ${source})`;
}

/** Some rows of a file: those at these positions, or all the others. */
export interface FileRows extends TableFile {
  part: "only" | "all-but";
  rows: Uint32Array<ArrayBuffer>;
}

/**
 * A query of the rows of some files that aren't deleted, with these columns in their types of now; it needs the temporary
 * table `deleted_rows`, made here. `values`: expressions that stand for a column instead of what the files have;
 * `formerNames`: what the files call a column.
 */
export async function liveRowsQuery(
  session: DuckDbSession,
  working: WorkingTable,
  fileIndexes: number[],
  columns: ColumnSchema[],
  values: ReadonlyMap<string, string> = new Map(),
  formerNames: ReadonlyMap<string, string | null> = new Map(),
): Promise<string> {
  const files: FileRows[] = [];
  for (const index of fileIndexes) {
    files.push({ ...working.file(index), part: "all-but", rows: await working.deletedRows(index) });
  }
  return partQuery(session, "deleted_rows", files, columns, values, formerNames);
}

/** The rows of files, maybe none; they are to be read before the next such query. */
export async function fileRowsQuery(
  session: DuckDbSession,
  files: readonly FileRows[],
  columns: ColumnSchema[],
): Promise<string> {
  const queries: string[] = [];
  for (const part of ["only", "all-but"] as const) {
    const chosen = files.filter((file) => file.part === part);
    if (chosen.length > 0)
      queries.push(await partQuery(session, part === "only" ? "only_rows" : "deleted_rows", chosen, columns));
  }
  return queries.length === 0 ? noRows(columns) : queries.join(" UNION ALL ");
}

export function noRows(columns: ColumnSchema[]): string {
  const nulls = columns.map((column) => `NULL::${duckDbType(column.deltaType)} AS ${name(column)}`);
  return `SELECT ${nulls.join(", ")} WHERE false`;
}

/** `files` are of one part. */
async function partQuery(
  session: DuckDbSession,
  table: string,
  files: readonly FileRows[],
  columns: ColumnSchema[],
  values: ReadonlyMap<string, string> = new Map(),
  formerNames: ReadonlyMap<string, string | null> = new Map(),
): Promise<string> {
  const nameIn = ({ physicalName }: ColumnSchema) => {
    const former = formerNames.get(physicalName);
    return former === undefined ? physicalName : former;
  };
  const types = new Map(columns.map((column) => [nameIn(column) ?? "", column.deltaType]));
  const { source, present } = await filesRelation(session, files, types);
  const expressions = columns.map((column) => {
    const stored = nameIn(column);
    const read = stored !== null && present.has(stored) ? `f.${quoteIdentifier(stored)}` : "NULL";
    return `(${values.get(column.physicalName) ?? read})::${duckDbType(column.deltaType)} AS ${name(column)}`;
  });
  const query = `SELECT ${expressions.join(", ")} FROM ${source} f`;
  if (files[0].part === "all-but") return withoutRows(session, table, files, query);
  await session.run(`CREATE OR REPLACE TEMP TABLE ${table} (file_index INTEGER, file_row UINTEGER)`);
  for (const [index, { rows }] of files.entries()) await session.appendPositions(table, index, rows);
  return `${query} SEMI JOIN ${table} d ON d.file_index = f.file_index::INTEGER AND d.file_row = f.file_row_number::UINTEGER`;
}

/** A bit for each row of a file: to read it is several times faster than a join with many positions. */
async function withoutRows(
  session: DuckDbSession,
  table: string,
  files: readonly FileRows[],
  query: string,
): Promise<string> {
  if (files.every(({ rows }) => rows.length === 0)) return query;
  await session.run(`CREATE OR REPLACE TEMP TABLE ${table} (file_index INTEGER, ends INTEGER, bits BIT)`);
  for (const [index, { rows }] of files.entries()) await session.insertBits(table, index, rows);
  return `${query} JOIN ${table} d ON d.file_index = f.file_index::INTEGER
    AND CASE WHEN f.file_row_number < d.ends THEN get_bit(d.bits, f.file_row_number::INTEGER) = 0 ELSE true END`;
}

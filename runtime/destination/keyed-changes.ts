import { type ColumnSchema, keyColumns, type TableSchema } from "../change/table-schema";
import { quoteIdentifier } from "../postgres/identifier";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { deletePositions, positionColumns } from "./row-positions";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

/** Columns by physical name, cast to the types that the table's schema says. */
export function projection(columns: ColumnSchema[]): string {
  return columns.map((column) => `${name(column)}::${duckDbType(column.deltaType)} AS ${name(column)}`).join(", ");
}

export function fieldIds(columns: ColumnSchema[]): Record<string, number> {
  return Object.fromEntries(columns.map((column) => [name(column), column.attributeNumber]));
}

export const name = (column: ColumnSchema): string => quoteIdentifier(column.physicalName);

/**
 * Applies changes of a table with a key: the last change of each key counts. Rows of all changed keys are deleted
 * where they stand; those that live on are inserted anew. So a change that was applied before does no harm.
 */
export async function applyKeyedChanges(
  session: DuckDbSession,
  working: WorkingTable,
  schema: TableSchema,
  paths: string[],
): Promise<void> {
  const changes = parquet(paths);
  const keys = keyColumns(schema).map(name);
  const [{ unchanged }] = await session.rows<{ unchanged: bigint }>(
    `SELECT count(_unchanged) AS unchanged FROM ${changes}`,
  );
  if (unchanged > 0n) await resolveUnchanged(session, working, schema, changes);
  else {
    await session.run(
      `CREATE OR REPLACE TEMP TABLE latest AS SELECT _op, ${projection(schema.columns)} FROM ${changes}
       QUALIFY row_number() OVER (PARTITION BY ${keys.join(", ")} ORDER BY _commit_lsn DESC, _ordinal DESC) = 1`,
    );
  }
  if (working.paths.length > 0) {
    const equal = keys.map((key) => `f.${key} IS NOT DISTINCT FROM k.${key}`).join(" AND ");
    await deletePositions(
      session,
      working,
      `SELECT ${positionColumns} FROM ${parquet(working.paths)} f SEMI JOIN latest k ON ${equal}`,
    );
  }
  const kept = `SELECT ${schema.columns.map(name).join(", ")} FROM latest WHERE _op IN (${changeOp.insert}, ${changeOp.update})`;
  await working.insert(kept, fieldIds(schema.columns));
  await session.run("DROP TABLE latest");
}

import { type ColumnSchema, keyColumns, type TableSchema } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { deletePositions, positionColumns } from "./row-positions";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

/** Columns by physical name, cast to the types that the table's schema says. */
export function projection(columns: ColumnSchema[]): string {
  return columns.map((column) => `${name(column)}::${duckDbType(column.deltaType)} AS ${name(column)}`).join(", ");
}

/**
 * Applies changes of a table with a key: the last change of each key counts. Rows of all changed keys are deleted
 * where they stand; those that live on are inserted anew. So a change that was applied before does no harm.
 * @param changes relation of the changes' rows, for FROM
 */
export async function applyKeyedChanges(
  session: DuckDbSession,
  working: WorkingTable,
  schema: TableSchema,
  changes: string,
): Promise<void> {
  const keys = keyColumns(schema).map(name);
  const [{ unchanged }] = await session.rows<{ unchanged: bigint }>(
    `SELECT count(_unchanged) AS unchanged FROM ${changes}`,
  );
  if (unchanged > 0n) await resolveUnchanged(session, working, schema, changes);
  else {
    await session.run(
      `CREATE OR REPLACE TEMP TABLE changes AS SELECT _op, ${projection(schema.columns)},
         (_commit_lsn::HUGEINT << 64) + _ordinal AS _position FROM ${changes}`,
    );
    await keepLatest(session, "changes", keys);
  }
  if (working.paths.length > 0) {
    const equal = keys.map((key) => `f.${key} IS NOT DISTINCT FROM k.${key}`).join(" AND ");
    const rows = await tableRows(session, working, keyColumns(schema));
    await deletePositions(session, working, `SELECT ${positionColumns} FROM ${rows} f SEMI JOIN latest k ON ${equal}`);
  }
  const kept = `SELECT ${schema.columns.map(name).join(", ")} FROM latest WHERE _op IN (${changeOp.insert}, ${changeOp.update})`;
  await working.insert(kept, schema.columns);
  await session.run("DROP TABLE latest");
}

/**
 * `latest`: of each key the row with the greatest `_position`, taken by its row id: through DuckDB's sorts and their
 * shortcuts -0 would become 0.
 */
export async function keepLatest(session: DuckDbSession, table: string, keys: string[]): Promise<void> {
  await session.run(
    `CREATE OR REPLACE TEMP TABLE latest AS SELECT * FROM ${table}
     WHERE rowid IN (SELECT arg_max(rowid, _position) FROM ${table} GROUP BY ${keys.join(", ")})`,
  );
  await session.run(`DROP TABLE ${table}`);
}

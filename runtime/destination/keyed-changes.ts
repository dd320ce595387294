import { type ColumnSchema, keyColumns } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { candidateFiles } from "./file-pruning";
import { tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { deletePositions, positionColumns } from "./row-positions";
import { hasUnchanged, loadKeys } from "./staged-changes";
import { projection, type TargetTable, targetColumns } from "./target-table";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

const upserts = `_op IN (${changeOp.insert}, ${changeOp.update})`;

/**
 * Applies changes of a table with a key: the last change of each key counts. Rows of all changed keys are deleted
 * where they stand; those that live on are inserted anew. So a change that was applied before does no harm.
 * @param changes relation of the changes' rows, for FROM
 */
export async function applyKeyedChanges(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
): Promise<void> {
  const columns = targetColumns(target);
  if (await hasUnchanged(session, changes)) {
    await resolveUnchanged(session, working, target, changes);
    await deleteKeys(session, working, target, "latest");
    await working.insert(`SELECT ${columns.map(name).join(", ")} FROM latest WHERE ${upserts}`, columns);
    await session.run("DROP TABLE latest");
    return;
  }
  // Only the keys are kept; the rest is read where it is written.
  await loadKeys(session, target, changes, "changes");
  const rows = `SELECT ${[projection(target), ...target.meta.map(commitValue)].join(", ")} FROM ${changes}`;
  let kept = `${rows} WHERE ${upserts}`;
  if (await hasRepeated(session, "changes", keyNames(target))) {
    // Not temporary, as the rows are written by another connection.
    await session.run(
      `CREATE OR REPLACE TABLE kept AS SELECT _source FROM changes
       WHERE ${upserts} AND rowid IN (SELECT arg_max(rowid, _position) FROM changes GROUP BY ${keyNames(target).join(", ")})`,
    );
    kept = `${rows} WHERE _source IN (SELECT _source FROM kept)`;
  }
  await working.insertBeside(kept, columns, () => deleteKeys(session, working, target, "changes"));
  await session.run("DROP TABLE changes; DROP TABLE IF EXISTS kept");
}

function commitValue(column: ColumnSchema): string {
  return `${name(column)}::${duckDbType(column.deltaType)} AS ${name(column)}`;
}

export function keyNames(target: TargetTable): string[] {
  return keyColumns(target.schema).map(name);
}

/** Deletes every row whose key is in a table. */
export async function deleteKeys(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  keyTable: string,
): Promise<void> {
  const candidates = await candidateFiles(session, working, target, keyTable, name);
  if (candidates.length === 0) return;
  const rows = await tableRows(session, working, keyColumns(target.schema), candidates);
  const query = `SELECT ${positionColumns} FROM ${rows} f SEMI JOIN ${keyTable} k ON ${sameKey(target, "f", "k")}`;
  await deletePositions(session, working, query);
}

export function sameKey(target: TargetTable, one: string, other: string): string {
  return keyNames(target)
    .map((key) => `${one}.${key} IS NOT DISTINCT FROM ${other}.${key}`)
    .join(" AND ");
}

/**
 * `latest`: of each key the row with the greatest `_position`, taken by its row id: through DuckDB's sorts and their
 * shortcuts -0 would become 0.
 */
export async function keepLatest(session: DuckDbSession, table: string, keys: string[]): Promise<void> {
  if (!(await hasRepeated(session, table, keys))) {
    await session.run(`DROP TABLE IF EXISTS latest; ALTER TABLE ${table} RENAME TO latest`);
    return;
  }
  await session.run(
    `CREATE OR REPLACE TEMP TABLE latest AS SELECT * FROM ${table}
     WHERE rowid IN (SELECT arg_max(rowid, _position) FROM ${table} GROUP BY ${keys.join(", ")})`,
  );
  await session.run(`DROP TABLE ${table}`);
}

async function hasRepeated(session: DuckDbSession, table: string, keys: string[]): Promise<boolean> {
  const [{ repeated }] = await session.rows<{ repeated: boolean }>(
    `SELECT count(*) > (SELECT count(*) FROM (SELECT 1 FROM ${table} GROUP BY ${keys.join(", ")})) AS repeated FROM ${table}`,
  );
  return repeated;
}

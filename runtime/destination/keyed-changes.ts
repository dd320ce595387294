import { keyColumns } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import type { DuckDbSession } from "./duckdb-session";
import { candidateFiles } from "./file-pruning";
import { tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { deletePositions, positionColumns } from "./row-positions";
import { hasUnchanged, loadChanges } from "./staged-changes";
import { type TargetTable, targetColumns } from "./target-table";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

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
  if (await hasUnchanged(session, changes)) await resolveUnchanged(session, working, target, changes);
  else {
    await loadChanges(session, target, changes, "changes", target.meta.length > 0);
    await keepLatest(session, "changes", keyNames(target));
  }
  await deleteKeys(session, working, target, "latest");
  const columns = targetColumns(target);
  const kept = `SELECT ${columns.map(name).join(", ")} FROM latest WHERE _op IN (${changeOp.insert}, ${changeOp.update})`;
  await working.insert(kept, columns);
  await session.run("DROP TABLE latest");
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
  const [{ repeated }] = await session.rows<{ repeated: boolean }>(
    `SELECT count(*) > (SELECT count(*) FROM (SELECT 1 FROM ${table} GROUP BY ${keys.join(", ")})) AS repeated FROM ${table}`,
  );
  if (!repeated) {
    await session.run(`DROP TABLE IF EXISTS latest; ALTER TABLE ${table} RENAME TO latest`);
    return;
  }
  await session.run(
    `CREATE OR REPLACE TEMP TABLE latest AS SELECT * FROM ${table}
     WHERE rowid IN (SELECT arg_max(rowid, _position) FROM ${table} GROUP BY ${keys.join(", ")})`,
  );
  await session.run(`DROP TABLE ${table}`);
}

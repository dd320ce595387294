import { changeOp } from "../staging/staged-commit";
import type { DuckDbSession } from "./duckdb-session";
import { name } from "./parquet-file";
import { hasUnchanged, loadChanges } from "./staged-changes";
import { type TargetTable, targetColumns } from "./target-table";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

/**
 * Every change becomes a row of the table: `_op` is insert, update or delete (of a row, or of a row under its former
 * key). Values that were not sent are those of the row before. A delete has what the source's replica identity gives: the
 * key, or with FULL the whole row. By option the row before an update comes first, as update_preimage.
 */
export async function appendChanges(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
): Promise<void> {
  const hasKey = target.schema.columns.some((column) => column.keyOrdinal !== null);
  if (hasKey && (await hasUnchanged(session, changes))) {
    await resolveUnchanged(session, working, target, changes, { keep: "all", deletes: false });
  } else await loadChanges(session, target, changes, "latest", true);
  const { insert, update, beforeImage } = changeOp;
  const op = `CASE _op WHEN ${insert} THEN 'insert' WHEN ${update} THEN 'update' WHEN ${beforeImage} THEN 'update_preimage' ELSE 'delete' END AS _op`;
  const columns = targetColumns(target);
  const values = columns.map((column) => (column.physicalName === "_op" ? op : name(column)));
  await working.insert(`SELECT ${values.join(", ")} FROM latest`, columns);
  await session.run("DROP TABLE latest");
}

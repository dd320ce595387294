import { changeOp } from "../staging/staged-commit";
import type { DuckDbSession } from "./duckdb-session";
import { deleteKeys, keepLatest, keyNames } from "./keyed-changes";
import { name } from "./parquet-file";
import { hasUnchanged, loadChanges } from "./staged-changes";
import { type TargetTable, targetColumns } from "./target-table";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

/** As `applyKeyedChanges`, but a deleted row stays as it was, with the time of its delete; so does one under a former key. */
export async function applySoftDeletes(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
): Promise<void> {
  if (target.schema.replicaIdentity === "f" && !(await hasUnchanged(session, changes))) {
    await loadChanges(session, target, changes, "changes", true);
    await keepLatest(session, "changes", keyNames(target));
    await session.run("ALTER TABLE latest ADD COLUMN _found BOOLEAN DEFAULT true");
  } else await resolveUnchanged(session, working, target, changes, { keep: "latest", deletes: true });
  await deleteKeys(session, working, target, "latest");
  const columns = targetColumns(target);
  const isDeleted = `_op IN (${changeOp.delete}, ${changeOp.deleteOldKey})`;
  const values = columns.map((column) =>
    column.physicalName === "_deleted_at"
      ? `CASE WHEN ${isDeleted} THEN _commit_time END AS _deleted_at`
      : name(column),
  );
  await working.insert(`SELECT ${values.join(", ")} FROM latest WHERE NOT ${isDeleted} OR _found`, columns);
  await session.run("DROP TABLE latest");
}

import { changeOp } from "../staging/staged-commit";
import type { CommitPoint } from "./apply-plan";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { keyNames, sameKey } from "./keyed-changes";
import { liveRowsQuery, noRows } from "./live-rows";
import { name } from "./parquet-file";
import { applyVersions } from "./scd2-changes";
import { applySoftDeletes } from "./soft-delete";
import { projection, type TargetTable, targetColumns } from "./target-table";
import { sameValues } from "./value-identity";
import type { WorkingTable } from "./working-table";

/**
 * A new snapshot of a table whose mode keeps what was: rows that it hasn't are deleted, those that differ are updated, as
 * changes at one point of the source's history. With append its rows are added, with the operation `snapshot`.
 */
export async function refreshTable(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  paths: string[],
  point: CommitPoint,
): Promise<void> {
  if (target.mode === "append") {
    if (paths.length > 0) await appendAt(working, target, "snapshot", point, parquet(paths));
    return;
  }
  const columns = target.schema.columns;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE snapshot_rows AS
     ${paths.length === 0 ? noRows(columns) : `SELECT ${projection(target)} FROM ${parquet(paths)}`}`,
  );
  // A snapshot that went on after a stop may hold a key twice.
  await session.run(
    `DELETE FROM snapshot_rows WHERE rowid NOT IN (SELECT max(rowid) FROM snapshot_rows GROUP BY ${keyNames(target).join(", ")})`,
  );
  await loadCurrent(session, working, target);
  const values = (alias: string) => columns.map((column) => `${alias}.${name(column)}`).join(", ");
  await applyAt(
    session,
    working,
    target,
    point,
    `SELECT ${changeOp.update}::TINYINT AS _op, ${values("s")} FROM snapshot_rows s ANTI JOIN current_rows c ON ${sameValues(columns, "s", "c")}
     UNION ALL
     SELECT ${changeOp.delete}::TINYINT, ${values("c")} FROM current_rows c ANTI JOIN snapshot_rows s ON ${sameKey(target, "s", "c")}`,
  );
  await session.run("DROP TABLE snapshot_rows; DROP TABLE current_rows");
}

/** TRUNCATE of such a table: every row of now is deleted; with append a row tells it. */
export async function truncateTable(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  point: CommitPoint,
): Promise<void> {
  if (target.mode === "append") return appendAt(working, target, "truncate", point, null);
  await loadCurrent(session, working, target);
  const columns = target.schema.columns.map(name).join(", ");
  const deletes = `SELECT ${changeOp.delete}::TINYINT AS _op, ${columns} FROM current_rows`;
  await applyAt(session, working, target, point, deletes);
  await session.run("DROP TABLE current_rows");
}

/** Applies changes that hold whole rows of the destination, all at one point. */
async function applyAt(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  point: CommitPoint,
  changes: string,
): Promise<void> {
  await session.run(
    `CREATE OR REPLACE TEMP TABLE refresh_changes AS
     SELECT *, ${point.commitLsn ?? 0n}::BIGINT AS _commit_lsn, row_number() OVER () AS _ordinal,
       ${timeOf(point)} AS _commit_time, NULL::VARCHAR AS _unchanged FROM (${changes})`,
  );
  // Their values are those of the destination already.
  const plain: TargetTable = { ...target, expressions: new Map(), schema: { ...target.schema, replicaIdentity: "f" } };
  if (target.mode === "scd2") await applyVersions(session, working, plain, "refresh_changes", { hasOrdinals: false });
  else await applySoftDeletes(session, working, plain, "refresh_changes");
  await session.run("DROP TABLE refresh_changes");
}

/** Rows of a source, or one without values, each with the same operation. */
async function appendAt(
  working: WorkingTable,
  target: TargetTable,
  op: string,
  point: CommitPoint,
  source: string | null,
): Promise<void> {
  const columns = targetColumns(target);
  const rows = source === null ? noRows(target.schema.columns).replace(" WHERE false", "") : null;
  const meta: Record<string, string> = {
    _op: `'${op}'`,
    _commit_lsn: `${point.commitLsn ?? "NULL"}::BIGINT`,
    _ordinal: "NULL::BIGINT",
    _commit_time: timeOf(point),
  };
  const values = columns.map((column) => meta[column.physicalName] ?? name(column));
  const named = columns.map((column, index) => `${values[index]} AS ${name(column)}`).join(", ");
  await working.insert(`SELECT ${named} FROM (${rows ?? `SELECT ${projection(target)} FROM ${source}`})`, columns);
}

/** `current_rows`: what the source's rows are by the destination. */
async function loadCurrent(session: DuckDbSession, working: WorkingTable, target: TargetTable): Promise<void> {
  const columns = targetColumns(target);
  const indexes = working.paths.map((_, index) => index);
  const live = indexes.length === 0 ? noRows(columns) : await liveRowsQuery(session, working, indexes, columns);
  const isCurrent = target.mode === "scd2" ? "is_current" : "_deleted_at IS NULL";
  await session.run(`CREATE OR REPLACE TEMP TABLE current_rows AS SELECT * FROM (${live}) WHERE ${isCurrent}`);
}

function timeOf({ commitTimeMicros }: CommitPoint): string {
  return `make_timestamptz(${commitTimeMicros})`;
}

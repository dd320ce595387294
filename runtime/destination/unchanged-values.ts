import { type ColumnSchema, keyColumns } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { candidateFiles } from "./file-pruning";
import { keepLatest, keyNames } from "./keyed-changes";
import { tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { filesRelation } from "./partition";
import { loadVectors, positionColumns } from "./row-positions";
import { projection, type TargetTable } from "./target-table";
import type { WorkingTable } from "./working-table";

export interface ResolveOptions {
  /** the last change of each key, or all of them */
  keep: "latest" | "all";
  /** a delete gets all columns of the row that it deletes, not only the key */
  deletes: boolean;
}

/**
 * Makes the table `latest` (of the changes; see `loadChanges` with commit) where changes have values that were not sent
 * (`_unchanged`). Such a value is that of the same source row before: in an earlier change of the batch, or in the table.
 * A row is followed through changes of its key: a *segment* is what happened to one row under one key, a *row* is a
 * chain of segments, each linked to the one before by a delete of the old key with the ordinal before.
 * `_found`: whether the row was known, in the batch or in the table.
 */
export async function resolveUnchanged(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
  { keep, deletes }: ResolveOptions = { keep: "latest", deletes: false },
): Promise<void> {
  const keys = keyNames(target);
  const { insert, update, delete: deleted, deleteOldKey } = changeOp;
  const columns = deletes
    ? target.schema.columns.filter((column) => column.keyOrdinal === null)
    : await unchangedColumns(session, target, changes);
  await session.run(
    `CREATE OR REPLACE TEMP TABLE changes AS
     SELECT _op, _commit_lsn, _ordinal, _commit_time::TIMESTAMPTZ AS _commit_time, _unchanged, ${projection(target)},
       row_number() OVER (ORDER BY _commit_lsn, _ordinal) AS _position FROM ${changes}`,
  );
  await chainRows(session, keys);
  const values = columns.map((column, index) => {
    const isSent = `_op NOT IN (${deleted}, ${deleteOldKey}) AND NOT contains(coalesce(_unchanged, ''), ',${column.attributeNumber},')`;
    return `last_value(CASE WHEN ${isSent} THEN {v: ${name(column)}} END IGNORE NULLS) OVER past AS _value${index}`;
  });
  const firstKeys = keys.map((key, index) => `first_value(${key}) OVER past AS _key${index}`);
  const known = `bool_or(_op IN (${insert}, ${update})) OVER past AS _known`;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE valued AS
     SELECT * EXCLUDE (_unchanged), ${[known, ...values, ...firstKeys].join(", ")}
     FROM changes JOIN chained USING (_position)
     WINDOW past AS (PARTITION BY _row ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)`,
  );
  if (keep === "latest") await keepLatest(session, "valued", keys);
  else await session.run("DROP TABLE IF EXISTS latest; ALTER TABLE valued RENAME TO latest");
  const missing = ["NOT _known", ...columns.map((_, index) => `_value${index} IS NULL`)].join(" OR ");
  const reading = deletes ? [insert, update, deleted, deleteOldKey] : [insert, update];
  const wanted = `(SELECT * FROM latest WHERE _op IN (${reading.join(", ")}) AND (${missing}))`;
  await readOldValues(session, working, target, columns, wanted);
  const chosen = columns.map((column, index) => {
    const isLeft = deletes ? "false" : `_op IN (${deleted}, ${deleteOldKey})`;
    return `CASE WHEN ${isLeft} THEN latest.${name(column)} WHEN _value${index} IS NULL THEN o.${name(column)} ELSE _value${index}.v END AS ${name(column)}`;
  });
  const replaced = chosen.length === 0 ? "" : `REPLACE (${chosen.join(", ")})`;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE resolved AS
     SELECT latest.* ${replaced}, _known OR o._position IS NOT NULL AS _found
     FROM latest LEFT JOIN old_values o USING (_position)`,
  );
  for (const table of ["latest", "changes", "chained", "old_values"])
    await session.run(`DROP TABLE IF EXISTS ${table}`);
  await session.run("ALTER TABLE resolved RENAME TO latest");
}

async function unchangedColumns(session: DuckDbSession, target: TargetTable, changes: string): Promise<ColumnSchema[]> {
  const rows = await session.rows<{ number: string }>(
    `SELECT DISTINCT unnest(string_split(trim(_unchanged, ','), ',')) AS number FROM
       (SELECT DISTINCT _unchanged FROM ${changes} WHERE _unchanged IS NOT NULL)`,
  );
  const numbers = new Set(rows.map(({ number }) => Number(number)));
  return target.schema.columns.filter((column) => numbers.has(column.attributeNumber));
}

/** `chained`: for each change's `_position` the `_row` it belongs to, named by the position of the row's first change. */
async function chainRows(session: DuckDbSession, keys: string[]): Promise<void> {
  const { insert, delete: deleted, deleteOldKey } = changeOp;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE segments AS
     WITH linked AS (
       SELECT _position, _op, ${keys.join(", ")},
         lag(_op) OVER (PARTITION BY ${keys.join(", ")} ORDER BY _position) AS _before,
         coalesce(lag(_op) OVER positions = ${deleteOldKey} AND lag(_commit_lsn) OVER positions = _commit_lsn
           AND lag(_ordinal) OVER positions = _ordinal - 1, false) AS _moved
       FROM changes WINDOW positions AS (ORDER BY _position)),
     started AS (
       SELECT *, _moved OR _op = ${insert} OR _before IS NULL OR _before IN (${deleted}, ${deleteOldKey}) AS _starts FROM linked)
     SELECT _position, _moved, max(CASE WHEN _starts THEN _position END) OVER
       (PARTITION BY ${keys.join(", ")} ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS _segment
     FROM started`,
  );
  await session.run(
    `CREATE OR REPLACE TEMP TABLE chained AS
     WITH RECURSIVE links AS (
       SELECT s._segment, p._segment AS _previous FROM segments s JOIN segments p ON p._position = s._position - 1
       WHERE s._moved),
     roots AS (
       SELECT DISTINCT _segment, _segment AS _row FROM segments WHERE _segment NOT IN (SELECT _segment FROM links)
       UNION ALL
       SELECT links._segment, roots._row FROM links JOIN roots ON links._previous = roots._segment)
     SELECT _position, _row FROM segments JOIN roots USING (_segment)`,
  );
  await session.run("DROP TABLE segments");
}

/**
 * A condition that only rows of now fulfil, and their order where the table has several of a key. (A snapshot's rows have
 * no ordinal; its LSN is before that of every change that comes after it.)
 */
function currentRows({ mode }: TargetTable): { condition: string; order: string } {
  switch (mode) {
    case "scd1":
    case "softDelete":
      return { condition: "true", order: "0::HUGEINT" };
    case "scd2":
      return { condition: "f.is_current", order: "0::HUGEINT" };
    case "append":
      return { condition: "true", order: "(f._commit_lsn::HUGEINT << 64) + coalesce(f._ordinal, 0)" };
  }
}

/** `old_values`: by `_position` the columns of the row that the table has now under the row's first key. */
async function readOldValues(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  columns: ColumnSchema[],
  wanted: string,
): Promise<void> {
  const types = columns.map((column) => `, ${name(column)} ${duckDbType(column.deltaType)}`).join("");
  await session.run(`CREATE OR REPLACE TEMP TABLE old_values (_position BIGINT${types})`);
  await session.run(
    "CREATE OR REPLACE TEMP TABLE old_rows (file_index INTEGER, file_row UINTEGER, _position BIGINT, _order HUGEINT)",
  );
  const candidates = await candidateFiles(session, working, target, wanted, (_, index) => `_key${index}`);
  if (candidates.length === 0) return;
  const equal = keyNames(target)
    .map((key, index) => `f.${key} IS NOT DISTINCT FROM k._key${index}`)
    .join(" AND ");
  const { condition, order } = currentRows(target);
  const rows = await tableRows(session, working, [...keyColumns(target.schema), ...target.meta], candidates);
  const used = new Set<number>();
  const pending: string[] = [];
  await session.chunks(
    `SELECT ${positionColumns}, k._position::BIGINT, ${order} FROM ${rows} f JOIN ${wanted} k ON ${equal} WHERE ${condition}`,
    async (chunk) => {
      await loadVectors(chunk, working);
      const [files, positions, changes, orders] = [0, 1, 2, 3].map((index) => chunk.getColumnVector(index));
      for (let at = 0; at < chunk.rowCount; at++) {
        const fileIndex = files.getItem(at) as number;
        const row = positions.getItem(at) as number;
        if (!working.isLive(fileIndex, row)) continue;
        used.add(fileIndex);
        pending.push(`(${fileIndex}, ${row}, ${changes.getItem(at)}, ${orders.getItem(at)})`);
      }
    },
  );
  for (let at = 0; at < pending.length; at += 10_000) {
    await session.run(`INSERT INTO old_rows VALUES ${pending.slice(at, at + 10_000).join(", ")}`);
  }
  await session.run(
    "DELETE FROM old_rows WHERE rowid NOT IN (SELECT arg_max(rowid, _order) FROM old_rows GROUP BY _position)",
  );
  // Only the files with such rows are read again; their values are large.
  for (const fileIndex of used) {
    const { source, present } = await filesRelation(session, [working.file(fileIndex)], working.types);
    const values = columns.map((column) => {
      const value = present.has(column.physicalName) ? `f.${name(column)}` : "NULL";
      return `, ${value}::${duckDbType(column.deltaType)}`;
    });
    await session.run(
      `INSERT INTO old_values SELECT r._position${values.join("")} FROM ${source} f
       JOIN old_rows r ON r.file_index = ${fileIndex} AND f.file_row_number = r.file_row`,
    );
  }
  await session.run("DROP TABLE old_rows");
}

import { type ColumnSchema, keyColumns, type TableSchema } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { keepLatest, projection } from "./keyed-changes";
import { presentColumns, tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { loadVectors, positionColumns } from "./row-positions";
import type { WorkingTable } from "./working-table";

/**
 * Makes the table `latest` (the last change of each key, as `applyKeyedChanges` needs it) where changes have values that
 * were not sent (`_unchanged`). Such a value is that of the same source row before: in an earlier change of the batch,
 * or in the table. A row is followed through changes of its key: a *segment* is what happened to one row under one
 * key, a *row* is a chain of segments, each linked to the one before by a delete of the old key with the ordinal before.
 */
export async function resolveUnchanged(
  session: DuckDbSession,
  working: WorkingTable,
  schema: TableSchema,
  changes: string,
): Promise<void> {
  const keys = keyColumns(schema).map(name);
  const columns = await unchangedColumns(session, schema, changes);
  await session.run(
    `CREATE OR REPLACE TEMP TABLE changes AS
     SELECT _op, _commit_lsn, _ordinal, _unchanged, ${projection(schema.columns)},
       row_number() OVER (ORDER BY _commit_lsn, _ordinal) AS _position FROM ${changes}`,
  );
  await chainRows(session, keys);
  const values = columns.map((column, index) => {
    const isSent = `_op NOT IN (${changeOp.delete}, ${changeOp.deleteOldKey}) AND NOT contains(coalesce(_unchanged, ''), ',${column.attributeNumber},')`;
    return `last_value(CASE WHEN ${isSent} THEN {v: ${name(column)}} END IGNORE NULLS) OVER past AS _value${index}`;
  });
  const firstKeys = keys.map((key, index) => `first_value(${key}) OVER past AS _key${index}`);
  await session.run(
    `CREATE OR REPLACE TEMP TABLE valued AS
     SELECT * EXCLUDE (_commit_lsn, _ordinal, _unchanged), ${[...values, ...firstKeys].join(", ")}
     FROM changes JOIN chained USING (_position)
     WINDOW past AS (PARTITION BY _row ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)`,
  );
  await keepLatest(session, "valued", keys);
  await readOldValues(session, working, schema, columns);
  const chosen = columns.map(
    (column, index) =>
      `CASE WHEN _value${index} IS NULL THEN o.${name(column)} ELSE _value${index}.v END AS ${name(column)}`,
  );
  await session.run(
    `CREATE OR REPLACE TEMP TABLE resolved AS
     SELECT latest.* REPLACE (${chosen.join(", ")}) FROM latest LEFT JOIN old_values o USING (_position)`,
  );
  for (const table of ["latest", "changes", "chained", "old_values"]) await session.run(`DROP TABLE ${table}`);
  await session.run("ALTER TABLE resolved RENAME TO latest");
}

async function unchangedColumns(session: DuckDbSession, schema: TableSchema, changes: string): Promise<ColumnSchema[]> {
  const rows = await session.rows<{ number: string }>(
    `SELECT DISTINCT unnest(string_split(trim(_unchanged, ','), ',')) AS number FROM
       (SELECT DISTINCT _unchanged FROM ${changes} WHERE _unchanged IS NOT NULL)`,
  );
  const numbers = new Set(rows.map(({ number }) => Number(number)));
  return schema.columns.filter((column) => numbers.has(column.attributeNumber));
}

/** `chained`: for each change's `_position` the `_row` it belongs to, named by the position of the row's first change. */
async function chainRows(session: DuckDbSession, keys: string[]): Promise<void> {
  const { insert, delete: deleted, deleteOldKey } = changeOp;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE segments AS
     WITH linked AS (
       SELECT _position, _op, ${keys.join(", ")},
         lag(_op) OVER (PARTITION BY ${keys.join(", ")} ORDER BY _position) AS before,
         coalesce(lag(_op) OVER positions = ${deleteOldKey} AND lag(_commit_lsn) OVER positions = _commit_lsn
           AND lag(_ordinal) OVER positions = _ordinal - 1, false) AS moved
       FROM changes WINDOW positions AS (ORDER BY _position)),
     started AS (
       SELECT *, moved OR _op = ${insert} OR before IS NULL OR before IN (${deleted}, ${deleteOldKey}) AS starts FROM linked)
     SELECT _position, moved, max(CASE WHEN starts THEN _position END) OVER
       (PARTITION BY ${keys.join(", ")} ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS segment
     FROM started`,
  );
  await session.run(
    `CREATE OR REPLACE TEMP TABLE chained AS
     WITH RECURSIVE links AS (
       SELECT s.segment, p.segment AS previous FROM segments s JOIN segments p ON p._position = s._position - 1
       WHERE s.moved),
     roots AS (
       SELECT DISTINCT segment, segment AS _row FROM segments WHERE segment NOT IN (SELECT segment FROM links)
       UNION ALL
       SELECT links.segment, roots._row FROM links JOIN roots ON links.previous = roots.segment)
     SELECT _position, _row FROM segments JOIN roots USING (segment)`,
  );
  await session.run("DROP TABLE segments");
}

/** `old_values`: by `_position` the columns of the live row that the table has under the row's first key. */
async function readOldValues(
  session: DuckDbSession,
  working: WorkingTable,
  schema: TableSchema,
  columns: ColumnSchema[],
): Promise<void> {
  const types = columns.map((column) => `${name(column)} ${duckDbType(column.deltaType)}`);
  await session.run(`CREATE OR REPLACE TEMP TABLE old_values (_position BIGINT, ${types.join(", ")})`);
  await session.run("CREATE OR REPLACE TEMP TABLE old_rows (file_index INTEGER, file_row UINTEGER, _position BIGINT)");
  if (working.paths.length === 0) return;
  const equal = keyColumns(schema)
    .map(name)
    .map((key, index) => `f.${key} IS NOT DISTINCT FROM k._key${index}`)
    .join(" AND ");
  const missing = columns.map((_, index) => `_value${index} IS NULL`).join(" OR ");
  const wanted = `(SELECT * FROM latest WHERE _op IN (${changeOp.insert}, ${changeOp.update}) AND (${missing}))`;
  const rows = await tableRows(session, working, keyColumns(schema));
  const used = new Set<number>();
  const pending: string[] = [];
  await session.chunks(
    `SELECT ${positionColumns}, k._position::BIGINT FROM ${rows} f JOIN ${wanted} k ON ${equal}`,
    async (chunk) => {
      await loadVectors(chunk, working);
      const [files, rows, positions] = [0, 1, 2].map((index) => chunk.getColumnVector(index));
      for (let at = 0; at < chunk.rowCount; at++) {
        const fileIndex = files.getItem(at) as number;
        const row = rows.getItem(at) as number;
        if (!working.isLive(fileIndex, row)) continue;
        used.add(fileIndex);
        pending.push(`(${fileIndex}, ${row}, ${positions.getItem(at)})`);
      }
    },
  );
  for (let at = 0; at < pending.length; at += 10_000) {
    await session.run(`INSERT INTO old_rows VALUES ${pending.slice(at, at + 10_000).join(", ")}`);
  }
  // Only the files with such rows are read again; their values are large.
  const indexes = [...used];
  for (const fileIndex of indexes) {
    const path = working.paths[fileIndex];
    const present = await presentColumns(session, [path]);
    const values = columns.map((column) =>
      present.has(column.physicalName)
        ? `f.${name(column)}::${duckDbType(column.deltaType)}`
        : `NULL::${duckDbType(column.deltaType)}`,
    );
    await session.run(
      `INSERT INTO old_values SELECT r._position, ${values.join(", ")} FROM ${parquet([path])} f
       JOIN old_rows r ON r.file_index = ${fileIndex} AND f.file_row_number = r.file_row`,
    );
  }
  await session.run("DROP TABLE old_rows");
}

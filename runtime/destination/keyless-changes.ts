import { elementTypeOf, type TableSchema } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import { duckDbType } from "./delta/table-metadata";
import type { DuckDbSession } from "./duckdb-session";
import { name } from "./parquet-file";
import { filesRelation } from "./partition";
import { loadVectors, PositionBuffer, positionColumns } from "./row-positions";
import { projection, type TargetTable, targetColumns } from "./target-table";
import { identityOf } from "./value-identity";
import type { WorkingTable } from "./working-table";

/**
 * Applies changes of a table without a key: its rows are a multiset, so of each value only the balance of inserts and
 * deletes counts. Where deletes prevail, as many of the equal rows are deleted, whichever.
 */
export async function applyKeylessChanges(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
): Promise<void> {
  const { schema } = target;
  // Of equal rows nobody can say which change made which: each gets the last.
  const commit = target.meta.map((column) => ({
    source: `${name(column)}::${duckDbType(column.deltaType)} AS ${name(column)}`,
    last: `max(${name(column)}) AS ${name(column)}`,
  }));
  // Of an array an aggregate would give -0 as 0, of a number the group's key would.
  const values = schema.columns.map((column) =>
    elementTypeOf(column.deltaType) === null ? `any_value(${name(column)}) AS ${name(column)}` : name(column),
  );
  const identity = schema.columns.flatMap((column) => identityOf(column, name(column)));
  await session.run(
    `CREATE OR REPLACE TEMP TABLE balances AS
     SELECT *, row_number() OVER () AS _value FROM (
       SELECT ${values.join(", ")},
         sum(CASE WHEN _op IN (${changeOp.insert}, ${changeOp.update}) THEN 1 ELSE -1 END)::BIGINT AS _balance${commit.map(({ last }) => `, ${last}`).join("")}
       FROM (SELECT _op, ${projection(target)}${commit.map(({ source }) => `, ${source}`).join("")} FROM ${changes}) GROUP BY ${identity.join(", ")})
     WHERE _balance <> 0`,
  );
  await deleteRows(session, working, schema);
  const columns = targetColumns(target);
  const inserted = `SELECT ${columns.map((column) => `balances.${name(column)}`).join(", ")} FROM balances, range(_balance) WHERE _balance > 0`;
  await working.insert(inserted, columns);
  await session.run("DROP TABLE balances");
}

async function deleteRows(session: DuckDbSession, working: WorkingTable, schema: TableSchema): Promise<void> {
  const deletes = await session.rows<{ value: bigint; count: bigint }>(
    "SELECT _value AS value, -_balance AS count FROM balances WHERE _balance < 0",
  );
  if (deletes.length === 0 || working.paths.length === 0) return;
  const left = new Map(deletes.map(({ value, count }) => [Number(value), Number(count)]));
  const files = working.paths.map((_, index) => working.file(index));
  const { source, present } = await filesRelation(session, files, working.types);
  const equal = schema.columns.flatMap((column) => {
    const mine = present.has(column.physicalName) ? `f.${name(column)}` : `NULL::${duckDbType(column.deltaType)}`;
    const theirs = identityOf(column, `d.${name(column)}`);
    return identityOf(column, mine).map((ours, index) => `${ours} IS NOT DISTINCT FROM ${theirs[index]}`);
  });
  const buffer = new PositionBuffer(working);
  await session.chunks(
    `SELECT ${positionColumns}, d._value::INTEGER FROM ${source} f
     JOIN (SELECT * FROM balances WHERE _balance < 0) d ON ${equal.join(" AND ")}`,
    async (chunk) => {
      await loadVectors(chunk, working);
      const [files, rows, values] = [0, 1, 2].map((index) => chunk.getColumnVector(index));
      for (let at = 0; at < chunk.rowCount; at++) {
        const value = values.getItem(at) as number;
        const wanted = left.get(value) as number;
        const fileIndex = files.getItem(at) as number;
        const row = rows.getItem(at) as number;
        if (wanted === 0 || !working.isLive(fileIndex, row)) continue;
        left.set(value, wanted - 1);
        buffer.add(fileIndex, row);
      }
    },
  );
  buffer.flush();
}

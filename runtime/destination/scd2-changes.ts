import { changeOp } from "../staging/staged-commit";
import type { DuckDbSession } from "./duckdb-session";
import { candidateFiles } from "./file-pruning";
import { keyNames, sameKey } from "./keyed-changes";
import { noRows, tableRows } from "./live-rows";
import { name } from "./parquet-file";
import { loadVectors, positionColumns } from "./row-positions";
import { hasUnchanged, loadChanges } from "./staged-changes";
import { type TargetTable, targetColumns } from "./target-table";
import { resolveUnchanged } from "./unchanged-values";
import type { WorkingTable } from "./working-table";

/**
 * Every change of a row makes a version of it: valid from its commit time until that of the next change of its key.
 * Commit times may go backwards (clocks do); a version never begins before the one before it. Changes of one
 * transaction have one time and are ordered by `_ordinal`: all but the last are valid for no time. `hasOrdinals`: false
 * for the rows of a snapshot.
 */
export async function applyVersions(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  changes: string,
  { hasOrdinals }: { hasOrdinals: boolean } = { hasOrdinals: true },
): Promise<void> {
  const keys = keyNames(target).join(", ");
  const ownKeys = keyNames(target)
    .map((key) => `e.${key}`)
    .join(", ");
  if (await hasUnchanged(session, changes)) {
    await resolveUnchanged(session, working, target, changes, { keep: "all", deletes: false });
  } else await loadChanges(session, target, changes, "latest", true);
  await closeCurrent(session, working, target);
  // A life is what happens to a key up to its delete; the first may go on from a version in the table.
  const ended = `_op IN (${changeOp.delete}, ${changeOp.deleteOldKey})`;
  await session.run(
    `CREATE OR REPLACE TEMP TABLE spans AS
     WITH lives AS (
       SELECT _position, _commit_time, ${keys}, count(*) FILTER (${ended}) OVER
         (PARTITION BY ${keys} ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS _life FROM latest),
     timed AS (
       SELECT _position, ${ownKeys}, greatest(c.valid_from,
         max(_commit_time) OVER (PARTITION BY ${ownKeys}, _life ORDER BY _position)) AS _begins
       FROM lives e LEFT JOIN (SELECT ${keys}, max(valid_from) AS valid_from FROM closed GROUP BY ${keys}) c
         ON _life = 0 AND ${sameKey(target, "e", "c")})
     SELECT *, lead(_begins) OVER later AS _ends, row_number() OVER later AS _number
     FROM timed WINDOW later AS (PARTITION BY ${keys} ORDER BY _position)`,
  );
  const columns = targetColumns(target);
  const ordinal = hasOrdinals ? "e._ordinal" : "NULL::BIGINT";
  const versions = version(target, "e", {
    valid_from: "s._begins",
    valid_to: "s._ends",
    is_current: "s._ends IS NULL",
    _ordinal: ordinal,
  });
  const former = version(target, "c", { valid_to: "s._begins", is_current: "false" });
  await working.insert(
    `SELECT ${former} FROM closed c JOIN spans s ON s._number = 1 AND ${sameKey(target, "c", "s")}
     UNION ALL
     SELECT ${versions} FROM latest e JOIN spans s USING (_position) WHERE e._op IN (${changeOp.insert}, ${changeOp.update})`,
    columns,
  );
  for (const table of ["latest", "spans", "closed"]) await session.run(`DROP TABLE ${table}`);
}

/** `closed`: the current versions of all changed keys, which are deleted where they stand. */
async function closeCurrent(session: DuckDbSession, working: WorkingTable, target: TargetTable): Promise<void> {
  const columns = targetColumns(target);
  const candidates = await candidateFiles(session, working, target, "latest", name);
  if (candidates.length === 0) {
    return session.run(`CREATE OR REPLACE TEMP TABLE closed AS ${noRows(columns)}`);
  }
  await session.run("CREATE OR REPLACE TEMP TABLE found_rows (file_index INTEGER, file_row UINTEGER)");
  const rows = await tableRows(session, working, columns, candidates);
  const found = new Map<number, number[]>();
  await session.chunks(
    `SELECT ${positionColumns} FROM ${rows} f SEMI JOIN latest k ON ${sameKey(target, "f", "k")} WHERE f.is_current`,
    async (chunk) => {
      await loadVectors(chunk, working);
      const [files, positions] = [0, 1].map((index) => chunk.getColumnVector(index));
      for (let at = 0; at < chunk.rowCount; at++) {
        const fileIndex = files.getItem(at) as number;
        const row = positions.getItem(at) as number;
        if (!working.isLive(fileIndex, row)) continue;
        const known = found.get(fileIndex);
        if (known === undefined) found.set(fileIndex, [row]);
        else known.push(row);
      }
    },
  );
  for (const [fileIndex, numbers] of found) {
    const positions = Uint32Array.from(numbers);
    working.delete(fileIndex, positions);
    await session.appendPositions("found_rows", fileIndex, positions);
  }
  await session.run(
    `CREATE OR REPLACE TEMP TABLE closed AS SELECT ${columns.map((column) => `f.${name(column)}`).join(", ")} FROM ${rows} f
     JOIN found_rows r ON r.file_index = f.file_index::INTEGER AND r.file_row = f.file_row_number::UINTEGER`,
  );
  await session.run("DROP TABLE found_rows");
}

/** The columns of a version, with these expressions instead of their own. */
function version(target: TargetTable, alias: string, values: Record<string, string>): string {
  return targetColumns(target)
    .map((column) => `${values[column.physicalName] ?? `${alias}.${name(column)}`} AS ${name(column)}`)
    .join(", ");
}

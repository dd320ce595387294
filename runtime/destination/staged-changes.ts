import { keyColumns } from "../change/table-schema";
import { changeOp } from "../staging/staged-commit";
import type { ChangesFile } from "./apply-plan";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { projection, type TargetTable } from "./target-table";

/**
 * The rows of files of changes as one relation for FROM: without those of subtransactions that were rolled back, each
 * with its transaction's commit LSN and time, wherever these are told (`runtime/staging/staged-commit.ts`); rows before
 * updates only for a target that wants them. `_source` tells a row from all others, whenever it is read.
 */
export function stagedChanges(
  files: readonly (ChangesFile & { localPath: string })[],
  { stored }: Pick<TargetTable, "stored">,
): string {
  const groups = new Map<string, { select: string; paths: string[] }>();
  for (const { transaction, ordinalEnd, beforeImages, localPath } of files) {
    const conditions = ordinalEnd === undefined ? [] : [`_ordinal < ${ordinalEnd}`];
    if (beforeImages && !stored.options.beforeImage) conditions.push(`_op <> ${changeOp.beforeImage}`);
    const select = transaction === undefined && conditions.length === 0 ? "" : selectRows(transaction);
    const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
    const key = `${select}${where}`;
    const group = groups.get(key) ?? { select, paths: [] };
    groups.set(key, group);
    group.paths.push(localPath);
  }
  let first = 0;
  const parts = [...groups].map(([key, { select, paths }]) => {
    const where = key.slice(select.length);
    const source = `((${first} + file_index::BIGINT) << 32) + file_row_number AS _source`;
    first += paths.length;
    return `SELECT ${select === "" ? "*" : select}, ${source} FROM ${parquet(paths)}${where}`;
  });
  return `(${parts.join(" UNION ALL BY NAME ")})`;
}

function selectRows(transaction: ChangesFile["transaction"]): string {
  if (transaction === undefined) return "*";
  const { commitLsn, commitTimeMicros } = transaction;
  return `* REPLACE (${commitLsn}::BIGINT AS _commit_lsn, make_timestamp(${commitTimeMicros}::BIGINT) AS _commit_time)`;
}

/** Order of all changes: (commit LSN, ordinal). */
const order = "(_commit_lsn::HUGEINT << 64) + _ordinal";

/**
 * Makes a temporary table of changes: `_op`, the target's columns, `_position` (their order); `withCommit`: also
 * `_commit_lsn`, `_ordinal` and `_commit_time` as a TIMESTAMPTZ.
 */
export async function loadChanges(
  session: DuckDbSession,
  target: TargetTable,
  changes: string,
  table: string,
  withCommit: boolean,
): Promise<void> {
  const commit = withCommit ? ", _commit_lsn, _ordinal, _commit_time::TIMESTAMPTZ AS _commit_time" : "";
  await session.run(
    `CREATE OR REPLACE TEMP TABLE ${table} AS
     SELECT _op, ${projection(target)}, ${order} AS _position${commit} FROM ${changes}`,
  );
}

/**
 * Makes a temporary table of changes as far as their keys: `_op`, the key's columns, `_position` (their order), and
 * `_source`, by which the rest is read.
 */
export async function loadKeys(
  session: DuckDbSession,
  target: TargetTable,
  changes: string,
  table: string,
): Promise<void> {
  const keys = projection(target, keyColumns(target.schema));
  await session.run(
    `CREATE OR REPLACE TEMP TABLE ${table} AS SELECT _op, ${keys}, ${order} AS _position, _source FROM ${changes}`,
  );
}

/** Whether any of the changes has values that were not sent. */
export async function hasUnchanged(session: DuckDbSession, changes: string): Promise<boolean> {
  const [{ unchanged }] = await session.rows<{ unchanged: bigint }>(
    `SELECT count(_unchanged) AS unchanged FROM ${changes}`,
  );
  return unchanged > 0n;
}

import type { ChangesFile } from "./apply-plan";
import { parquet } from "./duckdb-session";

/**
 * The rows of files of changes as one relation for FROM: without those of subtransactions that were rolled back, each
 * with its transaction's commit LSN and time, wherever these are told (`runtime/staging/staged-commit.ts`).
 */
export function stagedChanges(files: readonly (ChangesFile & { localPath: string })[]): string {
  const groups = new Map<string, { select: string; paths: string[] }>();
  for (const { transaction, ordinalEnd, localPath } of files) {
    const select = transaction === undefined && ordinalEnd === undefined ? "" : selectRows(transaction);
    const where = ordinalEnd === undefined ? "" : ` WHERE _ordinal < ${ordinalEnd}`;
    const key = `${select}${where}`;
    const group = groups.get(key) ?? { select, paths: [] };
    groups.set(key, group);
    group.paths.push(localPath);
  }
  if (groups.size === 1 && groups.has("")) return parquet(files.map((file) => file.localPath));
  const parts = [...groups].map(([key, { select, paths }]) => {
    const where = key.slice(select.length);
    return `SELECT ${select === "" ? "*" : select} FROM ${parquet(paths)}${where}`;
  });
  return `(${parts.join(" UNION ALL BY NAME ")})`;
}

function selectRows(transaction: ChangesFile["transaction"]): string {
  if (transaction === undefined) return "*";
  const { commitLsn, commitTimeMicros } = transaction;
  return `* REPLACE (${commitLsn}::BIGINT AS _commit_lsn, make_timestamp(${commitTimeMicros}::BIGINT) AS _commit_time)`;
}

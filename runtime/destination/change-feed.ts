import type { ColumnSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import type { Action } from "./delta/actions";
import { changeDataFolder } from "./delta/vacuum";
import type { DuckDbSession } from "./duckdb-session";
import { keyNames, sameKey } from "./keyed-changes";
import { fileRowsQuery } from "./live-rows";
import { logPath, writeTableFiles } from "./partitioned-files";
import { isWidening } from "./schema-evolution";
import { type TargetTable, targetColumns } from "./target-table";
import { multisetDifference, sameValues } from "./value-identity";
import type { WorkingTable } from "./working-table";

/** What readers of the feed see of a commit. */
export type ChangeFeed =
  /** what the commit's add and remove actions say by themselves: rows only added, or whole files only removed */
  | { kind: "derived" }
  /** rows were written anew, and are the same as before */
  | { kind: "nothing" }
  | { kind: "written"; actions: Action[] };

/**
 * The net change of a batch, as files of the change data feed (Delta protocol, "Add CDC File" and "Change Data Files"):
 * the rows that it takes away from the table's newest version against those that it adds, whatever led there. Rows that
 * are the same on both sides aren't in it. With a key both sides are matched by it; else a change is a delete and an
 * insert. The rows of before must be this source table's.
 */
export async function writeChangeFeed(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
): Promise<ChangeFeed> {
  const { before, after } = await working.changedRows();
  if (before.length === 0) return { kind: "derived" };
  const areWhole = before.every(({ rows, part }) => part === "all-but" && rows.length === 0);
  if (after.length === 0 && areWhole) return { kind: "derived" };
  const columns = targetColumns(target);
  if (working.hasOtherNames || !areComparable(working.committedTypes, columns)) return { kind: "derived" };
  const load = async (table: string, files: typeof before) => {
    const rows = await fileRowsQuery(session, files, columns);
    await session.run(`CREATE OR REPLACE TEMP TABLE ${table} AS ${rows}`);
  };
  await load("feed_before", before);
  await load("feed_after", after);
  const hasKey = keyNames(target).length > 0 && (target.mode === "scd1" || target.mode === "softDelete");
  const query = hasKey ? keyedChanges(target, columns) : keylessChanges(columns);
  await session.run(`CREATE OR REPLACE TEMP TABLE feed_changes AS ${query}`);
  await session.run("DROP TABLE feed_before; DROP TABLE feed_after");
  const place = { ...working.fileTarget(changeDataFolder, "cdc"), isFlat: true };
  const files = await writeTableFiles(session, "SELECT * FROM feed_changes", columns, place);
  await session.run("DROP TABLE feed_changes");
  if (files.length === 0) return { kind: "nothing" };
  failpoint("applier.after-change-data");
  const actions = files.map(({ path, partitionValues, bytes }) => ({
    cdc: { path: logPath(working.folder, path), partitionValues, size: bytes, dataChange: false as const },
  }));
  return { kind: "written", actions };
}

/** Pure: whether values of before, by physical name, can be read in the types of now. */
export function areComparable(before: ReadonlyMap<string, string>, columns: ColumnSchema[]): boolean {
  return columns.every(({ physicalName, deltaType }) => {
    const type = before.get(physicalName);
    return type === undefined || type === deltaType || isWidening(type, deltaType);
  });
}

function keyedChanges(target: TargetTable, columns: ColumnSchema[]): string {
  const keys = keyNames(target).join(", ");
  const side = (mine: string, others: string, update: string, alone: string) =>
    `SELECT m.*, CASE WHEN k._has THEN '${update}' ELSE '${alone}' END AS _change_type
     FROM (SELECT * FROM ${mine} m ANTI JOIN ${others} o ON ${sameValues(columns, "m", "o")}) m
     LEFT JOIN (SELECT DISTINCT ${keys}, true AS _has FROM ${others}) k ON ${sameKey(target, "m", "k")}`;
  return `${side("feed_before", "feed_after", "update_preimage", "delete")}
    UNION ALL ${side("feed_after", "feed_before", "update_postimage", "insert")}`;
}

function keylessChanges(columns: ColumnSchema[]): string {
  const side = (mine: string, others: string, type: string) =>
    `SELECT *, '${type}' AS _change_type FROM (${multisetDifference(columns, mine, others)})`;
  return `${side("feed_before", "feed_after", "delete")} UNION ALL ${side("feed_after", "feed_before", "insert")}`;
}

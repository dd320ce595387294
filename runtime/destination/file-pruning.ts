import { type ColumnSchema, keyColumns } from "../change/table-schema";
import { duckDbType } from "./delta/table-metadata";
import { type DuckDbSession, literal } from "./duckdb-session";
import type { TargetTable } from "./target-table";
import type { WorkingTable } from "./working-table";

/** Below so many files looking at statistics costs more than looking into the files. */
const filesMin = 4;
const boundedTypes = /^(short|integer|long|date|timestamp|timestamp_ntz|string|decimal\(.*\))$/;

/**
 * The files that can hold rows with the keys of a relation, by the statistics of their key columns, or by their partition; all of them where
 * nothing is known.
 * @param keyOf the relation's column for a key column
 */
export async function candidateFiles(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  relation: string,
  keyOf: (column: ColumnSchema, index: number) => string,
): Promise<number[]> {
  const statistics = working.statistics();
  let candidates = working.paths.map((_, index) => index);
  if (candidates.length < filesMin) return candidates;
  const values = candidates.map((index) => {
    const stats = statistics[index];
    const partition = literal(JSON.stringify(working.file(index).partitionValues));
    return `(${index}, ${stats === null ? "NULL" : literal(stats)}, ${partition})`;
  });
  await session.run(
    `CREATE OR REPLACE TEMP TABLE file_stats AS SELECT * FROM (VALUES ${values.join(", ")}) v(file_index, stats, partition)`,
  );
  for (const [index, column] of keyColumns(target.schema).entries()) {
    if (!boundedTypes.test(column.deltaType)) continue;
    const path = column.physicalName.replaceAll("~", "~0").replaceAll("/", "~1");
    const bound = (end: "min" | "max") =>
      `TRY_CAST(coalesce(json_extract_string(partition, ${literal(`/${path}`)}),
         json_extract_string(stats, ${literal(`/${end}Values/${path}`)})) AS ${duckDbType(column.deltaType)})`;
    // Other writers cut timestamps down to milliseconds, the upper bound too.
    const high = column.deltaType.startsWith("timestamp") ? `${bound("max")} + INTERVAL 1 MILLISECOND` : bound("max");
    const key = keyOf(column, index);
    const found = await session.rows<{ file_index: number }>(
      `WITH ranges AS (SELECT file_index, ${bound("min")} AS low, ${high} AS high FROM file_stats),
         keys AS (SELECT DISTINCT ${key} AS key FROM ${relation})
       SELECT file_index FROM ranges WHERE low IS NULL OR high IS NULL OR EXISTS (SELECT 1 FROM keys WHERE key IS NULL)
       UNION SELECT file_index FROM ranges SEMI JOIN keys ON key BETWEEN low AND high`,
    );
    const possible = new Set(found.map((row) => row.file_index));
    candidates = candidates.filter((each) => possible.has(each));
  }
  await session.run("DROP TABLE file_stats");
  return candidates;
}

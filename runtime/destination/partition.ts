import type { DeltaType } from "../change/table-schema";
import { quoteIdentifier } from "../postgres/identifier";
import { duckDbType } from "./delta/table-metadata";
import { type DuckDbQueries, literal, parquet } from "./duckdb-session";
import { presentColumns } from "./parquet-file";

/**
 * Values of a file's rows in the partition columns, by physical name, as the log has them (Delta protocol, "Partition
 * Value Serialization"): texts; null for NULL, which an empty text means too. {} for a table without partitions.
 */
export type PartitionValues = Record<string, string | null>;

export interface TableFile {
  /** absolute */
  path: string;
  partitionValues: PartitionValues;
}

/** Types whose values every reader makes of their text alike; texts of binary, floating and points of time differ by engine. */
const partitionTypes = /^(string|boolean|date|short|integer|long|decimal\(.*\))$/;

export function canPartition(type: DeltaType): boolean {
  return partitionTypes.test(type);
}

/** Names the partition; equal for files of the same one. */
export function partitionKey(values: PartitionValues): string {
  return JSON.stringify(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Files as a relation, and the columns that it has: those that any of the files has, and the partition columns, whose
 * values are in the log alone. Its rows have `file_index` and `file_row_number` too.
 * @param types of the table's columns by physical name
 */
export async function filesRelation(
  session: DuckDbQueries,
  files: readonly TableFile[],
  types: ReadonlyMap<string, string>,
): Promise<{ source: string; present: Set<string> }> {
  const paths = files.map(({ path }) => path);
  const partition = [...new Set(files.flatMap(({ partitionValues }) => Object.keys(partitionValues)))];
  const stored = await presentColumns(session, paths);
  const source = parquet(paths);
  if (partition.length === 0) return { source, present: stored };
  const values = partition.map((physicalName) => {
    const texts = files.map(({ partitionValues }) => partitionValues[physicalName] || null);
    const list = texts.map((text) => (text === null ? "NULL" : literal(text))).join(", ");
    const type = duckDbType((types.get(physicalName) ?? "string") as DeltaType);
    return `([${list}]::VARCHAR[])[file_index::BIGINT + 1]::${type} AS ${quoteIdentifier(physicalName)}`;
  });
  const own = [...stored].filter((column) => !partition.includes(column)).map(quoteIdentifier);
  return {
    source: `(SELECT ${[...own, ...values, "file_index", "file_row_number"].join(", ")} FROM ${source})`,
    present: new Set([...stored, ...partition]),
  };
}

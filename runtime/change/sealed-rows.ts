import type { ColumnBuffer } from "./column-buffer";
import type { ParquetColumn } from "./parquet-schema";
import type { TableSchema } from "./table-schema";

/** Columns that stand in front of a change's own, in order. */
export const metaColumns = [
  { name: "_op", storage: "i8", type: "byte" },
  { name: "_commit_lsn", storage: "i64", type: "long" },
  { name: "_ordinal", storage: "i64", type: "long" },
  { name: "_commit_time", storage: "i64", type: "timestamp_ntz" },
  { name: "_unchanged", storage: "bytes", type: "string" },
] as const;

export interface SealedColumn extends ParquetColumn {
  buffer: ColumnBuffer;
}

/** Rows taken out of a spool; nobody writes to them any more. */
export interface SealedRows {
  schema: TableSchema;
  columns: SealedColumn[];
  rows: number;
  inserts: number;
  updates: number;
  deletes: number;
  /** of the source's messages, or of lists in memory where those are more */
  bytes: number;
  /** what the buffers take */
  memoryBytes: number;
  /** values staged as NULL because their type can't hold them, by column name */
  unrepresentable: Record<string, number>;
  /** rows before updates are among them, where the source has sent them */
  beforeImages: boolean;
}

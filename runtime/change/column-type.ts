import type { ColumnBuffer, Storage } from "./column-buffer";
import type { DeltaType } from "./table-schema";

/** Reads `source[start, end)`, a value's text form, into a row of the column. Text forms are those of pinned sessions. */
export type TextReader = (column: ColumnBuffer, row: number, source: Buffer, start: number, end: number) => void;
/** The same of a value's binary form (its type's send function). */
export type BinaryReader = TextReader;

/**
 * How a PostgreSQL type is kept in Delta, in memory, and read from the stream (text) and from a
 * copy (binary). A type without a binary reader is copied as its text form (`format('%s', …)`, its output function).
 */
export interface ColumnType {
  deltaType: DeltaType;
  storage: Storage;
  /** whether there is a Delta value for every value that PostgreSQL's type can have */
  holdsAll: boolean;
  readText: TextReader;
  readBinary: BinaryReader | null;
  /** length of every value's binary form; undefined when it varies */
  binaryBytes?: number;
  /** of `list`: how elements are kept and read */
  element?: ColumnType;
}

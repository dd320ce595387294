import type { SluiceError } from "../errors";
import { int32At } from "../postgres/message-bytes";
import { lengthBinary } from "../postgres/tuple-data";
import type { ColumnType } from "./column-type";
import { keyColumns, type TableSchema } from "./table-schema";
import { binaryHead, textHead, unrepresentableValue } from "./unrepresentable-value";

/** A located tuple of the stream whose value in this column can't be held. */
export function refusedTuple(
  schema: TableSchema,
  column: number,
  message: Buffer,
  offsets: Int32Array,
  lengths: Int32Array,
): SluiceError {
  const heads = Array.from(lengths, (length, index) => {
    const at = offsets[index];
    if (length < 0) return null;
    if (length < lengthBinary) return textHead(message, at, at + length);
    return binaryHead(schema.columns[index], message, at, at + length - lengthBinary);
  });
  return refused(schema, column, heads);
}

/** The same of a tuple of COPY BINARY, whose types without a binary form are text. */
export function refusedCopyRow(
  schema: TableSchema,
  types: readonly ColumnType[],
  column: number,
  row: Buffer,
  start: number,
): SluiceError {
  const heads: (string | null)[] = [];
  let at = start + 2;
  for (const [index, columnSchema] of schema.columns.entries()) {
    const length = int32At(row, at);
    at += 4;
    const isText = types[index].readBinary === null;
    if (length < 0) heads.push(null);
    else heads.push(isText ? textHead(row, at, at + length) : binaryHead(columnSchema, row, at, at + length));
    at += Math.max(length, 0);
  }
  return refused(schema, column, heads);
}

/** @param heads of every column's value */
function refused(schema: TableSchema, column: number, heads: (string | null)[]): SluiceError {
  const key = keyColumns(schema).map((one) => heads[schema.columns.indexOf(one)]);
  return unrepresentableValue(schema, schema.columns[column], heads[column] ?? "", key);
}

import { SluiceError } from "../errors";
import { type ColumnSchema, elementTypeOf, keyColumns, type TableSchema } from "./table-schema";

/** Thrown by a column's buffer that must not lose a value; the spool says which value of which row it was. */
export class UnrepresentableValue extends Error {}

const headMax = 80;

function head(text: string): string {
  return text.length > headMax ? `${text.slice(0, headMax)}…` : text;
}

/** A value's text form, as a message shows it. */
export function textHead(source: Buffer, start: number, end: number): string {
  return head(source.toString("utf8", start, Math.min(end, start + 4 * headMax)));
}

/** The same of its binary form (send function), for the types that are copied in binary. */
export function binaryHead(column: ColumnSchema, source: Buffer, start: number, end: number): string {
  const { deltaType } = column;
  switch (deltaType) {
    case "boolean":
      return source[start] === 1 ? "true" : "false";
    case "short":
      return String(source.readInt16BE(start));
    case "integer":
      return String(source.readInt32BE(start));
    case "long":
      return String(source.readBigInt64BE(start));
    case "float":
      return String(source.readFloatBE(start));
    case "double":
      return String(source.readDoubleBE(start));
    case "decimal(10,0)":
      // oid, or numeric(10, 0), whose binary form is longer.
      return end - start === 4 ? String(source.readUInt32BE(start)) : numericText(source, start);
    case "date":
      return dateText(source.readInt32BE(start));
    case "timestamp":
    case "timestamp_ntz":
      return timestampText(source.readBigInt64BE(start));
    case "binary":
      return head(source.toString("hex", start, Math.min(end, start + headMax)));
    case "string":
      return textHead(source, start, end);
    default: {
      const elementType = elementTypeOf(deltaType);
      if (elementType === null) return numericText(source, start);
      return arrayText({ ...column, deltaType: elementType }, source, start, end);
    }
  }
}

/** array_send, see array-value.ts; the elements of several dimensions in one row, behind their bounds. */
function arrayText(element: ColumnSchema, source: Buffer, start: number, end: number): string {
  const dimensions = source.readInt32BE(start);
  let bounds = "";
  let at = start + 12;
  for (let index = 0; index < dimensions; index++, at += 8) {
    const lower = source.readInt32BE(at + 4);
    bounds += `[${lower}:${lower + source.readInt32BE(at) - 1}]`;
  }
  const texts: string[] = [];
  for (let length = 0; at < end && length < headMax; ) {
    const bytes = source.readInt32BE(at);
    const text = bytes === -1 ? "NULL" : binaryHead(element, source, at + 4, at + 4 + bytes);
    at += 4 + Math.max(bytes, 0);
    length += text.length + 1;
    texts.push(text);
  }
  return head(`${/^(\[1:\d+\])?$/.test(bounds) ? "" : `${bounds}=`}{${texts.join(",")}}`);
}

/** numeric_send, see decimal.ts. */
function numericText(source: Buffer, start: number): string {
  const sign = source.readUInt16BE(start + 4);
  if (sign === 0xc000) return "NaN";
  if (sign === 0xd000) return "Infinity";
  if (sign === 0xf000) return "-Infinity";
  const count = source.readInt16BE(start);
  const weight = source.readInt16BE(start + 2);
  if (count === 0) return "0";
  const groups = Math.min(count, headMax / 4);
  const digit = (index: number) => (index < groups ? source.readUInt16BE(start + 8 + index * 2) : 0);
  const minus = sign === 0x4000 ? "-" : "";
  if (weight < -headMax / 4 || weight >= headMax / 4) return `${minus}${digit(0)}e${weight * 4}`;
  let whole = "";
  for (let index = 0; index <= weight; index++) whole += String(digit(index)).padStart(4, "0");
  let fraction = "0000".repeat(Math.max(0, -weight - 1));
  for (let index = Math.max(0, weight + 1); index < groups; index++) fraction += String(digit(index)).padStart(4, "0");
  fraction = fraction.replace(/0+$/, "");
  return head(`${minus}${whole.replace(/^0+(?=.)/, "") || "0"}${fraction === "" ? "" : `.${fraction}`}`);
}

const epochMs = Date.UTC(2000, 0, 1);

function dateText(days: number): string {
  if (days === 0x7fffffff) return "infinity";
  if (days === -0x80000000) return "-infinity";
  return isoText(epochMs + days * 86_400_000, 10) ?? `${days} days after 2000-01-01`;
}

function timestampText(micros: bigint): string {
  if (micros === 0x7fffffffffffffffn) return "infinity";
  if (micros === -0x8000000000000000n) return "-infinity";
  return isoText(epochMs + Number(micros) / 1000, 19) ?? `${micros} microseconds after 2000-01-01`;
}

/** Years before 1 as ISO 8601 counts them: -0043 is 44 BC. */
function isoText(ms: number, length: number): string | null {
  if (Math.abs(ms) > 8.64e15) return null;
  const text = new Date(ms).toISOString();
  const head = text.slice(0, length + (/^[+-]/.test(text) ? 3 : 0));
  return head.replace("T", " ").replace(/^\+0*/, "");
}

/**
 * @param value head of the value's text
 * @param key heads of the key columns' texts, in key order; null where the row doesn't tell
 */
export function unrepresentableValue(
  schema: TableSchema,
  column: ColumnSchema,
  value: string,
  key: (string | null)[],
): SluiceError {
  const keys = keyColumns(schema);
  const row =
    keys.length === 0 ? "" : `, in the row ${keys.map(({ name }, index) => `${name} = ${key[index]}`).join(", ")}`;
  const option =
    column.keyOrdinal !== null
      ? "leave the table out: a key can't be NULL"
      : 'set types.unrepresentable to "null" to carry it as NULL';
  const isUnconstrained = column.deltaType === "decimal(38,18)" && (column.baseType ?? column).typeModifier === -1;
  const isArray = elementTypeOf(column.deltaType) !== null;
  const asText = isUnconstrained
    ? ', or types.unconstrainedNumeric to "string"'
    : isArray
      ? ', or set types.arrays to "text"'
      : "";
  return new SluiceError(
    "unrepresentable",
    `${schema.schema}.${schema.name}: column ${column.name} (${column.typeName}) holds ${value}, which ${column.deltaType} can't${row}`,
    { remedy: `Correct the value at the source, or ${option}${asText}. The table is then copied again.` },
  );
}

/** @throws SluiceError `unrepresentable` when a row is larger than what memory was given for */
export function requireRowSize(schema: TableSchema, bytes: number, rowBytesMax: number): void {
  if (bytes <= rowBytesMax) return;
  throw new SluiceError(
    "unrepresentable",
    `${schema.schema}.${schema.name}: a row of ${bytes} bytes, more than batch.rowBytesMax (${rowBytesMax})`,
    {
      remedy:
        "Raise the gateway's batch.rowBytesMax (it takes up to eight times as much memory) and the applier's memoryBytesMax to four times as much, or make the row smaller. The table is then copied again.",
    },
  );
}

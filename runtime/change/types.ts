import type { TypeOptions } from "../config";
import { int16At, int32At } from "../postgres/message-bytes";
import { arrayType } from "./array-value";
import { writeDateBinary, writeDateText, writeTimestampBinary, writeTimestampText } from "./calendar";
import type { ColumnType, TextReader } from "./column-type";
import { writeDecimalBinary, writeDecimalText } from "./decimal";
import { moneyType } from "./money-type";
import { type ColumnSchema, elementTypeOf, type TableSchema } from "./table-schema";
import { floatOf, malformed, numberWithin, readHexText, readUuidText } from "./text-form";

const oid = {
  bool: 16,
  bytea: 17,
  int8: 20,
  int2: 21,
  int4: 23,
  text: 25,
  oid: 26,
  json: 114,
  float4: 700,
  float8: 701,
  money: 790,
  bpchar: 1042,
  varchar: 1043,
  date: 1082,
  timestamp: 1114,
  timestamptz: 1184,
  bit: 1560,
  varbit: 1562,
  numeric: 1700,
  uuid: 2950,
} as const;

const setBytes: TextReader = (column, row, source, start, end) => column.setBytes(row, source, start, end);

const wholeNumber: TextReader = (column, row, source, start, end) =>
  writeDecimalText(column, row, source, start, end, 19, 0);

const string: ColumnType = {
  deltaType: "string",
  storage: "bytes",
  holdsAll: true,
  readText: setBytes,
  readBinary: null,
};

/** Types whose binary form is their text form. */
const plainText: ColumnType = { ...string, readBinary: setBytes };

const binary: ColumnType = { ...string, deltaType: "binary" };

/** The one type table, by pg_type.oid; numeric's depends on its modifier. */
const fixed: Record<number, ColumnType> = {
  [oid.bool]: {
    binaryBytes: 1,
    deltaType: "boolean",
    storage: "i8",
    holdsAll: true,
    readText: (column, row, source, start, end) => {
      if (end - start !== 1 || (source[start] !== 116 && source[start] !== 102)) throw malformed(start, "boolean");
      column.setInteger(row, source[start] === 116 ? 1 : 0);
    },
    readBinary: (column, row, source, start) => {
      if (source[start] > 1) throw malformed(start, "boolean");
      column.setInteger(row, source[start]);
    },
  },
  [oid.int2]: {
    binaryBytes: 2,
    deltaType: "short",
    storage: "i16",
    holdsAll: true,
    readText: numberWithin(-32_768, 32_767),
    readBinary: (column, row, source, start) => column.setInteger(row, int16At(source, start)),
  },
  [oid.int4]: {
    binaryBytes: 4,
    deltaType: "integer",
    storage: "i32",
    holdsAll: true,
    readText: numberWithin(-2_147_483_648, 2_147_483_647),
    readBinary: (column, row, source, start) => column.setInteger(row, int32At(source, start)),
  },
  [oid.int8]: {
    binaryBytes: 8,
    deltaType: "long",
    storage: "i64",
    holdsAll: true,
    readText: wholeNumber,
    readBinary: (column, row, source, start) => {
      column.i32[row * 2] = int32At(source, start + 4);
      column.i32[row * 2 + 1] = int32At(source, start);
      column.markPresent(row);
    },
  },
  [oid.oid]: {
    binaryBytes: 4,
    deltaType: "decimal(10,0)",
    storage: "i64",
    holdsAll: true,
    readText: numberWithin(0, 4_294_967_295),
    readBinary: (column, row, source, start) => column.setInteger(row, source.readUInt32BE(start)),
  },
  [oid.float4]: {
    binaryBytes: 4,
    deltaType: "float",
    storage: "f32",
    holdsAll: true,
    readText: (column, row, source, start, end) => {
      column.f32[row] = floatOf(source, start, end);
      column.markPresent(row);
    },
    readBinary: (column, row, source, start) => {
      column.f32[row] = source.readFloatBE(start);
      column.markPresent(row);
    },
  },
  [oid.float8]: {
    binaryBytes: 8,
    deltaType: "double",
    storage: "f64",
    holdsAll: true,
    readText: (column, row, source, start, end) => {
      column.f64[row] = floatOf(source, start, end);
      column.markPresent(row);
    },
    readBinary: (column, row, source, start) => {
      column.f64[row] = source.readDoubleBE(start);
      column.markPresent(row);
    },
  },
  /** `moneyType` for others than 2 digits after the point */
  [oid.money]: moneyType(2),
  [oid.text]: plainText,
  [oid.varchar]: plainText,
  [oid.bpchar]: plainText,
  [oid.json]: plainText,
  [oid.bytea]: { ...binary, readText: readHexText, readBinary: setBytes },
  [oid.uuid]: { ...binary, readText: readUuidText, readBinary: setBytes, binaryBytes: 16 },
  // Its digits, so that bit strings of different lengths stay different.
  [oid.bit]: binary,
  [oid.varbit]: binary,
  [oid.date]: {
    binaryBytes: 4,
    deltaType: "date",
    storage: "i32",
    holdsAll: false,
    readText: writeDateText,
    readBinary: writeDateBinary,
  },
  [oid.timestamp]: {
    binaryBytes: 8,
    deltaType: "timestamp_ntz",
    storage: "i64",
    holdsAll: false,
    readText: writeTimestampText,
    readBinary: writeTimestampBinary,
  },
  [oid.timestamptz]: {
    binaryBytes: 8,
    deltaType: "timestamp",
    storage: "i64",
    holdsAll: false,
    readText: writeTimestampText,
    readBinary: writeTimestampBinary,
  },
};

/** A numeric without precision kept as a decimal: what is larger or finer is not representable. */
const unconstrained = { precision: 38, scale: 18 };

type UnconstrainedNumeric = TypeOptions["unconstrainedNumeric"];

/** atttypmod of numeric(p, s): ((p << 16) | (s & 0x7ff)) + 4, s signed since PostgreSQL 15. */
function numericType(typeModifier: number, unconstrainedNumeric: UnconstrainedNumeric): ColumnType {
  let { precision, scale } = unconstrained;
  if (typeModifier >= 4) {
    precision = ((typeModifier - 4) >> 16) & 0xffff;
    const field = (typeModifier - 4) & 0x7ff;
    scale = field >= 1024 ? field - 2048 : field;
    if (scale < 0) {
      precision -= scale;
      scale = 0;
    }
    precision = Math.max(precision, scale);
  } else if (unconstrainedNumeric === "string") return string;
  if (precision > 38) return string;
  const p = precision;
  const s = scale;
  return {
    deltaType: `decimal(${p},${s})`,
    storage: p <= 4 ? "i16" : p <= 9 ? "i32" : p <= 18 ? "i64" : "i128",
    holdsAll: false,
    readText: (column, row, source, start, end) => writeDecimalText(column, row, source, start, end, p, s),
    readBinary: (column, row, source, start, end) => writeDecimalBinary(column, row, source, start, end, p, s),
  };
}

/** @param baseTypeOid pg_type.oid, of the base type for a domain; any type that isn't in the table is kept as text */
export function typeOf(
  baseTypeOid: number,
  typeModifier: number,
  unconstrainedNumeric: UnconstrainedNumeric = "decimal",
): ColumnType {
  return baseTypeOid === oid.numeric ? numericType(typeModifier, unconstrainedNumeric) : (fixed[baseTypeOid] ?? string);
}

type SourceType = Pick<ColumnSchema, "typeOid" | "typeModifier" | "baseType" | "element" | "moneyDigits">;
type KeptChoices = Pick<TypeOptions, "unconstrainedNumeric" | "arrays">;

/** pg_type.oid of money, whose column schema says `moneyDigits` */
export const moneyOid = oid.money;

function typeOfSource(column: SourceType, { unconstrainedNumeric, arrays }: KeptChoices): ColumnType {
  const base = column.baseType ?? { oid: column.typeOid, typeModifier: column.typeModifier };
  const typeOfValue = (value: { oid: number; typeModifier: number }) =>
    value.oid === oid.money && column.moneyDigits !== undefined
      ? moneyType(column.moneyDigits)
      : typeOf(value.oid, value.typeModifier, unconstrainedNumeric);
  if (arrays === "text" || column.element === undefined) return typeOfValue(base);
  return arrayType(typeOfValue(column.element), column.element.delimiter);
}

/** The type of a column of a stored schema, which says how it is kept. */
export function typeOfColumn(column: ColumnSchema): ColumnType {
  const elementType = elementTypeOf(column.deltaType);
  return typeOfSource(column, {
    unconstrainedNumeric: (elementType ?? column.deltaType) === "string" ? "string" : "decimal",
    arrays: elementType === null ? "text" : "nested",
  });
}

/** How the options want a column kept. */
export function keptAs(column: SourceType, options: TypeOptions): Pick<ColumnSchema, "deltaType" | "unrepresentable"> {
  const { deltaType, holdsAll } = typeOfSource(column, options);
  return holdsAll || options.unrepresentable === "null" ? { deltaType } : { deltaType, unrepresentable: "stop" };
}

/** Whether a stream in binary form can be read of all of these columns. */
export function hasBinaryForm(columns: readonly ColumnSchema[]): boolean {
  return columns.every((column) => typeOfColumn(column).readBinary !== null);
}

/** Whether every column of a stored schema is kept as these options, and this version's type table, want it. */
export function isKeptAs(schema: Pick<TableSchema, "columns">, options: TypeOptions): boolean {
  return schema.columns.every((column) => {
    // A schema of a former version doesn't tell what elements are.
    if (options.arrays === "nested" && column.element === undefined && column.typeName.endsWith("[]")) return false;
    const wanted = keptAs(column, options);
    return wanted.deltaType === column.deltaType && wanted.unrepresentable === column.unrepresentable;
  });
}

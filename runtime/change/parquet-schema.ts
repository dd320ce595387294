import { type DeltaType, elementTypeOf } from "./table-schema";
import type { ThriftCompact } from "./thrift-compact";

/** A column of a Parquet file: a Delta type's, or a byte (which no table has). */
export interface ParquetColumn {
  name: string;
  type: DeltaType | "byte";
  /** a table's column has its attribute number */
  fieldId?: number;
}

/** Parquet's `Type`. */
export const physicalTypes = {
  boolean: 0,
  int32: 1,
  int64: 2,
  float: 4,
  double: 5,
  byteArray: 6,
  fixedLengthByteArray: 7,
} as const;

/** Parquet's `ConvertedType`: readers from before logical types know no other. */
const converted = {
  utf8: 0,
  list: 3,
  decimal: 5,
  date: 6,
  timestampMicros: 10,
  int8: 15,
  int16: 16,
  int32: 17,
  int64: 18,
};
const repetition = { optional: 1, repeated: 2 };

/** How the values of a column are kept (parquet.thrift, `SchemaElement`). */
export interface LeafType {
  physicalType: number;
  typeLength?: number;
  convertedType?: number;
  scale?: number;
  precision?: number;
  logicalType?: (thrift: ThriftCompact) => void;
}

const empty: Element = () => {};
const micros = (isUtc: boolean) => (thrift: ThriftCompact) =>
  thrift.struct(8, (timestamp) => timestamp.boolean(1, isUtc).struct(2, (unit) => unit.struct(2, empty)));
const integer = (bits: number) => (thrift: ThriftCompact) =>
  thrift.struct(10, (type) => type.i8(1, bits).boolean(2, true));

const leafTypes = {
  byte: { physicalType: physicalTypes.int32, convertedType: converted.int8, logicalType: integer(8) },
  short: { physicalType: physicalTypes.int32, convertedType: converted.int16, logicalType: integer(16) },
  integer: { physicalType: physicalTypes.int32, convertedType: converted.int32, logicalType: integer(32) },
  long: { physicalType: physicalTypes.int64, convertedType: converted.int64, logicalType: integer(64) },
  float: { physicalType: physicalTypes.float },
  double: { physicalType: physicalTypes.double },
  string: {
    physicalType: physicalTypes.byteArray,
    convertedType: converted.utf8,
    logicalType: (thrift) => thrift.struct(1, empty),
  },
  binary: { physicalType: physicalTypes.byteArray },
  boolean: { physicalType: physicalTypes.boolean },
  date: {
    physicalType: physicalTypes.int32,
    convertedType: converted.date,
    logicalType: (thrift) => thrift.struct(6, empty),
  },
  timestamp: {
    physicalType: physicalTypes.int64,
    convertedType: converted.timestampMicros,
    logicalType: micros(true),
  },
  timestamp_ntz: {
    physicalType: physicalTypes.int64,
    convertedType: converted.timestampMicros,
    logicalType: micros(false),
  },
} satisfies Record<string, LeafType>;

/** Of a column, or of the elements of its lists. */
export function leafTypeOf(type: string): LeafType {
  const name = elementTypeOf(type) ?? type;
  const decimal = /^decimal\((\d+),(\d+)\)$/.exec(name);
  if (decimal !== null) return decimalType(Number(decimal[1]), Number(decimal[2]));
  return leafTypes[name as keyof typeof leafTypes];
}

function decimalType(precision: number, scale: number): LeafType {
  const { int32, int64, fixedLengthByteArray } = physicalTypes;
  return {
    physicalType: precision <= 9 ? int32 : precision <= 18 ? int64 : fixedLengthByteArray,
    typeLength: precision <= 18 ? undefined : 16,
    convertedType: converted.decimal,
    scale,
    precision,
    logicalType: (thrift) => thrift.struct(5, (type) => type.i32(1, scale).i32(2, precision)),
  };
}

/** The names on the way to the values. */
export function pathOf({ name, type }: ParquetColumn): string[] {
  return elementTypeOf(type) === null ? [name] : [name, "list", "element"];
}

type Element = (thrift: ThriftCompact) => void;

/** The tree of columns, depth first, as `SchemaElement`s. */
export function schemaElements(columns: readonly ParquetColumn[]): Element[] {
  const root: Element = (thrift) => thrift.binary(4, "rows").i32(5, columns.length);
  return [root, ...columns.flatMap(columnElements)];
}

function columnElements({ name, type, fieldId }: ParquetColumn): Element[] {
  const { optional, repeated } = repetition;
  const leaf = (leafName: string, id?: number): Element => {
    const { physicalType, typeLength, convertedType, scale, precision, logicalType } = leafTypeOf(type);
    return (thrift) => {
      thrift.i32(1, physicalType).i32(2, typeLength).i32(3, optional).binary(4, leafName);
      thrift.i32(6, convertedType).i32(7, scale).i32(8, precision).i32(9, id);
      if (logicalType !== undefined) thrift.struct(10, logicalType);
    };
  };
  if (elementTypeOf(type) === null) return [leaf(name, fieldId)];
  const list: Element = (thrift) => {
    thrift.i32(3, optional).binary(4, name).i32(5, 1).i32(6, converted.list).i32(9, fieldId);
    thrift.struct(10, (logical) => logical.struct(3, empty));
  };
  const group: Element = (thrift) => thrift.i32(3, repeated).binary(4, "list").i32(5, 1);
  return [list, group, leaf("element")];
}

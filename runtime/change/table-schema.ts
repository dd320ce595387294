import { z } from "zod";

/**
 * Delta primitive types that a column of ours can have (Delta protocol, "Primitive Types"):
 * short, integer, long, decimal(p,s), float, double, string, binary, boolean, date, timestamp_ntz, timestamp.
 */
const primitiveTypeSchema = z.union([
  z.enum([
    "short",
    "integer",
    "long",
    "float",
    "double",
    "string",
    "binary",
    "boolean",
    "date",
    "timestamp_ntz",
    "timestamp",
  ]),
  z.templateLiteral(["decimal(", z.int(), ",", z.int(), ")"]),
]);
export type PrimitiveType = z.infer<typeof primitiveTypeSchema>;

/** Also `array<primitive>`, whose elements may be NULL (Delta protocol, "Array Type", containsNull true). */
export const deltaTypeSchema = z.union([primitiveTypeSchema, z.templateLiteral(["array<", primitiveTypeSchema, ">"])]);
export type DeltaType = z.infer<typeof deltaTypeSchema>;

/** Of `array<T>` T, of any other type null. */
export function elementTypeOf(type: string): PrimitiveType | null {
  return type.startsWith("array<") ? (type.slice(6, -1) as PrimitiveType) : null;
}

export const columnSchema = z.strictObject({
  /** pg_attribute.attnum: what a column is, whatever it is called; never used again after a drop */
  attributeNumber: z.int().min(1),
  name: z.string(),
  /** its name in every Parquet file of ours, and Delta's columnMapping physicalName: `c<attributeNumber>` */
  physicalName: z.string(),
  /** pg_attribute.atttypid and atttypmod (-1 when there is none), as a RELATION message has them */
  typeOid: z.int(),
  typeModifier: z.int(),
  /** of a domain: the type under it, whose values they are */
  baseType: z.strictObject({ oid: z.int(), typeModifier: z.int() }).optional(),
  /** of an array (of a domain over one too): its elements' type, under any domain, with the modifier that holds for them */
  element: z
    .strictObject({
      oid: z.int(),
      typeModifier: z.int(),
      /** between elements in text form, where it isn't a comma (pg_type.typdelim) */
      delimiter: z.string().length(1).optional(),
    })
    .optional(),
  /** of money, and of arrays of it: digits after the point by the server's lc_monetary, where they aren't 2 */
  moneyDigits: z.int().min(0).optional(),
  /** format_type(), for messages */
  typeName: z.string(),
  deltaType: deltaTypeSchema,
  /** what becomes of a value that `deltaType` can't hold: absent: NULL, counted; in a key it stops the table anyway */
  unrepresentable: z.literal("stop").optional(),
  /** 1-based position in the key that rows are merged by, or null */
  keyOrdinal: z.int().min(1).nullable(),
});
export type ColumnSchema = z.infer<typeof columnSchema>;

/**
 * What of the catalog is not a column, and tells later what has been done to the table since. `null`: unknown, by which
 * nothing can be proven.
 */
export const tableOriginSchema = z.strictObject({
  /** pg_class.relfilenode, of a partitioned table the sum of its partitions': another one means that all rows were written anew */
  fileNode: z.int().nullable(),
  /** pg_constraint.oid of the primary key, 0 when there is none; another one means another key */
  primaryKeyOid: z.int().nullable(),
  /** pg_class.relnatts: a higher attribute number is a column added since */
  attributeCount: z.int(),
  /** pg_attribute.xmin by attribute number: another one means that the column's definition was touched */
  columnXids: z.record(z.string(), z.int()),
  /** the event triggers that announce every change of a table, when they were there and enabled */
  ddlCapture: z.string().nullable(),
});
export type TableOrigin = z.infer<typeof tableOriginSchema>;

/** A table as staged files hold it: immutable, numbered; a change of the source's table makes a new one. */
export const tableSchemaSchema = z.strictObject({
  version: z.literal(1),
  /** pg_class.oid as text: what a table is, whatever it is called */
  tableId: z.string().regex(/^\d+$/),
  /** 1, 2, … for each table */
  schemaId: z.int().min(1),
  schema: z.string(),
  name: z.string(),
  /** pg_class.relreplident: d default, f full, i index, n nothing */
  replicaIdentity: z.enum(["d", "f", "i", "n"]),
  /** in the order of pg_attribute; only published columns */
  columns: z.array(columnSchema),
  /** absent: unknown */
  origin: tableOriginSchema.optional(),
});
export type TableSchema = z.infer<typeof tableSchemaSchema>;

/** Columns of the merge key in key order; empty for a table without a key (its rows match as a whole, one for one). */
export function keyColumns(schema: TableSchema): ColumnSchema[] {
  return schema.columns
    .filter((column) => column.keyOrdinal !== null)
    .sort((a, b) => (a.keyOrdinal as number) - (b.keyOrdinal as number));
}

import type { AttributeDescription } from "../postgres/table-description";
import type { ColumnSchema, TableSchema } from "./table-schema";
import { isWidening } from "./type-widening";

/** What stands against a column that wasn't there; rows of before have NULL or `missing` in it if nothing does. */
export function newColumnProblem(
  known: TableSchema,
  attribute: AttributeDescription,
  rewritten: boolean,
): string | null {
  if (attribute.number <= (known.origin?.attributeCount ?? Number.POSITIVE_INFINITY)) {
    return "it was there before, but not published";
  }
  if (attribute.dropped) return "it was added and dropped meanwhile";
  if (attribute.missingDiffers) return "older rows have different values in it in different partitions";
  if (attribute.missing !== null) return null;
  return rewritten ? "the table was rewritten, so what older rows have in it isn't known" : null;
}

export function sameType(before: ColumnSchema, after: ColumnSchema): boolean {
  return (
    before.typeOid === after.typeOid &&
    before.typeModifier === after.typeModifier &&
    before.baseType?.oid === after.baseType?.oid &&
    before.baseType?.typeModifier === after.baseType?.typeModifier
  );
}

const textLike = new Set([25, 1043]);

/** Whether values of the types have the same text and binary form when their bytes in the table are the same. */
function sameForm(before: ColumnSchema, after: ColumnSchema): boolean {
  const from = before.baseType?.oid ?? before.typeOid;
  const to = after.baseType?.oid ?? after.typeOid;
  return from === to || (textLike.has(from) && textLike.has(to));
}

/**
 * What stands against a column's type as it is now.
 * @param isSuspect the table was rewritten and the column touched: by ALTER COLUMN … USING, perhaps
 */
export function typeProblem(
  before: ColumnSchema,
  after: ColumnSchema,
  rewritten: boolean,
  isSuspect: boolean,
  plain: boolean,
  followWidening: boolean,
): string | null {
  if (sameType(before, after)) {
    const isLearnt = before.element === undefined && after.element !== undefined;
    if (isLearnt && before.deltaType !== after.deltaType) return "it is known only now what its elements are";
    return isSuspect && !plain ? "its values may have been rewritten (ALTER COLUMN … USING)" : null;
  }
  const became = `${before.typeName} became ${after.typeName}`;
  const widens = isWidening(before.deltaType, after.deltaType);
  if (!rewritten) {
    return sameForm(before, after) && (widens || before.deltaType === after.deltaType) ? null : became;
  }
  if (!widens) return became;
  if (plain || followWidening) return null;
  return `${became}, and its values may have been rewritten (ALTER COLUMN … USING)`;
}

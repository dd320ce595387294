import type { TypeOptions } from "../config";
import { SluiceError } from "../errors";
import type { Relation } from "../postgres/pgoutput";
import type { AttributeDescription, TableDescription, TypeDescription } from "../postgres/table-description";
import { assertCarried, type ColumnType, columnOf } from "./catalog";
import { matchRelation } from "./relation-match";
import type { ColumnSchema, TableOrigin, TableSchema } from "./table-schema";
import { isWidening } from "./type-widening";
import { hasBinaryForm } from "./types";

export type NewSchema = Omit<TableSchema, "schemaId">;

/** Values that rows of before have in a new column, as text; columns not in it are NULL there. */
export interface FillValue {
  attributeNumber: number;
  text: string;
}

export type SchemaDecision =
  /** nothing of what staged rows depend on has changed */
  | { kind: "same" }
  /** the change can be followed: rows from here on have this schema */
  | { kind: "evolve"; schema: NewSchema; fill: FillValue[]; changes: string[] }
  /** it can't, or can't be told: the table is to be copied again */
  | { kind: "pending"; reason: string };

export interface ChangePolicy {
  types: TypeOptions;
  /** digits after the point of the source's money */
  moneyDigits: number;
  /**
   * Whether a wider type that rewrote the table is followed though ALTER COLUMN … USING, by which old values would be
   * others, leaves no trace. `false`: the table is copied again.
   */
  followWidening: boolean;
}

/** A table's columns at a certain moment. */
interface Moment {
  schema: string;
  name: string;
  replicaIdentity: TableSchema["replicaIdentity"];
  columns: { type: ColumnType; attribute: AttributeDescription; keyOrdinal: number | null }[];
  table: TableDescription;
  /** the description is of this very moment, not of a later one */
  exact: boolean;
  /** of the transaction that is streamed */
  xid: number;
}

/**
 * Pure: what a description that is of this very moment means: the catalog's when the stream has come that far, or one
 * that an event trigger sent in the stream. @param plain no USING, where that is known
 */
export function decideByDescription(
  known: TableSchema,
  table: TableDescription,
  policy: ChangePolicy,
  plain = false,
): SchemaDecision {
  const columns = describedColumns(table);
  const { schema, name, replicaIdentity } = table;
  return decide(known, { schema, name, replicaIdentity, columns, table, exact: true, xid: 0 }, policy, plain);
}

/** The columns that the publication sends. */
function describedColumns(table: TableDescription): Moment["columns"] {
  return table.attributes
    .filter((attribute) => attribute.published)
    .map((attribute) => {
      const { primaryKeyOrdinal, identityOrdinal } = attribute;
      const keyOrdinal = table.replicaIdentity === "i" ? identityOrdinal : primaryKeyOrdinal;
      return { attribute, type: { ...attribute, baseType: attribute.baseType ?? undefined }, keyOrdinal };
    });
}

/** Whether what the publication sends of the table can be streamed in binary form. */
export function isSentInBinary(table: TableDescription, types: TypeOptions): boolean {
  return hasBinaryForm(
    describedColumns(table).map(({ type, keyOrdinal }) => ({ ...columnOf(type, types, 2), keyOrdinal })),
  );
}

/**
 * Pure: what a RELATION message means, beside a description of the catalog that may be of later.
 * @param described the transaction it stands in; `isWhole`: all messages of the event triggers before it were heeded
 */
export function decideByRelation(
  known: TableSchema,
  relation: Relation,
  table: TableDescription,
  types: readonly (TypeDescription | null)[],
  described: { xid: number; isWhole: boolean },
  policy: ChangePolicy,
): SchemaDecision {
  const { xid, isWhole } = described;
  if (isWhole && isAnnounced(known, table) && hasShape(known, relation) && hasName(known, relation))
    return { kind: "same" };
  const match = matchRelation(known, relation, table, types);
  if (match.kind === "ambiguous") return { kind: "pending", reason: match.reason };
  const key = keyOf(known, relation, table, match.numbers);
  if (key === null) return { kind: "pending", reason: "its primary key may have changed" };
  const columns: Moment["columns"] = [];
  for (const [index, number] of match.numbers.entries()) {
    const { name, typeOid, typeModifier } = relation.columns[index];
    const type = types[index];
    const attribute = table.attributes.find((one) => one.number === number);
    if (type === null || attribute === undefined) return { kind: "pending", reason: "a type of its columns is gone" };
    const { typeName, baseType, element } = type;
    columns.push({
      attribute,
      type: { number, name, typeOid, typeModifier, typeName, baseType: baseType ?? undefined, element },
      keyOrdinal: key.get(number) ?? null,
    });
  }
  const { schema, name } = relation;
  const replicaIdentity = relation.replicaIdentity as TableSchema["replicaIdentity"];
  return decide(known, { schema, name, replicaIdentity, columns, table, exact: false, xid }, policy, false);
}

/** Every change since what is known came with a message in the stream, and was followed there. */
function isAnnounced(known: TableSchema, table: TableDescription): boolean {
  const capture = known.origin?.ddlCapture ?? null;
  return capture !== null && capture === table.ddlCapture;
}

function hasName(known: TableSchema, relation: Relation): boolean {
  return known.schema === relation.schema && known.name === relation.name;
}

/** Whether rows of the relation fit the schema: the same columns, types and, where it is told, key. */
export function hasShape(schema: TableSchema, relation: Relation): boolean {
  if (schema.columns.length !== relation.columns.length) return false;
  const keyIsTold = relation.replicaIdentity === "d" || relation.replicaIdentity === "i";
  return schema.columns.every((column, index) => {
    const found = relation.columns[index];
    return (
      column.name === found.name &&
      column.typeOid === found.typeOid &&
      column.typeModifier === found.typeModifier &&
      (!keyIsTold || (column.keyOrdinal !== null) === found.isKey)
    );
  });
}

/**
 * Key ordinals by attribute number; null when they can't be known. Identities DEFAULT and USING INDEX tell the key's
 * columns. FULL doesn't: there the primary key is the known one if it is still the same constraint.
 */
function keyOf(
  known: TableSchema,
  relation: Relation,
  table: TableDescription,
  numbers: readonly number[],
): Map<number, number> | null {
  const key = new Map<number, number>();
  const { replicaIdentity } = relation;
  if (replicaIdentity === "d" || replicaIdentity === "i") {
    const told = numbers.filter((_, index) => relation.columns[index].isKey);
    const now = table.attributes.flatMap((one) => {
      const ordinal = replicaIdentity === "i" ? one.identityOrdinal : one.primaryKeyOrdinal;
      return ordinal === null ? [] : [{ number: one.number, ordinal }];
    });
    const isNow = now.length === told.length && now.every(({ number }) => told.includes(number));
    for (const [index, number] of told.entries()) {
      key.set(number, isNow ? (now.find((one) => one.number === number)?.ordinal ?? index + 1) : index + 1);
    }
    return key;
  }
  const before = known.origin?.primaryKeyOid ?? null;
  if (before === null || before !== table.primaryKeyOid) return null;
  for (const { number, primaryKeyOrdinal } of table.attributes) {
    if (primaryKeyOrdinal !== null) key.set(number, primaryKeyOrdinal);
  }
  return key;
}

function decide(known: TableSchema, moment: Moment, policy: ChangePolicy, plain: boolean): SchemaDecision {
  const { table } = moment;
  const rewritten = known.origin === undefined || known.origin.fileNode !== table.fileNode;
  const columns: ColumnSchema[] = [];
  const fill: FillValue[] = [];
  const changes: string[] = [];
  for (const { attribute, type, keyOrdinal } of moment.columns) {
    const before = known.columns.find((column) => column.attributeNumber === attribute.number);
    const after = { ...columnOf(type, policy.types, policy.moneyDigits), keyOrdinal };
    if (before === undefined) {
      const problem = newColumnProblem(known, attribute, rewritten);
      if (problem !== null) return { kind: "pending", reason: `column ${attribute.name}: ${problem}` };
      if (attribute.missing !== null) fill.push({ attributeNumber: attribute.number, text: attribute.missing });
      columns.push(after);
      changes.push(`column ${after.name} ${after.typeName} added`);
      continue;
    }
    const isTouched = known.origin?.columnXids[String(attribute.number)] !== attribute.xid;
    const problem = typeProblem(before, after, rewritten, rewritten && isTouched, plain, policy);
    if (problem !== null) return { kind: "pending", reason: `column ${after.name}: ${problem}` };
    columns.push(sameType(before, after) ? { ...before, name: after.name, keyOrdinal } : after);
    if (before.name !== after.name) changes.push(`column ${before.name} renamed to ${after.name}`);
    if (before.typeName !== after.typeName) {
      changes.push(`column ${after.name}: ${before.typeName} became ${after.typeName}`);
    }
  }
  for (const { attributeNumber, name } of known.columns) {
    if (columns.some((column) => column.attributeNumber === attributeNumber)) continue;
    const attribute = table.attributes.find((one) => one.number === attributeNumber);
    if (attribute?.dropped !== true) return { kind: "pending", reason: `column ${name} isn't published any more` };
    changes.push(`column ${name} dropped`);
  }
  if (columns.length === 0) return { kind: "pending", reason: "it has no column left" };
  const keyNow = keyText(columns);
  if (keyText(known.columns) !== keyNow) changes.push(`key is (${keyNow})`);
  const { schema, name, replicaIdentity } = moment;
  if (known.schema !== schema || known.name !== name)
    changes.push(`${known.schema}.${known.name} is ${schema}.${name}`);
  if (known.replicaIdentity !== replicaIdentity) changes.push(`replica identity is ${replicaIdentity}`);
  const origin = originOf(known, moment, policy);
  const next: NewSchema = { version: 1, tableId: known.tableId, schema, name, replicaIdentity, columns, origin };
  // What is proven by a description of this moment is worth keeping, even when no column has changed.
  const isLearnt = moment.exact && !sameOrigin(known.origin, origin);
  if (changes.length === 0 && !isLearnt) return { kind: "same" };
  try {
    assertCarried(next);
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    return { kind: "pending", reason: error.message };
  }
  return { kind: "evolve", schema: next, fill, changes };
}

/** What stands against a column that wasn't there; rows of before have NULL or `missing` in it if nothing does. */
function newColumnProblem(known: TableSchema, attribute: AttributeDescription, rewritten: boolean): string | null {
  if (attribute.number <= (known.origin?.attributeCount ?? Number.POSITIVE_INFINITY)) {
    return "it was there before, but not published";
  }
  if (attribute.dropped) return "it was added and dropped meanwhile";
  if (attribute.missingDiffers) return "older rows have different values in it in different partitions";
  if (attribute.missing !== null) return null;
  return rewritten ? "the table was rewritten, so what older rows have in it isn't known" : null;
}

function sameType(before: ColumnSchema, after: ColumnSchema): boolean {
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

/** @param isSuspect the table was rewritten and the column touched: by ALTER COLUMN … USING, perhaps */
function typeProblem(
  before: ColumnSchema,
  after: ColumnSchema,
  rewritten: boolean,
  isSuspect: boolean,
  plain: boolean,
  policy: ChangePolicy,
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
  if (plain || policy.followWidening) return null;
  return `${became}, and its values may have been rewritten (ALTER COLUMN … USING)`;
}

function keyText(columns: readonly ColumnSchema[]): string {
  return columns
    .filter((column) => column.keyOrdinal !== null)
    .sort((a, b) => (a.keyOrdinal ?? 0) - (b.keyOrdinal ?? 0))
    .map((column) => column.physicalName)
    .join(", ");
}

/**
 * Of a description of a later moment only what hasn't changed since what is known is true of this moment too. With
 * `followWidening` a column's definition that isn't by a younger transaction than the one that is streamed is taken for
 * older than it, so that a followed rewrite doesn't make every later one suspect.
 */
function originOf(known: TableSchema, moment: Moment, policy: ChangePolicy): TableOrigin {
  const { table, exact } = moment;
  const before = known.origin;
  const numbers = moment.columns.map(({ attribute }) => attribute.number);
  const kept = <T>(old: T | null | undefined, now: T | null): T | null => (exact || old === now ? now : null);
  const keepsBytes = exact || (before !== undefined && before.fileNode === table.fileNode);
  const columnXids: Record<string, number> = {};
  for (const { attribute } of moment.columns) {
    const key = String(attribute.number);
    const isOlder = policy.followWidening && ((moment.xid - attribute.xid) | 0) >= 0;
    if (keepsBytes || isOlder || before?.columnXids[key] === attribute.xid) columnXids[key] = attribute.xid;
  }
  const allKnown = Object.keys(columnXids).length === numbers.length;
  return {
    fileNode: keepsBytes || (policy.followWidening && allKnown) ? table.fileNode : null,
    primaryKeyOid: kept(before?.primaryKeyOid, table.primaryKeyOid),
    attributeCount: exact ? table.attributeCount : Math.max(before?.attributeCount ?? 0, ...numbers),
    columnXids,
    ddlCapture: kept(before?.ddlCapture, table.ddlCapture),
  };
}

function sameOrigin(a: TableOrigin | undefined, b: TableOrigin): boolean {
  return (
    a !== undefined &&
    a.fileNode === b.fileNode &&
    a.primaryKeyOid === b.primaryKeyOid &&
    a.attributeCount === b.attributeCount &&
    a.ddlCapture === b.ddlCapture &&
    JSON.stringify(Object.entries(a.columnXids).sort()) === JSON.stringify(Object.entries(b.columnXids).sort())
  );
}

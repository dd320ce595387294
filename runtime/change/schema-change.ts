import type { TypeOptions } from "../config";
import { SluiceError } from "../errors";
import type { Relation } from "../postgres/pgoutput-handler";
import type { TableDescription, TypeDescription } from "../postgres/table-description";
import { assertCarried, columnOf } from "./catalog";
import { newColumnProblem, sameType, typeProblem } from "./column-change";
import { matchRelation } from "./relation-match";
import { describedColumns, type TableMoment } from "./table-moment";
import { originOf, sameOrigin } from "./table-origin";
import type { ColumnSchema, TableSchema } from "./table-schema";
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
  const columns: TableMoment["columns"] = [];
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

function decide(known: TableSchema, moment: TableMoment, policy: ChangePolicy, plain: boolean): SchemaDecision {
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
    const problem = typeProblem(before, after, rewritten, rewritten && isTouched, plain, policy.followWidening);
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
  const origin = originOf(known, moment, policy.followWidening);
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

function keyText(columns: readonly ColumnSchema[]): string {
  return columns
    .filter((column) => column.keyOrdinal !== null)
    .sort((a, b) => (a.keyOrdinal ?? 0) - (b.keyOrdinal ?? 0))
    .map((column) => column.physicalName)
    .join(", ");
}

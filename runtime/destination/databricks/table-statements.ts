import type { ColumnSchema } from "../../change/table-schema";
import { compareSchemas } from "../schema-evolution";
import { sqlName, sqlType } from "./sql-text";
import {
  type ColumnChange,
  clusterNumbers,
  columnsProperty,
  deltaProperties,
  type KnownColumns,
  keptProperties,
  ownProperties,
  propertyList,
  warehouseProperties,
} from "./warehouse-properties";
import { allColumns, type WarehouseTarget } from "./warehouse-target";

/** A table as the warehouse has it. */
export interface WarehouseColumns {
  known: KnownColumns;
  /** Delta types by name; null for a type that isn't written here */
  types: ReadonlyMap<string, string | null>;
}

/** Pure: the columns as they are, whatever was done of the change that was begun. */
export function settled({ known, types }: WarehouseColumns): KnownColumns["names"] {
  const { pending, names } = known;
  if (pending === null) return names;
  const { [pending.number]: _before, ...others } = names;
  switch (pending.kind) {
    case "add":
      return types.has(pending.name) ? { ...others, [pending.number]: pending.name } : others;
    case "drop":
      return types.has(pending.name) ? names : others;
    case "rename":
      return types.has(pending.to) ? { ...others, [pending.number]: pending.to } : names;
  }
}

export type SchemaStep =
  | { kind: "same" }
  /** statements of metadata alone, in order */
  | { kind: "alter"; changes: ColumnChange[] }
  /** all rows are written anew */
  | { kind: "rewrite" };

/**
 * Pure: how a table gets the target's columns. Metadata alone by column mapping, but for wider types, for values in a new
 * column of rows of before, and for names that columns take from each other.
 * @throws TypeChangeError when a column's new type doesn't hold all values of its old one
 */
export function schemaStep(
  columns: WarehouseColumns,
  target: WarehouseTarget,
  filled: ReadonlySet<number>,
): SchemaStep {
  const names = settled(columns);
  const wanted = allColumns(target);
  const before = new Map<string, string>();
  for (const { attributeNumber, physicalName } of wanted) {
    const name = names[attributeNumber];
    if (name !== undefined) before.set(physicalName, columns.types.get(name) ?? "unknown");
  }
  const { schema, name } = target.target.source;
  const { widened } = compareSchemas(before, { ...target.target.schema, schema, name, columns: wanted });
  const drops: ColumnChange[] = [];
  const renames: ColumnChange[] = [];
  const adds: ColumnChange[] = [];
  const numbers = new Set(wanted.map(({ attributeNumber }) => attributeNumber));
  const kept = new Set<string>();
  for (const [number, each] of Object.entries(names)) {
    if (numbers.has(Number(number))) kept.add(each.toLowerCase());
    else drops.push({ kind: "drop", number: Number(number), name: each });
  }
  let previous: string | null = null;
  let overlaps = false;
  for (const column of wanted) {
    const known = names[column.attributeNumber];
    const number = column.attributeNumber;
    if (known === undefined) {
      adds.push({ kind: "add", number, name: column.name, type: sqlType(column.deltaType), after: previous });
    } else if (known !== column.name) {
      overlaps ||= kept.has(column.name.toLowerCase());
      renames.push({ kind: "rename", number, name: known, to: column.name });
    }
    previous = column.name;
  }
  const { columnMapping } = target.target.stored.options;
  const isMapped = columnMapping || (drops.length === 0 && renames.length === 0);
  const hasFill = adds.some(({ number }) => filled.has(number));
  // All columns that it has may go at once: Delta keeps one.
  const isEmptied = drops.length > 0 && drops.length === Object.keys(names).length;
  if (widened.length > 0 || hasFill || overlaps || !isMapped || isEmptied) return { kind: "rewrite" };
  const changes = [...drops, ...renames, ...adds];
  return changes.length === 0 ? { kind: "same" } : { kind: "alter", changes };
}

export function alterColumn(table: string, change: ColumnChange): string {
  switch (change.kind) {
    case "add": {
      const place = change.after === null ? "FIRST" : `AFTER ${sqlName(change.after)}`;
      return `ALTER TABLE ${table} ADD COLUMNS (${sqlName(change.name)} ${change.type} ${place})`;
    }
    case "rename":
      return `ALTER TABLE ${table} RENAME COLUMN ${sqlName(change.name)} TO ${sqlName(change.to)}`;
    case "drop":
      return `ALTER TABLE ${table} DROP COLUMN ${sqlName(change.name)}`;
  }
}

export function afterChange(names: KnownColumns["names"], change: ColumnChange): KnownColumns["names"] {
  const { [change.number]: _before, ...others } = names;
  switch (change.kind) {
    case "add":
      return { ...others, [change.number]: change.name };
    case "rename":
      return { ...others, [change.number]: change.to };
    case "drop":
      return others;
  }
}

export function clusterStatement(target: WarehouseTarget): string {
  return `ALTER TABLE ${target.table} CLUSTER BY ${clusterList(target) ?? "NONE"}`;
}

function clusterList(target: WarehouseTarget): string | null {
  const numbers = clusterNumbers(target);
  const named = numbers.flatMap((number) => target.columns.find((column) => column.attributeNumber === number) ?? []);
  return named.length === 0 ? null : `(${named.map(({ name }) => sqlName(name)).join(", ")})`;
}

export interface ReplaceOptions {
  logId: string;
  position: string | null;
  epoch: string;
  guard: string;
  /** properties of before */
  previous: ReadonlyMap<string, string>;
}

/**
 * A table made anew with rows, in one commit with its position; readers have the old one until then.
 * @param rows a query of the table's own columns; null for none
 */
export function replaceStatement(target: WarehouseTarget, rows: string | null, options: ReplaceOptions): string {
  const { logId, position, epoch, guard, previous } = options;
  const properties = [
    ...keptProperties(previous),
    ...deltaProperties(target),
    ...ownProperties(target, logId),
    columnsProperty(target),
    [warehouseProperties.epoch, epoch] as [string, string],
    ...(position === null ? [] : ([[warehouseProperties.position, position]] as [string, string][])),
  ];
  const { partition } = target.target;
  const layout =
    partition.length > 0
      ? `\nPARTITIONED BY (${partition.map(({ name }) => sqlName(name)).join(", ")})`
      : clusterList(target) === null
        ? ""
        : `\nCLUSTER BY ${clusterList(target)}`;
  // An engine that sees no rows needn't look at the guard, so an empty table is that of a condition on it.
  const source = rows ?? `SELECT ${allColumns(target).map(nullAs).join(", ")}`;
  return `CREATE OR REPLACE TABLE ${target.table} USING DELTA${layout}
TBLPROPERTIES ${propertyList(properties)}
AS SELECT r.* FROM (
${source}
) r CROSS JOIN (${guard}) g WHERE g._token IS ${rows === null ? "" : "NOT "}NULL`;
}

const nullAs = (column: ColumnSchema) => `CAST(NULL AS ${sqlType(column.deltaType)}) AS ${sqlName(column.name)}`;

/** A query of the table's rows of now as the target has them. */
export function rewrittenRows(
  columns: WarehouseColumns,
  target: WarehouseTarget,
  fills: ReadonlyMap<number, string>,
): string {
  const names = settled(columns);
  const values = allColumns(target).map((column) => {
    const known = names[column.attributeNumber];
    const value = known === undefined ? (fills.get(column.attributeNumber) ?? "NULL") : sqlName("o", known);
    return `CAST(${value} AS ${sqlType(column.deltaType)}) AS ${sqlName(column.name)}`;
  });
  return `SELECT ${values.join(", ")} FROM ${target.table} o`;
}

import { z } from "zod";
import { defaultTableOptions } from "../../table-options";
import { ownerProperties } from "../delta/table-metadata";
import { type StoredOptions, storedOptionsSchema } from "../target-table";
import { sqlText } from "./sql-text";
import { allColumns, type WarehouseTarget } from "./warehouse-target";

/** Properties of ours beside those of every Delta table (`ownerProperties`). */
export const warehouseProperties = {
  /** which of the table's columns are which of the source's, and the change of a column that may be half done */
  columns: "sluice.columns",
  cluster: "sluice.cluster",
  position: "sluice.position",
  epoch: "sluice.epoch",
} as const;

const columnChangeSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("add"),
    number: z.int(),
    name: z.string(),
    type: z.string(),
    after: z.string().nullable(),
  }),
  z.object({ kind: z.literal("rename"), number: z.int(), name: z.string(), to: z.string() }),
  z.object({ kind: z.literal("drop"), number: z.int(), name: z.string() }),
]);
/** One statement, by which a column comes, goes or gets another name. */
export type ColumnChange = z.infer<typeof columnChangeSchema>;

const knownColumnsSchema = z.object({
  /** names by attribute number (those of ours are above 10,000) */
  names: z.record(z.string(), z.string()),
  /** it was begun; whether it is done is told by the table's columns */
  pending: columnChangeSchema.nullable(),
});
export type KnownColumns = z.infer<typeof knownColumnsSchema>;

export function parseColumns(text: string | undefined): KnownColumns | null {
  return text === undefined ? null : parseOrNull(knownColumnsSchema, text);
}

export function parseStored(properties: ReadonlyMap<string, string>, tableId: string): StoredOptions | null {
  if (properties.get(ownerProperties.table) !== tableId) return null;
  const text = properties.get(ownerProperties.options);
  return text === undefined ? { options: defaultTableOptions, columns: {} } : parseOrNull(storedOptionsSchema, text);
}

function parseOrNull<T>(schema: z.ZodType<T>, text: string): T | null {
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Settings of others that a table keeps when it is made anew. */
const kept =
  /^delta\.(logRetentionDuration|deletedFileRetentionDuration|targetFileSize|tuneFileSizesForRewrites|autoOptimize\..+|dataSkipping.+|checkpointInterval|checkpointPolicy)$/;

/** Attribute numbers of the columns that rows are clustered by. */
export function clusterNumbers({ target }: WarehouseTarget): number[] {
  const { options, columns } = target.stored;
  const present = new Set(target.schema.columns.map(({ attributeNumber }) => attributeNumber));
  return (options.clusterBy ?? []).flatMap((each) => columns[each]?.find((number) => present.has(number)) ?? []);
}

/** What Delta is told of a table by its options. */
export function deltaProperties({ target }: WarehouseTarget): [string, string][] {
  const { columnMapping, deletionVectors, changeDataFeed } = target.stored.options;
  return [
    ...(columnMapping ? ([["delta.columnMapping.mode", "name"]] as [string, string][]) : []),
    ["delta.enableDeletionVectors", String(deletionVectors)],
    ["delta.enableChangeDataFeed", String(changeDataFeed)],
  ];
}

/** Whose the table is, and by which options it was made. */
export function ownProperties(target: WarehouseTarget, logId: string): [string, string][] {
  const { source, schema, stored } = target.target;
  return [
    [ownerProperties.source, JSON.stringify([source.schema, source.name])],
    [ownerProperties.table, schema.tableId],
    [ownerProperties.log, logId],
    [ownerProperties.options, JSON.stringify(stored)],
    [warehouseProperties.cluster, JSON.stringify(clusterNumbers(target))],
  ];
}

export function columnsProperty(target: WarehouseTarget): [string, string] {
  const names = Object.fromEntries(allColumns(target).map(({ attributeNumber, name }) => [attributeNumber, name]));
  return [warehouseProperties.columns, JSON.stringify({ names, pending: null } satisfies KnownColumns)];
}

export function keptProperties(properties: ReadonlyMap<string, string>): [string, string][] {
  return [...properties].filter(([name]) => kept.test(name));
}

export function propertyList(properties: readonly [string, string][]): string {
  return `(${properties.map(([name, value]) => `${sqlText(name)} = ${sqlText(value)}`).join(", ")})`;
}

export function setProperties(table: string, properties: readonly [string, string][]): string {
  return `ALTER TABLE ${table} SET TBLPROPERTIES ${propertyList(properties)}`;
}

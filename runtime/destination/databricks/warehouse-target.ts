import { type ColumnSchema, elementTypeOf, keyColumns } from "../../change/table-schema";
import { SluiceError } from "../../errors";
import { isFloating } from "../parquet-file";
import { type TargetTable, targetColumns } from "../target-table";
import { sqlName, sqlType } from "./sql-text";

/**
 * A target table as statements for a warehouse name it. In every relation on the way to the table the source's columns
 * have the names that they have in staged files, which no name of ours is; the table's own names are the source's.
 */
export interface WarehouseTarget {
  target: TargetTable;
  /** the table's full name, quoted */
  table: string;
  /** the source's columns that the table has */
  columns: ColumnSchema[];
  meta: ColumnSchema[];
  key: ColumnSchema[];
  hashed: ReadonlySet<number>;
}

/** Types whose text is the same to DuckDB and Spark. */
const writtenAlike = /^(short|integer|long|decimal\(.*\)|boolean|string|date|binary)$/;

/** @throws SluiceError `config` when a warehouse can't hold what the options want of the table */
export function warehouseTarget(target: TargetTable, table: string): WarehouseTarget {
  const { columns } = target.schema;
  const label = `${target.source.schema}.${target.source.name}`;
  const { options, columns: meant } = target.stored;
  const hashed = new Set((options.hash ?? []).flatMap((each) => meant[each] ?? []));
  const seen = new Set<string>();
  for (const { name } of [...columns, ...target.meta]) {
    const lower = name.toLowerCase();
    if (seen.has(lower)) {
      throw new SluiceError("config", `table ${label}: two columns are called ${lower}, but for upper and lower case`, {
        remedy: "Rename or exclude one of them: to a warehouse they are one.",
      });
    }
    seen.add(lower);
  }
  return { target, table, columns, meta: target.meta, key: keyColumns(target.schema), hashed };
}

/** Its name in staged files, and in every relation of ours. */
export function staged({ attributeNumber }: Pick<ColumnSchema, "attributeNumber">): string {
  return `c${attributeNumber}`;
}

/** A staged value as the table has it. `source`: the column as the file's own schema has it. */
export function stagedValue(target: WarehouseTarget, column: ColumnSchema, source: ColumnSchema): string {
  let value = staged(column);
  if (target.hashed.has(column.attributeNumber)) {
    if (!writtenAlike.test(source.deltaType)) {
      const { schema, name } = target.target.source;
      throw new SluiceError(
        "config",
        `table ${schema}.${name}: column ${column.name} (${source.deltaType}) can't be hashed`,
        {
          remedy: "A warehouse hashes text, whole numbers, decimals, dates, booleans and binary: exclude the column.",
        },
      );
    }
    value = `sha2(${source.deltaType === "binary" ? value : `CAST(${value} AS STRING)`}, 256)`;
  }
  const isPartition = target.target.partition.some(({ attributeNumber }) => attributeNumber === column.attributeNumber);
  // To Delta the empty text of a partition is NULL.
  if (isPartition && column.deltaType === "string") value = `nullif(${value}, '')`;
  return `CAST(${value} AS ${sqlType(column.deltaType)})`;
}

export function allColumns({ target }: WarehouseTarget): ColumnSchema[] {
  return targetColumns(target);
}

/** A column of the table, by an alias. */
export function own(alias: string, column: Pick<ColumnSchema, "name">): string {
  return sqlName(alias, column.name);
}

export function isMeta({ attributeNumber }: Pick<ColumnSchema, "attributeNumber">): boolean {
  return attributeNumber > 10_000;
}

/** A condition that a row of the table, by alias, has the key of a relation's row. */
export function sameKey({ key }: WarehouseTarget, tableAlias: string, alias: string): string {
  return key.map((column) => `${own(tableAlias, column)} <=> ${alias}.${staged(column)}`).join(" AND ");
}

export function keyList({ key }: WarehouseTarget, alias = ""): string {
  return key.map((column) => `${alias}${staged(column)}`).join(", ");
}

/** The table's own rows as a relation of ours: the source's columns under their staged names. */
export function ownRows({ columns, table }: WarehouseTarget, condition = "true"): string {
  const named = columns.map((column) => `${own("o", column)} AS ${staged(column)}`);
  return `SELECT ${named.join(", ")} FROM ${table} o WHERE ${condition}`;
}

/** Expressions by which two values are one: zero and minus zero are equal to SQL, yet two values. */
export function identity(column: ColumnSchema, expression: string): string[] {
  if (!isFloating(column)) return [expression];
  const isArray = elementTypeOf(column.deltaType) !== null;
  return isArray ? [`CAST(${expression} AS STRING)`] : [expression, `CAST(${expression} AS STRING)`];
}

/** A condition that two values, by their expressions, are one. */
export function sameValue(column: ColumnSchema, one: string, other: string): string {
  const theirs = identity(column, other);
  return identity(column, one)
    .map((mine, at) => `${mine} <=> ${theirs[at]}`)
    .join(" AND ");
}

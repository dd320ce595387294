import { z } from "zod";
import { type ColumnSchema, type DeltaType, elementTypeOf, keyColumns, type TableSchema } from "../change/table-schema";
import { SluiceError } from "../errors";
import { quoteIdentifier } from "../postgres/identifier";
import { placeOf, type TableMode, type TableOptions, tableOptionsSchema } from "../table-options";
import { duckDbType } from "./delta/table-metadata";
import { name } from "./parquet-file";
import { canPartition } from "./partition";

/** A source's table as the destination has it, by the options of the pipeline. */
export interface TargetTable {
  source: { schema: string; name: string };
  /** its place, and the source's columns that it has, with types and key as they are there */
  schema: TableSchema;
  mode: TableMode;
  /** of the source's columns those by which rows are in files apart, in order */
  partition: ColumnSchema[];
  /** those that compaction puts rows in the order of; without those that are dropped since */
  clustering: ColumnSchema[];
  /** columns of ours after those of the source */
  meta: ColumnSchema[];
  /** SQL over a staged row that gives a column, by physical name, where it isn't the staged value under that name */
  expressions: ReadonlyMap<string, string>;
  /** names that columns have in staged files, by physical name */
  stagedNames: ReadonlyMap<string, string>;
  /** staged files of a snapshot can be files of the table as they are */
  isWhole: boolean;
  stored: StoredOptions;
}

/** What a table's properties remember: the options that its rows were made by, and which columns their names meant. */
export const storedOptionsSchema = z.object({
  options: tableOptionsSchema.omit({ schema: true, name: true }),
  /** attribute numbers by the names that the options use; several when a column got the former name of another */
  columns: z.record(z.string(), z.array(z.int())),
});
export type StoredOptions = z.infer<typeof storedOptionsSchema>;

const metaTypes = {
  _op: "string",
  _commit_lsn: "long",
  _ordinal: "long",
  _commit_time: "timestamp",
  _deleted_at: "timestamp",
  valid_from: "timestamp",
  valid_to: "timestamp",
  is_current: "boolean",
} as const satisfies Record<string, DeltaType>;
type MetaName = keyof typeof metaTypes;

/** What readers add to a row of the feed (protocol, "Change Data Files"). */
const feedNames = ["_change_type", "_commit_version", "_commit_timestamp"];

/** Delta takes them in no name of a table without column mapping. */
const namelessCharacters = /[ ,;{}()\n\t=]/;
/** What queries of ours call columns beside those of the table, and DuckDB's row numbers. */
const queryNames =
  /^(_(op|position|source|unchanged|commit_lsn|ordinal|commit_time|row|known|found|order|life|begins|ends|number|before|moved|starts|segment|previous|has|value|balance|change_type)|_(value|key|sign)\d+|file_index|file_row_number|rowid)$/i;

/** Beyond the attribute numbers of PostgreSQL, of which there are 1,600. */
const firstMetaId = 10_001;

function metaNames({ mode, metadataColumns }: TableOptions): MetaName[] {
  const commit: MetaName[] = metadataColumns ? ["_commit_lsn", "_commit_time"] : [];
  switch (mode) {
    case "scd1":
      return commit;
    case "softDelete":
      return ["_deleted_at", ...commit];
    case "append":
      return ["_op", "_commit_lsn", "_ordinal", "_commit_time"];
    case "scd2":
      return ["valid_from", "valid_to", "is_current", "_commit_lsn", "_ordinal"];
  }
}

function metaColumn(metaName: MetaName): ColumnSchema {
  return {
    attributeNumber: firstMetaId + Object.keys(metaTypes).indexOf(metaName),
    name: metaName,
    physicalName: metaName,
    typeOid: 0,
    typeModifier: -1,
    typeName: metaTypes[metaName],
    deltaType: metaTypes[metaName],
    keyOrdinal: null,
  };
}

/**
 * `remembered`: which columns the options' names meant so far: a column that was renamed at the source is still excluded
 * or hashed.
 * @throws SluiceError `config` when the options don't fit the table
 */
export function targetTable(
  schema: TableSchema,
  options: TableOptions,
  remembered: StoredOptions["columns"] = {},
): TargetTable {
  const label = `${schema.schema}.${schema.name}`;
  const meant: StoredOptions["columns"] = {};
  const numbers = (names: string[] | undefined): Set<number> => {
    for (const each of names ?? []) {
      const found = schema.columns.find((column) => column.name === each)?.attributeNumber;
      const known = remembered[each] ?? [];
      if (found === undefined && known.length === 0) {
        throw misfit(`table ${label} has no column ${each}`, "Name a column of the table.");
      }
      meant[each] = [...new Set(found === undefined ? known : [...known, found])];
    }
    return new Set((names ?? []).flatMap((each) => meant[each]));
  };
  const included = options.include === undefined ? null : numbers(options.include);
  const excluded = numbers(options.exclude);
  const hashed = numbers(options.hash);
  for (const list of [options.key, options.partitionBy, options.clusterBy]) numbers(list);
  const key = (options.key ?? []).map((each) => meant[each][0]);
  const expressions = new Map<string, string>();
  const stagedNames = new Map<string, string>();
  const columns: ColumnSchema[] = [];
  for (const column of schema.columns) {
    const { attributeNumber } = column;
    const isLeftOut = excluded.has(attributeNumber) || (included !== null && !included.has(attributeNumber));
    const keyOrdinal = key.length === 0 ? column.keyOrdinal : key.indexOf(attributeNumber) + 1 || null;
    if (isLeftOut) {
      if (keyOrdinal === null) continue;
      throw misfit(`table ${label}: column ${column.name} is in its key`, "Keep it, or hash it.");
    }
    const isHashed = hashed.has(attributeNumber);
    if (elementTypeOf(column.deltaType) !== null && (isHashed || key.includes(attributeNumber))) {
      // As a list it has no text of its own, and doesn't tell all arrays of the source apart.
      throw misfit(
        `table ${label}: column ${column.name} is an array, which can't be ${isHashed ? "hashed" : "a key by option"}`,
        'Choose another column, or the gateway\'s types.arrays "text".',
      );
    }
    const physicalName = options.columnMapping ? column.physicalName : column.name;
    stagedNames.set(physicalName, column.physicalName);
    if (isHashed) expressions.set(physicalName, `sha256(${textOf(column)})`);
    else if (physicalName !== column.physicalName) expressions.set(physicalName, name(column));
    columns.push({ ...column, physicalName, keyOrdinal, ...(isHashed ? { deltaType: "string" } : {}) });
  }
  const meta = metaNames(options).map(metaColumn);
  const target = { ...schema, ...placeOf(schema, options), columns };
  checkKey(schema, target, options);
  checkNames(label, columns, meta, options.changeDataFeed);
  if (!options.columnMapping) checkOwnNames(label, columns);
  const partition = partitionColumns(label, columns, options.partitionBy ?? [], meant);
  checkPartition(label, columns, partition);
  const clustering = (options.clusterBy ?? []).flatMap(
    (each) => columns.find(({ attributeNumber }) => meant[each].includes(attributeNumber)) ?? [],
  );
  checkClustering(label, clustering);
  for (const column of partition) {
    const text = expressions.get(column.physicalName) ?? name(column);
    // To Delta the empty text of a partition is NULL.
    if (column.deltaType === "string") expressions.set(column.physicalName, `nullif(${text}, '')`);
  }
  return {
    source: { schema: schema.schema, name: schema.name },
    schema: target,
    mode: options.mode,
    partition,
    clustering,
    meta,
    expressions,
    stagedNames,
    isWhole: expressions.size === 0 && partition.length === 0 && columns.length === schema.columns.length,
    stored: { options, columns: meant },
  };
}

/** bytea is hashed as its bytes, all else as its text. */
function textOf(column: ColumnSchema): string {
  return column.deltaType === "binary" ? name(column) : `${name(column)}::${duckDbType(column.deltaType)}::VARCHAR`;
}

function checkKey(source: TableSchema, target: TableSchema, { key, mode }: TableOptions): void {
  const label = `${source.schema}.${source.name}`;
  const own = keyColumns(source).map((column) => column.attributeNumber);
  const merged = keyColumns(target).map((column) => column.attributeNumber);
  if (key !== undefined && own.length > 0 && [...own].sort().join() !== [...merged].sort().join()) {
    // A change of such a column isn't told apart from others: the row under its old value would stay.
    throw misfit(`table ${label} has a key of its own`, "Leave the key option out: it is for tables without a key.");
  }
  if ((mode === "scd2" || mode === "softDelete") && merged.length === 0) {
    throw misfit(
      `table ${label} has no key, which the mode ${mode} needs`,
      "Give the table a primary key, name a unique key by the key option, or use the mode append.",
    );
  }
}

function checkNames(label: string, columns: ColumnSchema[], meta: ColumnSchema[], changeDataFeed: boolean): void {
  const isColumn = (own: string) => columns.some((column) => column.name.toLowerCase() === own);
  for (const { name: own } of meta) {
    if (!isColumn(own)) continue;
    throw misfit(
      `table ${label} has a column ${quoteIdentifier(own)}, which is a name of ours`,
      "Exclude that column, rename it, or choose another mode.",
    );
  }
  for (const own of changeDataFeed ? feedNames : []) {
    if (!isColumn(own)) continue;
    throw misfit(
      `table ${label} has a column ${quoteIdentifier(own)}, which is a name of Delta's change data feed`,
      "Exclude that column, rename it, or leave changeDataFeed out.",
    );
  }
}

/** Names of columns that files have as they are. */
function checkOwnNames(label: string, columns: ColumnSchema[]): void {
  const seen = new Set<string>();
  for (const { name: own } of columns) {
    const lower = own.toLowerCase();
    if (!namelessCharacters.test(own) && !queryNames.test(own) && !seen.has(lower)) seen.add(lower);
    else {
      const why = seen.has(lower) ? "which differs from another's by case only" : "which files can't have as it is";
      throw misfit(
        `table ${label}: column ${quoteIdentifier(own)} has a name ${why}`,
        "Rename or exclude the column, or leave columnMapping: false out.",
      );
    }
  }
}

/** In the order of the option. */
function partitionColumns(
  label: string,
  columns: ColumnSchema[],
  names: string[],
  meant: StoredOptions["columns"],
): ColumnSchema[] {
  return names.map((each) => {
    const found = columns.find(({ attributeNumber }) => meant[each].includes(attributeNumber));
    if (found !== undefined) return found;
    throw misfit(
      `table ${label}: column ${each} of partitionBy isn't in the destination`,
      `Name columns that the destination has; another partitionBy needs onChange: "refresh" and sluice resync.`,
    );
  });
}

function checkPartition(label: string, columns: ColumnSchema[], partition: ColumnSchema[]): void {
  const wrong = partition.find(({ deltaType }) => !canPartition(deltaType));
  if (wrong !== undefined) {
    throw misfit(
      `table ${label} can't be partitioned by column ${wrong.name}, which has the Delta type ${wrong.deltaType}`,
      "Partition by columns of text, whole numbers, decimals, dates or booleans.",
    );
  }
  if (partition.length === 0 || partition.length < columns.length) return;
  throw misfit(`table ${label} has no column beside those of partitionBy`, "Leave one out of partitionBy.");
}

function misfit(message: string, remedy: string): SluiceError {
  return new SluiceError("config", message, { remedy });
}

/** What Delta has no bounds of can't be clustered by; whole arrays have no order that engines agree on. */
function checkClustering(label: string, clustering: ColumnSchema[]): void {
  const wrong = clustering.find(
    ({ deltaType }) => deltaType === "boolean" || deltaType === "binary" || elementTypeOf(deltaType) !== null,
  );
  if (wrong === undefined) return;
  throw misfit(
    `table ${label} can't be clustered by column ${wrong.name}, which has the Delta type ${wrong.deltaType}`,
    "Name columns of numbers, texts, dates or timestamps in clusterBy.",
  );
}

/** Physical names of the columns by which it is a clustered table of Delta, which a table with partitions can't be. */
export function clusteredBy({ clustering, partition }: TargetTable): string[] {
  return partition.length > 0 ? [] : clustering.map(({ physicalName }) => physicalName);
}

/** All columns of the destination, in order. */
export function targetColumns(target: TargetTable): ColumnSchema[] {
  return [...target.schema.columns, ...target.meta];
}

/** The source's columns (or some) over staged rows, by physical name, in the types that they have here. */
export function projection({ schema, expressions }: TargetTable, columns = schema.columns): string {
  return columns
    .map((column) => {
      const value = expressions.get(column.physicalName) ?? name(column);
      return `(${value})::${duckDbType(column.deltaType)} AS ${name(column)}`;
    })
    .join(", ");
}

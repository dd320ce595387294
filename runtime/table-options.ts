import { z } from "zod";

/**
 * What a destination table is:
 *   scd1        the source's rows as they are
 *   softDelete  as scd1, but a row deleted at the source stays, with `_deleted_at`
 *   append      every change is a row: `_op`, `_commit_lsn`, `_ordinal`, `_commit_time`
 *   scd2        every version of a row: `valid_from`, `valid_to`, `is_current`, `_commit_lsn`, `_ordinal`
 */
export const tableModeSchema = z.enum(["scd1", "softDelete", "append", "scd2"]);
export type TableMode = z.infer<typeof tableModeSchema>;

/** When a table leaves the publication, also as it was dropped at the source: its Delta table stays, or goes. */
export const onRemoveSchema = z.enum(["keep", "drop"]);
export type OnRemove = z.infer<typeof onRemoveSchema>;

/** Columns that Spark and Databricks cluster by at most. */
const clusterByMax = 4;

const columnNames = z.array(z.string().min(1)).min(1);

/** Columns are named as the source names them; a column that is renamed there keeps its options. */
export const tableOptionsShape = {
  /** default scd1 */
  mode: tableModeSchema.default("scd1"),
  /** default: schema and name of the source's table */
  destination: z.strictObject({ schema: z.string().min(1).optional(), name: z.string().min(1).optional() }).optional(),
  /** only these columns */
  include: columnNames.optional(),
  /** all columns but these */
  exclude: columnNames.optional(),
  /** SHA-256 of the value's text, in hexadecimal, instead of the value */
  hash: columnNames.optional(),
  /** rows of a table without a key are merged by these columns, which the user knows to be unique */
  key: columnNames.optional(),
  /**
   * rows are in files apart by the values of these columns (Delta's partitionColumns): text, whole numbers, decimals, dates,
   * booleans; the empty text is NULL there
   */
  partitionBy: columnNames.optional(),
  /**
   * the table is clustered by these columns (Delta's liquid clustering), four at most, of numbers, texts, dates or
   * timestamps: compaction puts rows in their order, and OPTIMIZE of other engines clusters by them. With `partitionBy` it
   * is the order alone. Default: none, or the order of the key with `maintenance.clusterByKey`.
   */
  clusterBy: columnNames.optional(),
  /**
   * append: an update is two rows, the first with the row as it was and `_op` update_preimage, where the gateway stages it
   * (`beforeImages`) and the replica identity is FULL; from the next change on; default false
   */
  beforeImage: z.boolean().default(false),
  /** scd1, softDelete: also `_commit_lsn` and `_commit_time` of a row's last change (NULL since a snapshot); default false */
  metadataColumns: z.boolean().default(false),
  /** false: files with deleted rows are written anew, for readers that know no deletion vectors; default true */
  deletionVectors: z.boolean().default(true),
  /**
   * false: files have the columns' own names, for readers that know no column mapping; a column that is renamed or dropped
   * makes all files be written anew; default true
   */
  columnMapping: z.boolean().default(true),
  /** default: the pipeline's */
  onRemove: onRemoveSchema.optional(),
  /**
   * every commit also tells which rows it inserts, updates and deletes (Delta's `delta.enableChangeDataFeed`): in scd1 and
   * softDelete with both images of an update, else as a delete and an insert; default false
   */
  changeDataFeed: z.boolean().default(false),
  /**
   * What a change does that rows of before can't follow: default `refuse`, a failure of the preview. With `refresh` the
   * table is kept as it is until its new snapshot (`sluice resync`), which replaces all that it holds; so does one whose
   * columns have types that don't hold the values of before, as they were changed at the source.
   */
  onChange: z.enum(["refuse", "refresh"]).default("refuse"),
};

/** Options of one table, by its name at the source. */
export const tableOptionsSchema = z.strictObject({
  schema: z.string().min(1),
  name: z.string().min(1),
  ...tableOptionsShape,
});
export type NamedTableOptions = z.infer<typeof tableOptionsSchema>;
export type TableOptions = Omit<NamedTableOptions, "schema" | "name">;

export const tableOptionsListSchema = z
  .array(tableOptionsSchema)
  .default([])
  .superRefine((tables, context) => {
    const sources = new Set<string>();
    const places = new Set<string>();
    for (const [index, table] of tables.entries()) {
      const refuse = (message: string) => context.addIssue({ code: "custom", path: [index], message });
      const { schema, name } = placeOf(table, table);
      if (sources.has(keyOf(table))) refuse(`options of ${table.schema}.${table.name} are given twice`);
      else if (places.has(keyOf({ schema, name }))) refuse(`two tables have the destination ${schema}.${name}`);
      sources.add(keyOf(table));
      places.add(keyOf({ schema, name }));
      if (table.include !== undefined && table.exclude !== undefined) refuse("give include or exclude, not both");
      for (const list of ["partitionBy", "clusterBy"] as const) {
        const names = table[list] ?? [];
        if (new Set(names).size < names.length) refuse(`${list} names a column twice`);
        const absent = names.find((each) => table.exclude?.includes(each) || table.include?.includes(each) === false);
        if (absent !== undefined) refuse(`column ${absent} of ${list} is left out by include or exclude`);
      }
      if (table.include?.every((each) => table.partitionBy?.includes(each))) {
        refuse("a table needs a column beside those of partitionBy");
      }
      if ((table.clusterBy?.length ?? 0) > clusterByMax) {
        refuse(
          `clusterBy names ${table.clusterBy?.length} columns, where Delta's clustering takes ${clusterByMax} at most`,
        );
      }
      const both = table.clusterBy?.find((each) => table.partitionBy?.includes(each));
      if (both !== undefined) refuse(`column ${both} is in both partitionBy and clusterBy`);
      if (table.beforeImage && table.mode !== "append") refuse("beforeImage is for the mode append");
    }
  });

export const keyOf = ({ schema, name }: { schema: string; name: string }) => JSON.stringify([schema, name]);

export const defaultTableOptions: TableOptions = z.strictObject(tableOptionsShape).parse({});

export function optionsOf(tables: NamedTableOptions[], source: { schema: string; name: string }): TableOptions {
  const found = tables.find((table) => table.schema === source.schema && table.name === source.name);
  if (found === undefined) return defaultTableOptions;
  const { schema: _schema, name: _name, ...options } = found;
  return options;
}

/**
 * What becomes of a table that leaves. Its options may have left the program with it: then those that its rows were made
 * by count.
 */
export function onRemoveOf(
  tables: NamedTableOptions[],
  source: { schema: string; name: string },
  stored: Pick<TableOptions, "onRemove"> | null,
  pipelines: OnRemove,
): OnRemove {
  const isNamed = tables.some((table) => keyOf(table) === keyOf(source));
  return (isNamed ? optionsOf(tables, source) : stored)?.onRemove ?? pipelines;
}

/** Where the rows of a source's table are in the destination. */
export function placeOf(source: { schema: string; name: string }, { destination }: Pick<TableOptions, "destination">) {
  return { schema: destination?.schema ?? source.schema, name: destination?.name ?? source.name };
}

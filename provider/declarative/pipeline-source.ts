import { SluiceError } from "../../runtime/errors";
import { quoteTable } from "../../runtime/postgres/identifier";
import { defaultTableOptions, type TableOptions } from "../../runtime/table-options";
import { pythonLiteral } from "./python-literal";
import { stagedTablesPython } from "./staged-tables";

/** A condition that rows of a table are to meet, as a SQL expression over its columns (Databricks: expectations). */
export interface Expectation {
  name: string;
  condition: string;
  /** of rows that don't meet it: count them (default), leave them out, or fail the update */
  action?: "warn" | "drop" | "fail";
}

/** A table that the pipeline writes, by its name at the source. */
export interface PipelineTable {
  schema: string;
  name: string;
  /** default `defaultTableOptions` */
  options?: TableOptions;
  expectations?: readonly Expectation[];
}

export interface PipelineSource {
  /** folder of the staging log as the pipeline sees it: `/Volumes/<catalog>/<schema>/<volume>[/…]` */
  stagingPath: string;
  catalog: string;
  /** of tables whose options name none */
  schema: string;
  tables: readonly PipelineTable[];
}

/**
 * Pure: the source of a declarative pipeline, one file of Python that declares a streaming table for each table: AUTO CDC
 * INTO it for the modes scd1 and scd2, rows appended to it for append. Which columns and key a table has is read from the
 * staging log when an update begins, so a column that comes needs no other source.
 * @throws SluiceError `config` when a pipeline can't write a table as its options say
 */
export function pipelineSource({ stagingPath, catalog, schema, tables }: PipelineSource): string {
  const places = new Set<string>();
  const declared = tables.map((table) => {
    const options = table.options ?? defaultTableOptions;
    const [obstacle] = pipelineObstacles(table);
    if (obstacle !== undefined) throw new SluiceError("config", obstacle.reason, { remedy: obstacle.remedy });
    const target = [catalog, options.destination?.schema ?? schema, options.destination?.name ?? table.name];
    // Unity Catalog keeps names in lower case.
    const place = JSON.stringify(target).toLowerCase();
    if (places.has(place)) {
      throw new SluiceError("config", `two tables have the destination ${target.join(".")}`, {
        remedy: "Give one of them another name or schema: tableOptions[].destination.",
      });
    }
    places.add(place);
    return {
      schema: table.schema,
      name: table.name,
      quoted: quoteTable(table),
      target,
      mode: options.mode,
      include: options.include ?? null,
      exclude: options.exclude ?? [],
      key: options.key ?? null,
      beforeImage: options.beforeImage,
      metadataColumns: options.metadataColumns && options.mode === "scd1",
      cluster_by: options.clusterBy ?? [],
      partition_cols: options.partitionBy ?? [],
      comment: `${table.schema}.${table.name} of PostgreSQL, by Sluice`,
      properties: {
        "delta.enableChangeDataFeed": String(options.changeDataFeed),
        "delta.enableDeletionVectors": String(options.deletionVectors),
      },
      expectations: (table.expectations ?? []).map(({ name, condition, action }) => ({
        name,
        condition,
        action: action ?? "warn",
      })),
    };
  });
  return `# Made by Sluice from the program that declares these tables; what is changed here is lost.
${stagedTablesPython()}

from pyspark import pipelines as dp

declare_tables(spark, dp, ${pythonLiteral(stagingPath)}, ${pythonLiteral(declared)})
`;
}

export interface PipelineObstacle {
  property: string;
  reason: string;
  remedy: string;
}

/** Pure: what of a table's options AUTO CDC has nothing for. */
export function pipelineObstacles({ schema, name, options, expectations }: PipelineTable): PipelineObstacle[] {
  const label = `table ${schema}.${name}`;
  const obstacles: PipelineObstacle[] = [];
  const refuse = (property: string, reason: string, remedy: string) =>
    obstacles.push({ property, reason: `${label}: ${reason}`, remedy });
  if (options?.mode === "softDelete") {
    refuse(
      "mode",
      "a declarative pipeline can't keep a deleted row as it was: a delete needn't bring its values",
      'Use mode "scd2", whose versions of deleted rows stay, or destination.mode "warehouse".',
    );
  }
  if ((options?.hash ?? []).length > 0) {
    refuse("hash", "a declarative pipeline hashes no columns", 'Exclude them, or use destination.mode "warehouse".');
  }
  if (options?.onRemove === "drop") {
    refuse(
      "onRemove",
      "a table that leaves can't be dropped here: streaming tables are their pipeline's",
      "Leave onRemove out, and drop the table in the workspace.",
    );
  }
  if (options?.columnMapping === false) {
    refuse("columnMapping", "it is the pipeline's to decide for streaming tables", "Leave columnMapping out.");
  }
  const names = (expectations ?? []).map((each) => each.name);
  const twice = names.find((each, index) => names.indexOf(each) < index);
  if (twice !== undefined) refuse("expectations", `two expectations are called ${twice}`, "Rename one of them.");
  return obstacles;
}

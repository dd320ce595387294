import * as pulumi from "@pulumi/pulumi";
import { Gateway } from "./gateway";
import { type DestinationArgs, IngestionPipeline } from "./ingestion-pipeline";
import type { SourceSide } from "./ingestion-source";
import type { PostgresIngestionArgs } from "./postgres-ingestion";
import type { Table } from "./source";

export function declareGateway(
  name: string,
  args: PostgresIngestionArgs,
  { publication, slot, read, beforeImages }: SourceSide,
  child: pulumi.CustomResourceOptions,
): Gateway {
  const { adopt, preflight, stateDir, strategy, forceDelete, deployment } = args;
  return new Gateway(
    name,
    {
      source: read,
      publicationName: publication.publicationName,
      slotName: slot.slotName,
      slotIncarnation: slot.incarnation,
      stateDir,
      deployment,
      preflight,
      beforeImages,
      adopt,
      strategy,
      forceDelete,
      ...args.gateway,
    },
    child,
  );
}

export function declareApplier(
  name: string,
  args: PostgresIngestionArgs,
  destination: pulumi.Input<DestinationArgs>,
  { deploymentId, stagingPath, incarnation }: Gateway,
  child: pulumi.CustomResourceOptions,
): IngestionPipeline {
  return new IngestionPipeline(
    name,
    {
      deploymentId,
      stagingPath,
      stagingIncarnation: incarnation,
      staging: args.gateway?.staging,
      destination,
      tables: tableNames(args.tables, args.schemas, args.allTables),
      tableOptions: args.tableOptions,
      stateDir: args.stateDir,
      forceDelete: args.forceDelete,
      deployment: args.deployment,
      preflight: args.preflight,
      ...args.applier,
    },
    child,
  );
}

/** Of tables that leave, the pipeline tells; which those of a schema are isn't known here. */
export function tableNames(
  tables: PostgresIngestionArgs["tables"],
  schemas: PostgresIngestionArgs["schemas"],
  allTables: PostgresIngestionArgs["allTables"],
): pulumi.Output<Table[]> {
  return pulumi.all([pulumi.output(tables), schemas, allTables]).apply(([named, wide, all]) => {
    if (named === undefined || all === true || (wide ?? []).length > 0) return undefined as unknown as Table[];
    return (named as (Table | { table: Table })[]).map((table) =>
      typeof table === "object" && "table" in table ? table.table : table,
    );
  });
}

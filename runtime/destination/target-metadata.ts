import { defaultTableOptions } from "../table-options";
import type { DomainMetadata, MetaData } from "./delta/actions";
import { clusteringColumns, withClustering } from "./delta/clustering";
import type { DeltaSnapshot } from "./delta/delta-snapshot";
import { ownerProperties, toSchemaType } from "./delta/table-metadata";
import { tableColumns } from "./table-columns";
import { clusteredBy, type StoredOptions, storedOptionsSchema, type TargetTable, targetColumns } from "./target-table";

/** By which options a table's rows were made; null when it isn't this source table's. */
export function storedOptions(metaData: MetaData | null, tableId: string): StoredOptions | null {
  const properties = metaData?.configuration;
  if (properties === undefined || properties[ownerProperties.table] !== tableId) return null;
  const text = properties[ownerProperties.options];
  if (text === undefined) return { options: defaultTableOptions, columns: {} };
  const parsed = storedOptionsSchema.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : null;
}

/** Physical names of the columns that a table's options say its rows are clustered by; without those dropped since. */
export function clusterNames(metaData: MetaData | null, tableId: string): string[] {
  const stored = storedOptions(metaData, tableId);
  const columns = tableColumns(metaData) ?? [];
  return (stored?.options.clusterBy ?? []).flatMap((each) => {
    const found = columns.find(({ attributeNumber }) => stored?.columns[each]?.includes(attributeNumber));
    return found === undefined ? [] : [found.physicalName];
  });
}

/**
 * What a table's domains must be. The option decides which columns it is clustered by; one that never had it keeps what
 * others have set (ALTER TABLE … CLUSTER BY), as far as there are such columns.
 */
export function buildDomains(
  target: TargetTable,
  { domains, metaData }: Pick<DeltaSnapshot, "domains" | "metaData">,
): Map<string, DomainMetadata> {
  if (target.partition.length > 0) return withClustering(domains, null);
  const { clusterBy } = target.stored.options;
  if (clusterBy !== undefined) return withClustering(domains, clusteredBy(target));
  const before = clusteringColumns(domains);
  if (before === null) return new Map(domains);
  const stored = storedOptions(metaData, target.schema.tableId);
  const isOthers = stored !== null && stored.options.clusterBy === undefined;
  const names = new Set(targetColumns(target).map(({ physicalName }) => physicalName));
  return withClustering(domains, isOthers ? before.filter((each) => names.has(each)) : []);
}

function sourceName({ schema, name }: TargetTable["source"]): string {
  return JSON.stringify([schema, name]);
}

/** `type` as Delta's schema has it; columns are found in files by their physical names. */
function schemaString(target: TargetTable): string {
  return JSON.stringify({
    type: "struct",
    fields: targetColumns(target).map((column) => ({
      name: column.name,
      type: toSchemaType(column.deltaType),
      nullable: true,
      metadata: target.stored.options.columnMapping
        ? {
            "delta.columnMapping.id": column.attributeNumber,
            "delta.columnMapping.physicalName": column.physicalName,
          }
        : { [ownerProperties.column]: column.attributeNumber },
    })),
  });
}

/** What the table's metaData must be for a schema; `previous` gives what others have set. */
export function buildMetaData(
  target: TargetTable,
  logId: string,
  previous: MetaData | null,
  identity: Pick<MetaData, "id" | "createdTime" | "configuration">,
): MetaData {
  const maxIds = [previous, identity].map((each) =>
    Number(each?.configuration["delta.columnMapping.maxColumnId"] ?? 0),
  );
  const { deletionVectors, changeDataFeed, columnMapping } = target.stored.options;
  const {
    "delta.columnMapping.mode": _mode,
    "delta.columnMapping.maxColumnId": _max,
    ...others
  } = previous?.configuration ?? {};
  // Absent means false; a table that never had a feed isn't given another metaData.
  const hadFeed = previous?.configuration["delta.enableChangeDataFeed"] !== undefined;
  const maxId = Math.max(...maxIds, ...targetColumns(target).map((column) => column.attributeNumber));
  return {
    id: identity.id,
    name: target.schema.name,
    description: previous?.description,
    format: { provider: "parquet", options: {} },
    schemaString: schemaString(target),
    partitionColumns: target.partition.map(({ name }) => name),
    configuration: {
      ...others,
      ...(columnMapping
        ? { "delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": String(maxId) }
        : {}),
      "delta.enableDeletionVectors": String(deletionVectors),
      ...(changeDataFeed || hadFeed ? { "delta.enableChangeDataFeed": String(changeDataFeed) } : {}),
      [ownerProperties.source]: sourceName(target.source),
      [ownerProperties.table]: target.schema.tableId,
      [ownerProperties.log]: logId,
      [ownerProperties.options]: JSON.stringify(target.stored),
    },
    createdTime: identity.createdTime,
  };
}

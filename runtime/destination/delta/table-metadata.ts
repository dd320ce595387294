import type { DeltaType, TableSchema } from "../../change/table-schema";
import type { MetaData, Protocol } from "./actions";

/** Table properties that say whose table it is: the source's table by name and oid, the staging log that feeds it. */
export const ownerProperties = { source: "sluice.source", table: "sluice.table", log: "sluice.log" } as const;

export function sourceName(schema: { schema: string; name: string }): string {
  return JSON.stringify([schema.schema, schema.name]);
}

/** `type` as Delta's schema has it; columns are found in files by their physical names. */
function schemaString(schema: TableSchema): string {
  return JSON.stringify({
    type: "struct",
    fields: schema.columns.map((column) => ({
      name: column.name,
      type: column.deltaType,
      nullable: true,
      metadata: {
        "delta.columnMapping.id": column.attributeNumber,
        "delta.columnMapping.physicalName": column.physicalName,
      },
    })),
  });
}

/** What the table's metaData must be for a schema; `previous` gives what others have set. */
export function buildMetaData(
  schema: TableSchema,
  logId: string,
  previous: MetaData | null,
  identity: Pick<MetaData, "id" | "createdTime" | "configuration">,
): MetaData {
  const maxIds = [previous, identity].map((each) =>
    Number(each?.configuration["delta.columnMapping.maxColumnId"] ?? 0),
  );
  const maxId = Math.max(...maxIds, ...schema.columns.map((column) => column.attributeNumber));
  return {
    id: identity.id,
    name: schema.name,
    description: previous?.description,
    format: { provider: "parquet", options: {} },
    schemaString: schemaString(schema),
    partitionColumns: [],
    configuration: {
      ...previous?.configuration,
      "delta.columnMapping.mode": "name",
      "delta.columnMapping.maxColumnId": String(maxId),
      "delta.enableDeletionVectors": "true",
      [ownerProperties.source]: sourceName(schema),
      [ownerProperties.table]: schema.tableId,
      [ownerProperties.log]: logId,
    },
    createdTime: identity.createdTime,
  };
}

/** Types of a table's columns by physical name. */
export function columnTypes(metaData: MetaData | null): Map<string, string> {
  if (metaData === null) return new Map();
  const { fields } = JSON.parse(metaData.schemaString) as {
    fields: { name: string; type: unknown; metadata: Record<string, unknown> }[];
  };
  return new Map(
    fields.map(({ name, type, metadata }) => [
      String(metadata["delta.columnMapping.physicalName"] ?? name),
      typeof type === "string" ? type : JSON.stringify(type),
    ]),
  );
}

/** Keeps features that the table has already, here or at its former place. */
export function buildProtocol(schema: TableSchema, ...previous: (Protocol | null)[]): Protocol {
  const needed = ["columnMapping", "deletionVectors"];
  if (schema.columns.some((column) => column.deltaType === "timestamp_ntz")) needed.push("timestampNtz");
  const join = (of: (protocol: Protocol | null) => string[] | null | undefined) =>
    [...new Set([...previous.flatMap((protocol) => of(protocol) ?? []), ...needed])].sort();
  return {
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: join((protocol) => protocol?.readerFeatures),
    writerFeatures: join((protocol) => protocol?.writerFeatures),
  };
}

export function duckDbType(type: DeltaType): string {
  switch (type) {
    case "short":
      return "SMALLINT";
    case "integer":
      return "INTEGER";
    case "long":
      return "BIGINT";
    case "float":
      return "FLOAT";
    case "double":
      return "DOUBLE";
    case "string":
      return "VARCHAR";
    case "binary":
      return "BLOB";
    case "boolean":
      return "BOOLEAN";
    case "date":
      return "DATE";
    case "timestamp_ntz":
      return "TIMESTAMP";
    case "timestamp":
      return "TIMESTAMPTZ";
    default:
      return type.toUpperCase();
  }
}

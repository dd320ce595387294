import { randomUUID } from "node:crypto";
import type { DeltaType, TableSchema } from "../../change/table-schema";
import type { MetaData, Protocol } from "./actions";

/** Table properties that say whose table it is: the source's table, and the staging log that feeds it. */
export const ownerProperties = { source: "sluice.source", log: "sluice.log" } as const;

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

/** What the table's metaData must be for a schema; `previous` gives identity and what others have set. */
export function buildMetaData(schema: TableSchema, logId: string, previous: MetaData | null, nowMs: number): MetaData {
  const previousMaxId = Number(previous?.configuration["delta.columnMapping.maxColumnId"] ?? 0);
  const maxId = Math.max(previousMaxId, ...schema.columns.map((column) => column.attributeNumber));
  return {
    id: previous?.id ?? randomUUID(),
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
      [ownerProperties.log]: logId,
    },
    createdTime: previous?.createdTime ?? nowMs,
  };
}

/** Keeps features that the table has already. */
export function buildProtocol(schema: TableSchema, previous: Protocol | null): Protocol {
  const needed = ["columnMapping", "deletionVectors"];
  if (schema.columns.some((column) => column.deltaType === "timestamp_ntz")) needed.push("timestampNtz");
  const join = (features: string[] | null | undefined) => [...new Set([...(features ?? []), ...needed])].sort();
  return {
    minReaderVersion: 3,
    minWriterVersion: 7,
    readerFeatures: join(previous?.readerFeatures),
    writerFeatures: join(previous?.writerFeatures),
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

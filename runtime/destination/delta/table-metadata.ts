import { randomUUID } from "node:crypto";
import type { DeltaType, TableSchema } from "../../change/table-schema";
import { SluiceError } from "../../errors";
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

/**
 * For a schema that comes without a new snapshot.
 * @throws SluiceError `unsupported` where files of the old schema can't be read with the new one
 */
export function checkColumnTypes(previous: MetaData, schema: TableSchema): void {
  const { fields } = JSON.parse(previous.schemaString) as {
    fields: { type: unknown; metadata: Record<string, unknown> }[];
  };
  const types = new Map(fields.map((field) => [field.metadata["delta.columnMapping.physicalName"], field.type]));
  for (const column of schema.columns) {
    const old = types.get(column.physicalName) ?? column.deltaType;
    if (old === column.deltaType) continue;
    throw new SluiceError(
      "unsupported",
      `table ${schema.schema}.${schema.name}: column ${column.name} changed from ${old} to ${column.deltaType}`,
      { remedy: "Take a new snapshot of the table: drop it from the publication, and add it again." },
    );
  }
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

import { type ColumnSchema, type DeltaType, deltaTypeSchema, elementTypeOf } from "../../change/table-schema";
import type { TableOptions } from "../../table-options";
import type { MetaData, Protocol } from "./actions";
import { clusteringFeatures } from "./clustering";

/**
 * Table properties that say whose table it is (the source's by name and oid, the staging log's), and by which options;
 * `column`: of a column without column mapping, its attribute number.
 */
export const ownerProperties = {
  source: "sluice.source",
  table: "sluice.table",
  log: "sluice.log",
  options: "sluice.options",
  column: "sluice.column",
} as const;

/** A type as Delta's schema has it: a text, of an array an object (protocol, "Schema Serialization Format"). */
export function toSchemaType(type: DeltaType): unknown {
  const elementType = elementTypeOf(type);
  return elementType === null ? type : { type: "array", elementType, containsNull: true };
}

/** null for a type that isn't written here */
export function fromSchemaType(type: unknown): DeltaType | null {
  const { type: kind, elementType } = (typeof type === "object" ? (type ?? {}) : {}) as Record<string, unknown>;
  const parsed = deltaTypeSchema.safeParse(kind === "array" ? `array<${elementType}>` : type);
  return parsed.success ? parsed.data : null;
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
      fromSchemaType(type) ?? JSON.stringify(type),
    ]),
  );
}

/** What a table's protocol depends on. */
export interface ProtocolNeeds extends Pick<TableOptions, "deletionVectors" | "changeDataFeed" | "columnMapping"> {
  isClustered: boolean;
  /** such a table can't be a clustered one */
  isPartitioned: boolean;
}

/**
 * Keeps features that the table has already, here or at its former place. What needs none has the protocol's first
 * reader version.
 */
export function buildProtocol(
  columns: ColumnSchema[],
  { deletionVectors, changeDataFeed, columnMapping, isClustered, isPartitioned }: ProtocolNeeds,
  ...previous: (Protocol | null)[]
): Protocol {
  const needed = [...(columnMapping ? ["columnMapping"] : []), ...(deletionVectors ? ["deletionVectors"] : [])];
  if (columns.some(({ deltaType }) => (elementTypeOf(deltaType) ?? deltaType) === "timestamp_ntz"))
    needed.push("timestampNtz");
  const join = (of: (protocol: Protocol | null) => string[] | null | undefined, ...own: string[]) =>
    [...new Set([...previous.flatMap((protocol) => of(protocol) ?? []), ...own])].sort();
  const readerFeatures = join((protocol) => protocol?.readerFeatures, ...needed);
  const writerFeatures = join(
    (protocol) => protocol?.writerFeatures,
    ...needed,
    ...(changeDataFeed ? ["changeDataFeed"] : []),
    ...(isClustered ? clusteringFeatures : []),
  ).filter((feature) => !(isPartitioned && feature === "clustering"));
  if (readerFeatures.length > 0) return { minReaderVersion: 3, minWriterVersion: 7, readerFeatures, writerFeatures };
  if (writerFeatures.length > 0) return { minReaderVersion: 1, minWriterVersion: 7, writerFeatures };
  return { minReaderVersion: 1, minWriterVersion: 2 };
}

/** Whether both say the same; the order of features means nothing. */
export function sameProtocol(a: Protocol, b: Protocol): boolean {
  const text = ({ minReaderVersion, minWriterVersion, readerFeatures, writerFeatures }: Protocol) =>
    JSON.stringify([
      minReaderVersion,
      minWriterVersion,
      [...(readerFeatures ?? [])].sort(),
      [...(writerFeatures ?? [])].sort(),
    ]);
  return text(a) === text(b);
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
    default: {
      const elementType = elementTypeOf(type);
      return elementType === null ? type.toUpperCase() : `${duckDbType(elementType)}[]`;
    }
  }
}

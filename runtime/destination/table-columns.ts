import type { ColumnSchema } from "../change/table-schema";
import type { MetaData } from "./delta/actions";
import { fromSchemaType, ownerProperties } from "./delta/table-metadata";

/** The columns of a Delta table by its own log; null when one has a type that isn't written here. */
export function tableColumns(metaData: MetaData | null): ColumnSchema[] | null {
  if (metaData === null) return null;
  const { fields } = JSON.parse(metaData.schemaString) as {
    fields: { name: string; type: unknown; metadata: Record<string, unknown> }[];
  };
  const columns: ColumnSchema[] = [];
  for (const { name, type, metadata } of fields) {
    const deltaType = fromSchemaType(type);
    const id = metadata["delta.columnMapping.id"] ?? metadata[ownerProperties.column];
    const physicalName = metadata["delta.columnMapping.physicalName"] ?? name;
    if (deltaType === null || typeof id !== "number" || typeof physicalName !== "string") return null;
    columns.push({
      attributeNumber: id,
      name,
      physicalName,
      typeOid: 0,
      typeModifier: -1,
      typeName: deltaType,
      deltaType,
      keyOrdinal: null,
    });
  }
  return columns;
}

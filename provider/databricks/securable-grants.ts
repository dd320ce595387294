import { type Needed, neededForTables, neededForVolume } from "../../runtime/databricks/privileges";

/** What a mode works with, by its names of Unity Catalog. */
export interface Securables {
  mode: "warehouse" | "pipeline" | "managed";
  catalog: string;
  /** of the tables; undefined where each has that of its schema at the source */
  schema?: string;
  /** `catalog.schema.volume` of our staging */
  volume?: string;
  /** of the vendor's gateway */
  staging?: { catalog: string; schema: string };
}

/**
 * Pure: what whoever runs a mode needs, and no more, each object once. The vendor's pipelines: docs.databricks.com, ingest data
 * from PostgreSQL, before you begin; USE CONNECTION on their connection beside it.
 */
export function neededBy({ mode, catalog, schema, volume, staging }: Securables): Needed[] {
  const tables =
    schema === undefined
      ? [{ type: "catalog" as const, name: catalog, privileges: ["USE_CATALOG"] }]
      : mode === "managed"
        ? [
            { type: "catalog" as const, name: catalog, privileges: ["USE_CATALOG"] },
            { type: "schema" as const, name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "CREATE_TABLE"] },
          ]
        : neededForTables(catalog, schema);
  const places: Needed[] =
    staging === undefined
      ? []
      : [
          { type: "catalog", name: staging.catalog, privileges: ["USE_CATALOG"] },
          {
            type: "schema",
            name: `${staging.catalog}.${staging.schema}`,
            privileges: ["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"],
          },
        ];
  return merged([...tables, ...places, ...(volume === undefined ? [] : neededForVolume(volume))]);
}

/** Pure: what whoever reads the tables needs. */
export function neededByReaders({ catalog, schema }: Pick<Securables, "catalog" | "schema">): Needed[] {
  const use: Needed = { type: "catalog", name: catalog, privileges: ["USE_CATALOG"] };
  return schema === undefined
    ? [use]
    : [use, { type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "SELECT"] }];
}

function merged(needed: readonly Needed[]): Needed[] {
  const found = new Map<string, Needed>();
  for (const { type, name, privileges } of needed) {
    const key = `${type} ${name}`;
    const all = new Set([...(found.get(key)?.privileges ?? []), ...privileges]);
    found.set(key, { type, name, privileges: [...all] });
  }
  return [...found.values()];
}

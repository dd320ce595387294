import {
  mergedNeeds,
  type Needed,
  neededForGateway,
  neededForManagedTables,
  neededForTables,
  neededForVolume,
} from "../../runtime/databricks/privileges";

/** What a mode works with, by its names of Unity Catalog. */
export interface Securables {
  mode: "warehouse" | "pipeline" | "managed";
  catalog: string;
  /** of the tables; undefined where each has that of its schema at the source */
  schema?: string;
  /** further ones that tables are in */
  schemas?: string[];
  /** `catalog.schema.volume` of our staging */
  volume?: string;
  /** of the vendor's gateway */
  staging?: { catalog: string; schema: string };
}

/**
 * Pure: what whoever runs a mode needs, and no more, each object once. The vendor's pipelines: docs.databricks.com, ingest data
 * from PostgreSQL, before you begin; USE CONNECTION on their connection beside it.
 */
export function neededBy({ mode, catalog, schema, schemas, volume, staging }: Securables): Needed[] {
  const tables = schemasOf({ schema, schemas }).flatMap((each) =>
    mode === "managed" ? neededForManagedTables(catalog, each) : neededForTables(catalog, each),
  );
  const places = staging === undefined ? [] : neededForGateway(staging.catalog, staging.schema);
  return mergedNeeds([
    useCatalog(catalog),
    ...tables,
    ...places,
    ...(volume === undefined ? [] : neededForVolume(volume)),
  ]);
}

/** Pure: what whoever reads the tables needs. */
export function neededByReaders({ catalog, ...tables }: Pick<Securables, "catalog" | "schema" | "schemas">): Needed[] {
  const reading = schemasOf(tables).map(
    (schema): Needed => ({ type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "SELECT"] }),
  );
  return mergedNeeds([useCatalog(catalog), ...reading]);
}

const schemasOf = ({ schema, schemas = [] }: Pick<Securables, "schema" | "schemas">) => [
  ...(schema === undefined ? [] : [schema]),
  ...schemas,
];

const useCatalog = (catalog: string): Needed => ({ type: "catalog", name: catalog, privileges: ["USE_CATALOG"] });

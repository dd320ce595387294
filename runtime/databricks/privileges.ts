import { parseVolumePath } from "../databricks-config";

/** What can be granted on, by Unity Catalog's names. */
export type SecurableType = "catalog" | "schema" | "volume" | "connection";

export interface Needed {
  type: SecurableType;
  /** `catalog`, `catalog.schema`, `catalog.schema.volume`, or a connection's */
  name: string;
  /** as the API names them: `WRITE_VOLUME` */
  privileges: string[];
}

/** Pure: what a principal needs to read and write files of a volume. */
export function neededForVolume(volume: string): Needed[] {
  const [catalog, schema] = volume.split(".");
  return [
    { type: "catalog", name: catalog, privileges: ["USE_CATALOG"] },
    { type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA"] },
    { type: "volume", name: volume, privileges: ["READ_VOLUME", "WRITE_VOLUME"] },
  ];
}

/** Pure: what a principal needs to make and write tables in a schema. */
export function neededForTables(catalog: string, schema: string): Needed[] {
  return [
    { type: "catalog", name: catalog, privileges: ["USE_CATALOG"] },
    { type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "CREATE_TABLE", "SELECT", "MODIFY"] },
  ];
}

/**
 * Pure: what whoever runs Databricks' own pipelines needs on a schema of the tables (docs.databricks.com, ingest data from
 * PostgreSQL, before you begin).
 */
export function neededForManagedTables(catalog: string, schema: string): Needed[] {
  return [
    { type: "catalog", name: catalog, privileges: ["USE_CATALOG"] },
    { type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "CREATE_TABLE"] },
  ];
}

/** Pure: the same on the schema of their gateway's storage, a volume that it makes. */
export function neededForGateway(catalog: string, schema: string): Needed[] {
  return [
    { type: "catalog", name: catalog, privileges: ["USE_CATALOG"] },
    { type: "schema", name: `${catalog}.${schema}`, privileges: ["USE_SCHEMA", "CREATE_TABLE", "CREATE_VOLUME"] },
  ];
}

/** Pure: what a principal needs to use a connection that is there. */
export const neededForConnection = (connection: string): Needed[] => [
  { type: "connection", name: connection, privileges: ["USE_CONNECTION"] },
];

/** Pure: each object once, with all that is needed on it. */
export function mergedNeeds(needed: readonly Needed[]): Needed[] {
  const found = new Map<string, Needed>();
  for (const { type, name, privileges } of needed) {
    const key = `${type} ${name}`;
    const all = new Set([...(found.get(key)?.privileges ?? []), ...privileges]);
    found.set(key, { type, name, privileges: [...all] });
  }
  return [...found.values()];
}

/** Pure: which of the privileges aren't among those held; `ALL_PRIVILEGES` holds every one. */
export function missingPrivileges(needed: readonly string[], held: readonly string[]): string[] {
  if (held.includes("ALL_PRIVILEGES")) return [];
  return needed.filter((privilege) => !held.includes(privilege));
}

/** Pure: an identifier of Databricks' SQL. */
export const quoteName = (name: string) =>
  name
    .split(".")
    .map((part) => `\`${part.replaceAll("`", "``")}\``)
    .join(".");

/** Pure: the statement that gives these privileges. */
export function grantStatement({ type, name, privileges }: Needed, principal: string | null): string {
  const list = privileges.map((privilege) => privilege.replaceAll("_", " ")).join(", ");
  const to = principal === null ? "`the principal of this token`" : `\`${principal.replaceAll("`", "``")}\``;
  return `GRANT ${list} ON ${type.toUpperCase()} ${quoteName(name)} TO ${to};`;
}

/** Pure: what helps a principal that may not do something with a path of a volume. */
export function volumeGrantRemedy(path: string, principal: string | null): string | null {
  const parsed = parseVolumePath(path);
  if (parsed === null) return null;
  const statements = neededForVolume(parsed.volume).map((needed) => grantStatement(needed, principal));
  return `Run, as the owner of the volume, what of this is missing (sluice doctor databricks tells): ${statements.join(" ")}`;
}

import { volumePath } from "../databricks-config";
import { describeError, SluiceError } from "../errors";
import { FilesApi } from "./files-api";
import {
  grantStatement,
  mergedNeeds,
  missingPrivileges,
  type Needed,
  neededForConnection,
  neededForGateway,
  neededForManagedTables,
  neededForTables,
  neededForVolume,
  quoteName,
} from "./privileges";
import { type Holding, type Identity, UnityCatalog } from "./unity-catalog";
import type { WorkspaceClient } from "./workspace-client";

/** What was looked at, and what came of it. `unknown`: it can't be seen by who asks, and may be well. */
export interface AccessFinding {
  check: "identity" | "catalog" | "schema" | "volume" | "connection" | "files" | "warehouse";
  /** whom or what it is about */
  object: string;
  result: "ok" | "failed" | "unknown";
  message: string;
  /** of what isn't well: the statement to run, or the setting to change */
  remedy?: string;
}

export interface AccessQuestion {
  /** `catalog.schema.volume`, to stage in */
  volume?: string;
  /** where tables are made: `catalog.schema` */
  schema?: string;
  /** id of a SQL warehouse */
  warehouse?: string;
  /** Databricks' own pipelines make the tables of `schema`, which takes less */
  managed?: ManagedQuestion;
}

export interface ManagedQuestion {
  /** of the gateway's storage: `catalog.schema` */
  gatewaySchema?: string;
  /** of Unity Catalog, which is there */
  connection?: string;
}

/** Asks a workspace what a pipeline needs of it, changing nothing; each finding is told as it comes. Never throws for a finding. */
export async function* checkAccess(client: WorkspaceClient, question: AccessQuestion): AsyncGenerator<AccessFinding> {
  const catalog = new UnityCatalog(client);
  let identity: Identity;
  try {
    identity = await catalog.identity();
  } catch (error) {
    yield failed("identity", client.host, error);
    return;
  }
  yield {
    check: "identity",
    object: identity.name,
    result: "ok",
    message: `we are ${identity.name} at ${client.host}`,
  };
  for (const needed of neededFor(question)) yield await checkObject(catalog, needed, identity);
  if (question.volume !== undefined) yield await checkFiles(client, question.volume, identity);
  if (question.warehouse !== undefined) yield await checkWarehouse(catalog, question.warehouse);
}

/** Pure: what is needed on each object, once. */
export function neededFor({ volume, schema, managed }: AccessQuestion): Needed[] {
  const inSchema = (name: string | undefined, needs: (catalog: string, schema: string) => Needed[]) =>
    name === undefined ? [] : needs(name.split(".")[0], name.split(".")[1]);
  return mergedNeeds([
    ...(volume === undefined ? [] : neededForVolume(volume)),
    ...inSchema(schema, managed === undefined ? neededForTables : neededForManagedTables),
    ...inSchema(managed?.gatewaySchema, neededForGateway),
    ...(managed?.connection === undefined ? [] : neededForConnection(managed.connection)),
  ]);
}

async function checkObject(catalog: UnityCatalog, needed: Needed, identity: Identity): Promise<AccessFinding> {
  const { type, name } = needed;
  try {
    return findingOf(needed, await catalog.holding(type, name, identity), identity.name);
  } catch (error) {
    return failed(type, name, error);
  }
}

/** Pure. */
export function findingOf(needed: Needed, holding: Holding, principal: string): AccessFinding {
  const { type, name, privileges } = needed;
  const about = { check: type, object: name };
  const words = (list: readonly string[]) => list.map((one) => one.replaceAll("_", " ")).join(", ");
  switch (holding.kind) {
    case "absent":
      return {
        ...about,
        result: "failed",
        message: `there is no ${type} ${name}, or ${principal} may not see it`,
        remedy: `${makeIt(needed)}; or let it be seen: ${grantStatement(needed, principal)}`,
      };
    case "owner":
      return { ...about, result: "ok", message: `${principal} owns it` };
    case "hidden":
      return {
        ...about,
        result: "unknown",
        message: `${principal} may not see its privileges; it needs ${words(privileges)}`,
        remedy: `If something fails by it, run: ${grantStatement(needed, principal)}`,
      };
    case "held": {
      const missing = missingPrivileges(privileges, holding.privileges);
      if (missing.length === 0) return { ...about, result: "ok", message: `${principal} holds ${words(privileges)}` };
      return {
        ...about,
        result: "failed",
        message: `${principal} lacks ${words(missing)}`,
        remedy: grantStatement({ ...needed, privileges: missing }, principal),
      };
    }
  }
}

/** Pure. A connection has its source's address and user in it. */
function makeIt({ type, name }: Needed): string {
  return type === "connection"
    ? "Leave destination.connection's name out, and it is made (GRANT CREATE CONNECTION ON METASTORE)"
    : `Make it: CREATE ${type.toUpperCase()} ${quoteName(name)}`;
}

/** The way that staging takes, which needs no more than staging does. */
async function checkFiles(client: WorkspaceClient, volume: string, identity: Identity): Promise<AccessFinding> {
  const path = volumePath(volume);
  const about = { check: "files" as const, object: path };
  try {
    if (await new FilesApi(client).hasDirectory(path))
      return { ...about, result: "ok", message: "the Files API reads it" };
    const remedy = `CREATE VOLUME ${quoteName(volume)};`;
    return { ...about, result: "failed", message: `the Files API knows no ${path}`, remedy };
  } catch (error) {
    const isRefused = error instanceof SluiceError && error.kind === "permission";
    if (!isRefused) return failed("files", path, error);
    const remedy = neededForVolume(volume)
      .map((needed) => grantStatement(needed, identity.name))
      .join(" ");
    return { ...about, result: "failed", message: error.message, remedy };
  }
}

async function checkWarehouse(catalog: UnityCatalog, id: string): Promise<AccessFinding> {
  const about = { check: "warehouse" as const, object: id };
  try {
    const found = await catalog.warehouse(id);
    if (found !== null) return { ...about, result: "ok", message: `${found.name} is ${found.state}` };
    const remedy = "Copy its id from SQL Warehouses › Overview, and let us use it there: Permissions › Can use.";
    return { ...about, result: "failed", message: "there is no such warehouse, or we may not use it", remedy };
  } catch (error) {
    return failed("warehouse", id, error);
  }
}

function failed(check: AccessFinding["check"], object: string, error: unknown): AccessFinding {
  if (!(error instanceof SluiceError)) return { check, object, result: "failed", message: describeError(error) };
  return { check, object, result: "failed", message: error.message, remedy: error.remedy };
}

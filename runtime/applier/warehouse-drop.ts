import type { ApplierConfig, WarehouseDestination } from "../config";
import { SqlFailure } from "../destination/databricks/sql-failure";
import type { SqlRow, SqlSession } from "../destination/databricks/sql-session";
import { sqlName } from "../destination/databricks/sql-text";
import { Warehouse } from "../destination/databricks/warehouse";
import { setProperties, warehouseProperties } from "../destination/databricks/warehouse-properties";
import { ownerProperties } from "../destination/delta/table-metadata";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { otherLog, readMadeTables, type TableFate } from "./made-tables";
import type { Place } from "./table-home";
import { warehouseOptions, warehouseSessions } from "./warehouse-session";

/**
 * Drops the tables of a warehouse that an applier, which has ended, made of its staging log or a former one; all others stay.
 * They are looked for in every schema that its tables may be in. One that was cut off is finished by the next.
 * @throws SluiceError `destination` when one is there again; SqlFailure
 */
export async function dropWarehouseTables(
  config: ApplierConfig,
  destination: WarehouseDestination,
  tell: (fate: TableFate) => void,
  open?: () => Promise<SqlSession>,
): Promise<void> {
  const { signal } = new AbortController();
  const onWait = (reason: string) => log("info", "warehouse-awaited", { reason });
  const sessions = open ?? warehouseSessions(destination, { signal, onWait });
  const { logIds, places } = await readMadeTables(config);
  const named = config.tables.flatMap((table) => table.destination?.schema ?? []);
  const schemas = new Set([destination.schema, ...named, ...places.map(({ schema }) => schema)]);
  const looking = await sessions();
  const ours: Place[] = [];
  let isWriter = false;
  try {
    for (const schema of schemas) {
      for (const name of await tablesOf(looking, destination.catalog, schema)) {
        if (schema === destination.schema && name === Warehouse.writersTable) isWriter = true;
        const path = [destination.catalog, schema, name].join(".");
        const logId = await logOf(looking, sqlName(destination.catalog, schema, name));
        if (logId === null) continue;
        if (logIds.has(logId)) ours.push({ schema, name });
        else tell({ kind: "kept", path, reason: otherLog(logIds) });
      }
    }
  } finally {
    await looking.close();
  }
  if (ours.length === 0 && !isWriter) return;
  const warehouse = new Warehouse(
    warehouseOptions(destination, { writer: config.id, stagingPath: config.stagingPath }),
    sessions,
  );
  try {
    for (const place of ours) {
      await drop(warehouse, place);
      tell({ kind: "dropped", path: [destination.catalog, place.schema, place.name].join(".") });
    }
    await warehouse.leave();
  } finally {
    await warehouse.close();
  }
}

async function tablesOf(session: SqlSession, catalog: string, schema: string): Promise<string[]> {
  const rows = await unlessMissing(() => session.run(`SHOW TABLES IN ${sqlName(catalog, schema)}`));
  return (rows ?? [])
    .filter(({ isTemporary }) => String(isTemporary) !== "true")
    .map(({ tableName }) => String(tableName));
}

/** The staging log that a table was made of; null when it isn't ours, or isn't there any more. */
async function logOf(session: SqlSession, table: string): Promise<string | null> {
  const rows = await unlessMissing(() => session.run(`SHOW TBLPROPERTIES ${table}`));
  const properties = new Map((rows ?? []).map(({ key, value }) => [String(key), String(value)]));
  return properties.has(ownerProperties.source) ? (properties.get(ownerProperties.log) ?? null) : null;
}

async function drop(warehouse: Warehouse, place: Place): Promise<void> {
  const table = warehouse.table(place);
  const generation = await warehouse.ready();
  // What the applier has sent last may run yet: it doesn't commit behind this.
  const fence: [string, string][] = [[warehouseProperties.epoch, warehouse.fence]];
  const isThere = await unlessMissing(() => warehouse.run(generation, setProperties(table, fence)));
  if (isThere === null) return;
  await unlessMissing(() => warehouse.run(generation, `DROP TABLE ${table}`));
  if ((await unlessMissing(() => warehouse.run(generation, `SHOW TBLPROPERTIES ${table}`))) === null) return;
  throw new SluiceError("destination", `table ${table} is there again: something writes to it`, {
    remedy: `Stop what writes to it, then run the same again, or DROP TABLE ${table}.`,
  });
}

/** Null where what a statement names isn't there. */
async function unlessMissing(run: () => Promise<SqlRow[]>): Promise<SqlRow[] | null> {
  try {
    return await run();
  } catch (thrown) {
    if (thrown instanceof SqlFailure && thrown.kind === "missing-object") return null;
    throw thrown;
  }
}

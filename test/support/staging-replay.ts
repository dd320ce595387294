import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBInstance, type DuckDBValue } from "@duckdb/node-api";
import type { TableSchema } from "../../runtime/change/table-schema";
import type { StagedCommit, StagedEvent } from "../../runtime/staging/staged-commit";

type Row = Record<string, DuckDBValue>;

/** A table as the staging log's events make it, told the slow and plain way: the model of what an applier does. */
export interface ReplayedTable {
  schema: TableSchema;
  complete: boolean;
  /** values as text by column name, in no order */
  rows: Record<string, string | null>[];
}

interface Building {
  schema: TableSchema;
  snapshotId: string;
  rows: Map<string, Row>;
  complete: boolean;
  /** what came before the snapshot's end, in order: it is applied after all of the snapshot's rows */
  later: (Row | "truncate")[];
}

/** Reads all staged records, in order; asserts that they are consecutive. */
export function readRecords(stagingPath: string): StagedCommit[] {
  const names = readdirSync(join(stagingPath, "log"))
    .filter((name) => name.endsWith(".json"))
    .sort();
  return names.map((name, index) => {
    const record = JSON.parse(readFileSync(join(stagingPath, "log", name), "utf8")) as StagedCommit;
    if (record.sequence !== index + 1) throw new Error(`${name}: sequence ${record.sequence}`);
    return record;
  });
}

/** Replays the log; tables by `schema.name`. Keyed tables only merge by key, others by all their values. */
export async function replayStaging(stagingPath: string): Promise<Map<string, ReplayedTable>> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const read = async (path: string, order: string): Promise<Row[]> => {
    await connection.run("SET TimeZone = 'UTC'");
    const reader = await connection.runAndReadAll(`SELECT * FROM read_parquet('${join(stagingPath, path)}') ${order}`);
    return reader.getRowObjects();
  };
  const building = new Map<string, Building>();
  try {
    for (const record of readRecords(stagingPath)) {
      for (const event of record.events) await replayEvent(event, stagingPath, building, read);
    }
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
  const tables = new Map<string, ReplayedTable>();
  for (const { schema, complete, rows } of building.values()) {
    tables.set(`${schema.schema}.${schema.name}`, {
      schema,
      complete,
      rows: [...rows.values()].map((row) =>
        Object.fromEntries(
          schema.columns.map(({ name, physicalName }) => [
            name,
            row[physicalName] == null ? null : String(row[physicalName]),
          ]),
        ),
      ),
    });
  }
  return tables;
}

async function replayEvent(
  event: StagedEvent,
  stagingPath: string,
  tables: Map<string, Building>,
  read: (path: string, order: string) => Promise<Row[]>,
): Promise<void> {
  const table = tables.get(event.tableId) as Building;
  switch (event.kind) {
    case "snapshot-begin": {
      const path = join(stagingPath, "schema", event.tableId, `${event.schemaId}.json`);
      const schema = JSON.parse(readFileSync(path, "utf8")) as TableSchema;
      tables.set(event.tableId, { schema, snapshotId: event.snapshotId, rows: new Map(), complete: false, later: [] });
      return;
    }
    case "snapshot-rows":
      if (event.snapshotId !== table.snapshotId) throw new Error("rows of a void snapshot");
      for (const file of event.files) {
        for (const row of await read(file.path, "")) {
          const key = keyOf(table.schema, row);
          if (table.rows.has(key)) throw new Error(`snapshot row twice: ${key}`);
          table.rows.set(key, row);
        }
      }
      return;
    case "snapshot-end":
      table.complete = true;
      for (const change of table.later) apply(table, change);
      table.later = [];
      return;
    case "changes":
      for (const file of event.files) {
        for (const row of await read(file.path, "ORDER BY _commit_lsn, _ordinal")) {
          if (table.complete) apply(table, row);
          else table.later.push(row);
        }
      }
      return;
    case "truncate":
      if (table.complete) apply(table, "truncate");
      else table.later.push("truncate");
      return;
    case "schema":
    case "removed":
      return;
    default:
      throw new Error(`unknown event ${(event as StagedEvent).kind}`);
  }
}

function keyOf(schema: TableSchema, row: Row): string {
  const keys = schema.columns.filter((column) => column.keyOrdinal !== null);
  return JSON.stringify((keys.length > 0 ? keys : schema.columns).map(({ physicalName }) => String(row[physicalName])));
}

/** Strict: each change must find exactly what the source had before it (invariant 3). */
function apply(table: Building, change: Row | "truncate"): void {
  if (change === "truncate") {
    table.rows.clear();
    return;
  }
  const key = keyOf(table.schema, change);
  const before = table.rows.get(key);
  if (change._op === 2 || change._op === 3) {
    if (!table.rows.delete(key)) throw new Error(`delete of a row that isn't there: ${key}`);
    if (change._op === 3) table.rows.set("moved", before as Row);
    return;
  }
  const moved = table.rows.get("moved");
  table.rows.delete("moved");
  if (change._op === 0 && before !== undefined) throw new Error(`insert of a row that is there: ${key}`);
  if (change._op === 1 && (before ?? moved) === undefined) throw new Error(`update of a row that isn't there: ${key}`);
  for (const number of String(change._unchanged ?? "")
    .split(",")
    .filter(Boolean)) {
    change[`c${number}`] = ((before ?? moved) as Row)[`c${number}`];
  }
  table.rows.set(key, change);
}

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DuckDBDecimalValue, DuckDBInstance, type DuckDBValue } from "@duckdb/node-api";
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
  /** the process that began the snapshot; rows of another one were copied under a later snapshot */
  epoch: string;
  resumed: boolean;
  /** keys that a resumed snapshot holds twice: each must be in a change before the snapshot's end */
  doubled: Set<string>;
  /** what came before the snapshot's end, in order: it is applied after all of the snapshot's rows */
  later: Change[];
}

type Change =
  | { kind: "row"; row: Row }
  | { kind: "truncate" }
  /** `fill`: what rows of before have in new columns */
  | { kind: "schema"; schema: TableSchema; fill: Row };

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
      for (const event of record.events) await replayEvent(event, record.epoch, stagingPath, building, read);
      for (const table of building.values()) endResumed(table);
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
  epoch: string,
  stagingPath: string,
  tables: Map<string, Building>,
  read: (path: string, order: string) => Promise<Row[]>,
): Promise<void> {
  const table = tables.get(event.tableId) as Building;
  switch (event.kind) {
    case "snapshot-begin": {
      const schema = readSchema(stagingPath, event);
      const { snapshotId } = event;
      const state = { complete: false, resumed: false, doubled: new Set<string>(), later: [] };
      tables.set(event.tableId, { schema, snapshotId, epoch, rows: new Map(), ...state });
      return;
    }
    case "snapshot-rows":
      if (event.snapshotId !== table.snapshotId) throw new Error("rows of a void snapshot");
      if (epoch !== table.epoch) table.resumed = true;
      for (const file of event.files) {
        for (const row of await read(file.path, "")) {
          const key = keyOf(table.schema, row);
          if (table.rows.has(key)) {
            const keyed = table.schema.columns.some((column) => column.keyOrdinal !== null);
            if (!table.resumed || !keyed) throw new Error(`snapshot row twice: ${key}`);
            table.doubled.add(key);
          }
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
        const where = file.ordinalEnd === undefined ? "" : `WHERE _ordinal < ${file.ordinalEnd}`;
        const rows = await read(file.path, `${where} ORDER BY _commit_lsn, _ordinal`);
        if (rows.length !== file.rows) throw new Error(`${file.path}: ${rows.length} rows, not ${file.rows}`);
        for (const row of rows) {
          if ((row._commit_lsn === null) !== (event.transaction !== undefined))
            throw new Error("commit LSN told where?");
          take(table, { kind: "row", row });
        }
      }
      return;
    case "truncate":
      return take(table, { kind: "truncate" });
    case "schema": {
      const [fill] = event.fill === undefined ? [{}] : await read(event.fill.path, "");
      return take(table, { kind: "schema", schema: readSchema(stagingPath, event), fill });
    }
    case "removed":
      return;
    default:
      throw new Error(`unknown event ${(event as StagedEvent).kind}`);
  }
}

function readSchema(stagingPath: string, { tableId, schemaId }: { tableId: string; schemaId: number }): TableSchema {
  return JSON.parse(readFileSync(join(stagingPath, "schema", tableId, `${schemaId}.json`), "utf8")) as TableSchema;
}

function take(table: Building, change: Change): void {
  if (table.complete) apply(table, change);
  else table.later.push(change);
}

/** After the record with a resumed snapshot's end all is as strict as ever. */
function endResumed(table: Building): void {
  if (!table.complete || !table.resumed) return;
  table.resumed = false;
  if (table.doubled.size > 0) throw new Error(`rows stay doubled: ${[...table.doubled].join(", ")}`);
}

function keyOf(schema: TableSchema, row: Row): string {
  const keys = schema.columns.filter((column) => column.keyOrdinal !== null);
  return JSON.stringify((keys.length > 0 ? keys : schema.columns).map(({ physicalName }) => String(row[physicalName])));
}

/**
 * Strict: each change must find exactly what the source had before it (invariant 3). Only the changes up to the
 * record with the end of a resumed snapshot may be in its rows already; they converge.
 */
function apply(table: Building, change: Change): void {
  switch (change.kind) {
    case "truncate":
      table.rows.clear();
      table.doubled.clear();
      return;
    case "schema":
      follow(table, change.schema, change.fill);
      return;
    case "row":
      applyRow(table, change.row);
      return;
  }
}

/** Rows of before get the new columns, and keep the others under their physical names, in their types of now. */
function follow(table: Building, schema: TableSchema, fill: Row): void {
  const before = new Map(table.schema.columns.map((column) => [column.physicalName, column.deltaType]));
  const rows = [...table.rows.values()];
  table.rows.clear();
  for (const row of rows) {
    for (const { physicalName, deltaType } of schema.columns) {
      const old = before.get(physicalName);
      if (old === undefined) row[physicalName] = fill[physicalName] ?? null;
      else if (old !== deltaType) row[physicalName] = widen(row[physicalName], deltaType);
    }
    table.rows.set(keyOf(schema, row), row);
  }
  table.schema = schema;
}

/** Only decimals look different when they become wider. */
function widen(value: DuckDBValue, type: string): DuckDBValue {
  const match = /^decimal\((\d+),(\d+)\)$/.exec(type);
  if (match === null || value === null) return value;
  const [width, scale] = [Number(match[1]), Number(match[2])];
  const old = value instanceof DuckDBDecimalValue ? value : new DuckDBDecimalValue(BigInt(value as number), 19, 0);
  return new DuckDBDecimalValue(old.value * 10n ** BigInt(scale - old.scale), width, scale);
}

function applyRow(table: Building, change: Row): void {
  const strict = !table.resumed;
  const key = keyOf(table.schema, change);
  const before = table.rows.get(key);
  if (change._op === 4) {
    const isBefore = table.schema.columns.every(
      ({ physicalName }) => String(before?.[physicalName]) === String(change[physicalName]),
    );
    if (strict && !isBefore) throw new Error(`not the row before its update: ${key}`);
    return;
  }
  table.doubled.delete(key);
  if (change._op === 2 || change._op === 3) {
    if (!table.rows.delete(key) && strict) throw new Error(`delete of a row that isn't there: ${key}`);
    if (change._op === 3 && before !== undefined) table.rows.set("moved", before);
    return;
  }
  const moved = table.rows.get("moved");
  table.rows.delete("moved");
  if (strict && change._op === 0 && before !== undefined) throw new Error(`insert of a row that is there: ${key}`);
  if (strict && change._op === 1 && (before ?? moved) === undefined)
    throw new Error(`update of a row that isn't there: ${key}`);
  for (const number of String(change._unchanged ?? "")
    .split(",")
    .filter(Boolean)) {
    // The key may have moved onto one that is there: in the row's older state.
    change[`c${number}`] = ((moved ?? before) as Row)[`c${number}`];
  }
  table.rows.set(key, change);
}

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { assertCarried, readTableSchemas } from "../change/catalog";
import type { ParquetWriter } from "../change/parquet-writer";
import { type SealedRows, TableSpool } from "../change/spool";
import { copyTable } from "../change/table-copy";
import type { TableSchema } from "../change/table-schema";
import type { GatewayConfig } from "../config";
import { SluiceError } from "../errors";
import { failpoint } from "../failpoint";
import { connectSource } from "../postgres/client";
import { type Lsn, parseLsn } from "../postgres/lsn";
import type { ObjectStore } from "../staging/object-store";
import { storeTableSchema } from "../staging/table-schema-store";
import type { Capture } from "./capture";
import type { CapturedTable } from "./captured-table";
import { parseSnapshot, type SnapshotVisibility } from "./snapshot-visibility";
import type { Stager } from "./stager";
import { readTableWriters, stillWriting } from "./writers-of-table";

export interface SnapshotContext {
  config: GatewayConfig;
  store: ObjectStore;
  stager: Stager;
  capture: Capture;
  writer: ParquetWriter;
  signal: AbortSignal;
}

/** Rows of one Parquet file of a snapshot. */
const fileRowsMax = 500_000;
const fileBytesMax = 64 * 1024 * 1024;

/**
 * Copies one pending table while the stream goes on, without a slot of its own: its rows are read in a repeatable-read
 * transaction, and the stream leaves out the transactions that this transaction sees.
 * @returns the position that the stream must pass before the snapshot's end may be staged, or null when the table has
 *   left the publication meanwhile
 */
export async function snapshotTable(table: CapturedTable, context: SnapshotContext): Promise<Lsn | null> {
  const client = await connectSource(context.config.source, {
    applicationName: `sluice ${context.config.id} snapshot`,
  });
  const abort = () => client.connection?.stream.destroy();
  context.signal.addEventListener("abort", abort, { once: true });
  try {
    await waitForWriters(client, table, context.signal);
    let waits = 0;
    for (;;) {
      context.signal.throwIfAborted();
      table.snapshotTaken = true;
      const taken = await takeSnapshot(client, table, context);
      if (taken === null) return null;
      const unseenXid = await register(table, taken, context);
      table.snapshotTaken = false;
      if (unseenXid === null) {
        const { rows, bytes } = await copyTable(client, taken.schema, {
          rowsMax: fileRowsMax,
          bytesMax: fileBytesMax,
          signal: context.signal,
          onRows: (sealed) => stageRows(table, sealed, taken, context),
        });
        await client.query("COMMIT");
        table.snapshotRows = rows;
        if (table.snapshot !== null) table.snapshot.bytes = bytes;
        return taken.visibility.horizonLsn;
      }
      // A transaction already streamed isn't seen yet: its session is about to say so, in milliseconds; or it is a
      // large one, streamed before its end, however far that is.
      await client.query("ROLLBACK");
      waits++;
      if (waits > 20 && table.capture.kind === "pending") {
        table.capture.waitingFor = `transaction ${unseenXid}, which has written to it and is still open`;
      }
      await delay(Math.min(5 * 1.2 ** waits, 1_000), undefined, { signal: context.signal });
    }
  } finally {
    table.snapshotTaken = false;
    context.signal.removeEventListener("abort", abort);
    await client.end().catch(() => {});
  }
}

async function waitForWriters(client: Client, table: CapturedTable, signal: AbortSignal): Promise<void> {
  let writers = await readTableWriters(client, table.tableId);
  while (writers.length > 0) {
    signal.throwIfAborted();
    if (table.capture.kind === "pending") {
      table.capture.waitingFor = `transactions that write to it: ${writers.map((writer) => `pid ${writer.pid ?? "(prepared)"}`).join(", ")}`;
    }
    await delay(50, undefined, { signal });
    writers = stillWriting(writers, await readTableWriters(client, table.tableId));
  }
  if (table.capture.kind === "pending") table.capture.waitingFor = undefined;
}

interface TakenSnapshot {
  snapshotId: string;
  schema: TableSchema;
  visibility: SnapshotVisibility;
  rowsEstimate: number;
  /** of the capture when it was taken */
  generation: number;
}

async function takeSnapshot(
  client: Client,
  table: CapturedTable,
  context: SnapshotContext,
): Promise<TakenSnapshot | null> {
  const { generation } = context.capture;
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  const snapshot = await client.query<{ text: string }>("SELECT pg_current_snapshot()::text AS text");
  // Read in a statement of its own: it must come after the snapshot.
  const horizon = await client.query<{ lsn: string }>("SELECT pg_current_wal_insert_lsn()::text AS lsn");
  const found = (await readTableSchemas(client, context.config.publication, context.config.types)).find(
    ({ schema }) => schema.tableId === table.tableId,
  );
  if (found === undefined) return null;
  assertCarried(found.schema);
  return {
    snapshotId: randomUUID(),
    schema: await storeTableSchema(context.store, found.schema, table.schemaId),
    visibility: parseSnapshot(snapshot.rows[0].text, parseLsn(horizon.rows[0].lsn)),
    rowsEstimate: Math.max(found.rowsEstimate, 0),
    generation,
  };
}

/** Between two streamed transactions: from here on the table is captured. Else the transaction that the snapshot would have to see. */
function register(table: CapturedTable, taken: TakenSnapshot, context: SnapshotContext): Promise<number | null> {
  return new Promise((resolve, reject) => {
    context.capture.atBoundary(() => {
      if (context.signal.aborted || table.capture.kind === "capturing") {
        reject(new SluiceError("internal", `snapshot of ${table.schema}.${table.name}: the table is not pending`));
        return;
      }
      const xid = context.capture.unseenXid(table, taken.visibility);
      if (xid !== null) {
        resolve(xid);
        return;
      }
      const { schema, snapshotId, rowsEstimate } = taken;
      table.schema = schema.schema;
      table.name = schema.name;
      table.schemaId = schema.schemaId;
      table.snapshotId = snapshotId;
      table.snapshotComplete = false;
      table.snapshots++;
      table.snapshot = { snapshotId, rows: 0, bytes: 0, rowsEstimate, startedAt: new Date().toISOString() };
      table.capture = {
        kind: "capturing",
        schema,
        spool: new TableSpool(schema, "changes"),
        visibility: taken.visibility,
      };
      context.capture.pushSnapshotEvent(table, {
        kind: "snapshot-begin",
        tableId: table.tableId,
        schemaId: schema.schemaId,
        snapshotId,
        rowsEstimate,
      });
      resolve(null);
    });
  });
}

async function stageRows(
  table: CapturedTable,
  sealed: SealedRows,
  taken: TakenSnapshot,
  context: SnapshotContext,
): Promise<void> {
  const file = await context.stager.writeFile(sealed, context.writer);
  failpoint("gateway.after-snapshot-file");
  if (table.snapshot?.snapshotId !== taken.snapshotId) {
    throw new SluiceError("conflict", `snapshot of ${table.schema}.${table.name}: overtaken by a newer one`);
  }
  table.count(sealed);
  table.snapshot.rows += file.rows;
  table.snapshot.bytes += file.bytes;
  context.capture.pushSnapshotEvent(table, {
    kind: "snapshot-rows",
    tableId: table.tableId,
    schemaId: taken.schema.schemaId,
    snapshotId: taken.snapshotId,
    files: [file],
  });
}

import type { Client } from "pg";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { quoteIdentifier } from "../postgres/identifier";
import type { Capture } from "./capture";
import { CapturedTable } from "./captured-table";

export interface PublishedTable {
  tableId: string;
  schema: string;
  name: string;
  rowsEstimate: number;
  bytes: number;
}

/** @throws SluiceError `missing-object` when the publication is gone */
export async function readPublishedTables(client: Client, publication: string): Promise<PublishedTable[]> {
  const { rows } = await client.query<{
    oid: string | null;
    schema: string;
    name: string;
    rows: number;
    bytes: string;
  }>(
    `SELECT c.oid::text, n.nspname AS schema, c.relname AS name, greatest(c.reltuples, 0)::float8 AS rows,
            pg_catalog.pg_relation_size(c.oid)::text AS bytes
       FROM pg_catalog.pg_publication p
       LEFT JOIN LATERAL pg_catalog.pg_get_publication_tables(p.pubname::text) t ON true
       LEFT JOIN pg_catalog.pg_class c ON c.oid = t.relid
       LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE p.pubname = $1`,
    [publication],
  );
  if (rows.length === 0) {
    throw new SluiceError("missing-object", `the publication ${quoteIdentifier(publication)} does not exist`, {
      remedy: "Run pulumi refresh and pulumi up: the Publication is made again. Its slot must be replaced then.",
    });
  }
  return rows
    .filter((row) => row.oid !== null)
    .map((row) => ({
      tableId: row.oid as string,
      schema: row.schema,
      name: row.name,
      rowsEstimate: row.rows,
      bytes: Number(row.bytes),
    }));
}

/** Tables that joined the publication become pending; the estimates of all are taken over. */
export function addPublished(capture: Capture, published: PublishedTable[]): void {
  for (const found of published) {
    let table = capture.tables.get(Number(found.tableId));
    if (table === undefined) {
      log("info", "table-added", { table: `${found.schema}.${found.name}` });
      table = new CapturedTable(found.tableId, found.schema, found.name);
      capture.add(table);
    }
    table.rowsEstimate = found.rowsEstimate;
    table.bytesEstimate = found.bytes;
  }
}

/** Tables that left the publication are told to the destination, which keeps their rows. */
export function removeUnpublished(capture: Capture, published: PublishedTable[]): void {
  const present = new Set(published.map((table) => table.tableId));
  for (const table of [...capture.tables.values()]) {
    if (present.has(table.tableId)) continue;
    log("info", "table-removed", { table: `${table.schema}.${table.name}` });
    capture.remove(table);
  }
}

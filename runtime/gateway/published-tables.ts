import type { Client } from "pg";
import { membershipSql } from "../change/publication-membership";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { quoteIdentifier } from "../postgres/identifier";
import { readServerVersion } from "../postgres/server-version";
import type { Capture } from "./capture";
import { CapturedTable } from "./captured-table";

export interface PublishedTable {
  tableId: string;
  schema: string;
  name: string;
  /** see membershipSql */
  membership: string;
  rowsEstimate: number;
  bytes: number;
}

/** @throws SluiceError `missing-object` when the publication is gone */
export async function readPublishedTables(client: Client, publication: string): Promise<PublishedTable[]> {
  const { rows } = await client.query<{
    oid: string | null;
    schema: string;
    name: string;
    membership: string;
    rows: number;
    bytes: string;
  }>(
    `SELECT c.oid::text, n.nspname AS schema, c.relname AS name,
            ${membershipSql(await readServerVersion(client), "$1", "c.oid")} AS membership, greatest(c.reltuples, 0)::float8 AS rows,
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
      membership: row.membership,
      rowsEstimate: row.rows,
      bytes: Number(row.bytes),
    }));
}

/**
 * Tables that joined the publication become pending, and those that left it and came back unseen: of what was written
 * between, the stream says nothing. The estimates of all are taken over.
 */
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
    copyAgainIfRejoined(capture, table, found);
  }
}

function copyAgainIfRejoined(capture: Capture, table: CapturedTable, found: PublishedTable): void {
  capture.atBoundary(() => {
    if (table.capture.kind !== "capturing" || table.membership === null) return;
    if (table.membership === found.membership) return;
    const reason = "it left the publication and came back, or what is published of it changed: a new snapshot follows";
    log("warning", "table-rejoined", { table: `${found.schema}.${found.name}`, reason });
    capture.drop(table, () => table.await(reason));
  });
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

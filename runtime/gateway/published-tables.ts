import type { Client } from "pg";
import {
  inVersion,
  membershipSql,
  onlyOwnerChanged,
  type PublicationLook,
  publicationLookSql,
} from "../change/publication-membership";
import type { GatewayConfig } from "../config";
import { SluiceError } from "../errors";
import { log } from "../operate/log";
import { quoteIdentifier } from "../postgres/identifier";
import { publishedRelationsSql } from "../postgres/published-relations";
import { readRelationBytes } from "../postgres/relation-size";
import { readServerVersion } from "../postgres/server-version";
import type { Capture } from "./capture";
import { CapturedTable } from "./captured-table";

/** A partition that holds rows. */
export interface Leaf {
  relationId: string;
  /** `"schema"."name"` */
  name: string;
  fileNode: string;
  /** it was made as a partition: every row that it ever had was streamed as one of its root */
  isBorn: boolean;
}

export interface PublishedTable {
  tableId: string;
  schema: string;
  name: string;
  /** see membershipSql */
  membership: string;
  publication: Omit<PublicationLook, "atMs">;
  rowsEstimate: number;
  bytes: number;
  /** of a partitioned table published by its root; else null */
  leaves: Leaf[] | null;
}

/**
 * Waits for nobody who alters a table.
 * @throws SluiceError `missing-object` when the publication is gone
 */
export async function readPublishedTables(client: Client, publication: string): Promise<PublishedTable[]> {
  const version = await readServerVersion(client);
  const { rows } = await client.query<Omit<PublishedTable, "tableId" | "bytes"> & { tableId: string | null }>(
    `SELECT c.oid::text AS "tableId", n.nspname AS schema, c.relname AS name,
            ${membershipSql(version, "$1", "c.oid")} AS membership, ${publicationLookSql("p")} AS publication,
            greatest(coalesce(tree.rows, c.reltuples), 0)::float8 AS "rowsEstimate",
            CASE WHEN c.relkind = 'p' THEN coalesce(tree.leaves, '[]') END AS leaves
       FROM pg_catalog.pg_publication p
       LEFT JOIN (${publishedRelationsSql(version, "$1")}) t ON true
       LEFT JOIN pg_catalog.pg_class c ON c.oid = t.relid
       LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN LATERAL (
         WITH RECURSIVE below AS (
           SELECT i.inhrelid, i.xmin AS attached FROM pg_catalog.pg_inherits i
            WHERE i.inhparent = c.oid AND c.relkind = 'p'
           UNION ALL
           SELECT i.inhrelid, i.xmin FROM below JOIN pg_catalog.pg_inherits i ON i.inhparent = below.inhrelid
         )
         SELECT sum(greatest(l.reltuples, 0)) AS rows,
                json_agg(json_build_object('relationId', l.oid::text, 'name', pg_catalog.format('%I.%I', ln.nspname, l.relname),
                  'fileNode', pg_catalog.pg_relation_filenode(l.oid)::text, 'isBorn', lt.xmin::text = below.attached::text)) AS leaves
           FROM below
           JOIN pg_catalog.pg_class l ON l.oid = below.inhrelid AND l.relkind = 'r'
           JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
           -- Its row type is as old as the table; its own row in pg_class is written anew by ATTACH.
           JOIN pg_catalog.pg_type lt ON lt.oid = l.reltype
       ) tree ON true
      WHERE p.pubname = $1`,
    [publication],
  );
  if (rows.length === 0) {
    throw new SluiceError("missing-object", `the publication ${quoteIdentifier(publication)} does not exist`, {
      remedy: "Run pulumi refresh and pulumi up: the Publication is made again. Its slot must be replaced then.",
    });
  }
  const found = rows.flatMap(({ tableId, ...row }) => (tableId === null ? [] : [{ ...row, tableId }]));
  const relationsOf = ({ tableId, leaves }: { tableId: string; leaves: Leaf[] | null }) =>
    leaves === null ? [tableId] : leaves.map(({ relationId }) => relationId);
  const sizes = await readRelationBytes(client, found.flatMap(relationsOf));
  return found.map((table) => ({
    ...table,
    bytes: relationsOf(table).reduce((sum, relationId) => sum + (sizes.get(relationId) ?? 0), 0),
  }));
}

/**
 * Tables that joined the publication become pending, and those that left it and came back unseen: of what was written
 * between, the stream says nothing. The estimates of all are taken over.
 */
export function addPublished(
  capture: Capture,
  published: PublishedTable[],
  { beforeImages }: Pick<GatewayConfig, "beforeImages">,
): void {
  const ownerChange = followPublication(capture, published);
  for (const found of published) {
    let table = capture.tables.get(Number(found.tableId));
    if (table === undefined) {
      log("info", "table-added", { table: `${found.schema}.${found.name}` });
      table = new CapturedTable(found.tableId, found.schema, found.name, beforeImages);
      capture.add(table);
    }
    table.rowsEstimate = found.rowsEstimate;
    table.bytesEstimate = found.bytes;
    copyAgainIfRejoined(capture, table, found, ownerChange);
  }
}

/** A change of the publication's row that is no gap. */
interface OwnerChange {
  from: string;
  to: string;
}

/** Remembers this look; returns what changed since the one before, where it was its owner alone. */
function followPublication(capture: Capture, [first]: PublishedTable[]): OwnerChange | null {
  if (first === undefined) return null;
  const before = capture.publicationLook;
  const look = { ...first.publication, atMs: Date.now() };
  capture.publicationLook = look;
  if (before === null || !onlyOwnerChanged(before, look)) return null;
  log("info", "publication-owner-changed", { from: before.owner, to: look.owner });
  return { from: before.version, to: look.version };
}

function copyAgainIfRejoined(
  capture: Capture,
  table: CapturedTable,
  found: PublishedTable,
  ownerChange: OwnerChange | null,
): void {
  capture.atBoundary(() => {
    if (table.capture.kind !== "capturing" || table.membership === null) return;
    if (ownerChange !== null && table.membership === inVersion(table.membership, ownerChange.from)) {
      table.membership = inVersion(table.membership, ownerChange.to);
      capture.recordStates();
    }
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

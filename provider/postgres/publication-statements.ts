import type { Client } from "pg";
import { quoteIdentifier, quoteLiteral, quoteTable } from "../../runtime/postgres/identifier";
import { publishedRelationsSql } from "../../runtime/postgres/published-relations";
import { readServerVersion } from "../../runtime/postgres/server-version";
import type { TableName } from "./table-inspection";

/** The comment that marks a publication as ours. */
export function ownershipMark(pipelineId: string): string {
  return `sluice:${pipelineId}`;
}

export interface PublishedTable extends TableName {
  /** it has a row filter or a column list, which we never set */
  restricted: boolean;
}

export interface PublicationFacts {
  oid: string;
  name: string;
  comment: string | null;
  allTables: boolean;
  /** publishes inserts, updates, deletes and truncates, and not by the partition root */
  standardOptions: boolean;
  tables: PublishedTable[];
}

/** By name, or by the mark where no name is known; `null` when there is none. */
export async function readPublication(
  client: Client,
  by: { name: string } | { mark: string },
): Promise<PublicationFacts | null> {
  const condition = "name" in by ? "p.pubname = $1" : "pg_catalog.obj_description(p.oid, 'pg_publication') = $1";
  const { rows } = await client.query<Omit<PublicationFacts, "tables">>(
    `SELECT p.oid::text, p.pubname AS name, pg_catalog.obj_description(p.oid, 'pg_publication') AS comment,
            p.puballtables AS "allTables",
            p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND NOT p.pubviaroot AS "standardOptions"
       FROM pg_catalog.pg_publication p WHERE ${condition}`,
    ["name" in by ? by.name : by.mark],
  );
  const row = rows[0];
  if (row === undefined) return null;
  // prqual and prattrs came with PostgreSQL 15: through JSON the query serves 14 too.
  const tables = await client.query<PublishedTable>(
    `SELECT n.nspname AS schema, c.relname AS name,
            to_jsonb(r) ->> 'prqual' IS NOT NULL OR to_jsonb(r) ->> 'prattrs' IS NOT NULL AS restricted
       FROM pg_catalog.pg_publication_rel r
       JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE r.prpubid = $1::oid ORDER BY 1, 2`,
    [row.oid],
  );
  return { ...row, tables: tables.rows };
}

export async function createPublication(
  client: Client,
  name: string,
  tables: readonly TableName[],
  mark: string,
): Promise<void> {
  const list = tables.map(quoteTable).join(", ");
  await client.query(`CREATE PUBLICATION ${quoteIdentifier(name)} FOR TABLE ${list}`);
  await client.query(`COMMENT ON PUBLICATION ${quoteIdentifier(name)} IS ${quoteLiteral(mark)}`);
}

/** Adds and drops only what differs; a table with a filter is dropped and added without it. */
export async function alterPublicationTables(
  client: Client,
  name: string,
  change: { add: readonly TableName[]; drop: readonly TableName[] },
): Promise<void> {
  const publication = quoteIdentifier(name);
  if (change.drop.length > 0) {
    await client.query(`ALTER PUBLICATION ${publication} DROP TABLE ${change.drop.map(quoteTable).join(", ")}`);
  }
  if (change.add.length > 0) {
    await client.query(`ALTER PUBLICATION ${publication} ADD TABLE ${change.add.map(quoteTable).join(", ")}`);
  }
}

/** Nothing is altered that is as it should be: a gateway takes altered options for a gap, and copies every table again. */
export async function resetPublicationOptions(client: Client, name: string, mark: string): Promise<void> {
  const publication = quoteIdentifier(name);
  const { rows } = await client.query<{ asMade: boolean }>(
    `SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND NOT pubviaroot AS "asMade"
       FROM pg_catalog.pg_publication WHERE pubname = $1`,
    [name],
  );
  if (rows[0]?.asMade !== true) {
    await client.query(
      `ALTER PUBLICATION ${publication} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = false)`,
    );
  }
  await client.query(`COMMENT ON PUBLICATION ${publication} IS ${quoteLiteral(mark)}`);
}

export async function dropPublication(client: Client, name: string): Promise<void> {
  await client.query(`DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)}`);
}

/** Which of the tables some publication (of anyone) publishes. */
export async function publishedElsewhere(client: Client, tables: readonly TableName[]): Promise<Set<string>> {
  const version = await readServerVersion(client);
  const { rows } = await client.query<TableName>(
    `SELECT DISTINCT n.nspname AS schema, c.relname AS name
       FROM pg_catalog.pg_publication o
       CROSS JOIN LATERAL (${publishedRelationsSql(version, "o.pubname")}) t
       JOIN pg_catalog.pg_class c ON c.oid = t.relid
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       JOIN unnest($1::text[], $2::text[]) AS wanted (schema, name)
         ON wanted.schema = n.nspname AND wanted.name = c.relname`,
    [tables.map((table) => table.schema), tables.map((table) => table.name)],
  );
  return new Set(rows.map(quoteTable));
}

import type { Client } from "pg";
import { publishedRelationsSql } from "../../runtime/postgres/published-relations";
import { readServerVersion } from "../../runtime/postgres/server-version";
import { elementSql } from "../../runtime/postgres/table-description";
import type { TableName } from "./table-inspection";

export interface TableSize extends TableName {
  /** as the last VACUUM or ANALYZE estimated; null where there was none; those of a partitioned table are its leaves' */
  rows: number | null;
  /** by the same estimate, TOAST included, indexes not */
  bytes: number | null;
  /** it has a numeric column without precision */
  hasUnconstrainedNumeric: boolean;
  /** it has an array, or a domain over one */
  hasArray: boolean;
}

/**
 * From the catalog alone: pg_table_size would wait for whoever alters a table.
 * @param wanted SQL of a query for the oids of tables
 */
const sizesSql = (wanted: string) => `
  WITH RECURSIVE wanted (root) AS (${wanted}), tree (root, relid) AS (
    SELECT root, root FROM wanted
    UNION SELECT tree.root, i.inhrelid FROM tree
      JOIN pg_catalog.pg_class c ON c.oid = tree.relid AND c.relkind = 'p'
      JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
  ), size AS (
    SELECT tree.root, sum(CASE WHEN c.relkind <> 'p' THEN c.reltuples END)::float8 AS rows, bool_and(c.relkind = 'p' OR c.reltuples >= 0) AS known,
           sum((greatest(c.relpages, 0)::bigint + coalesce(toast.relpages, 0)) * current_setting('block_size')::bigint)::float8
             AS bytes
      FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.relid
      LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid
     GROUP BY tree.root
  )
  SELECT n.nspname AS schema, c.relname AS name,
         CASE WHEN size.known THEN coalesce(size.rows, 0) END AS rows, CASE WHEN size.known THEN size.bytes END AS bytes,
         EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND a.atttypid = 'pg_catalog.numeric'::regtype AND a.atttypmod = -1) AS "hasUnconstrainedNumeric",
         EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND (${elementSql("a.atttypid")}) IS NOT NULL) AS "hasArray"
    FROM size
    JOIN pg_catalog.pg_class c ON c.oid = size.root
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   ORDER BY 1, 2`;

/** Sizes of these tables; one that doesn't exist is left out. */
export async function readTableSizes(client: Client, tables: readonly TableName[]): Promise<TableSize[]> {
  const wanted = `SELECT c.oid FROM unnest($1::text[], $2::text[]) AS t (schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.name`;
  const { rows } = await client.query<TableSize>(sizesSql(wanted), [
    tables.map((table) => table.schema),
    tables.map((table) => table.name),
  ]);
  return rows;
}

/** Sizes of all tables of a publication. */
export async function readPublishedSizes(client: Client, publication: string): Promise<TableSize[]> {
  const relations = publishedRelationsSql(await readServerVersion(client), "$1");
  const wanted = `SELECT p.relid FROM (${relations}) p`;
  const { rows } = await client.query<TableSize>(sizesSql(wanted), [publication]);
  return rows;
}

import type { Client } from "pg";
import { SluiceError } from "../errors";
import { quoteTable } from "../postgres/identifier";
import type { PartSize } from "./copy-ranges";

/** A relation that holds rows of a table, as the session's snapshot sees the catalog. */
export interface PartFacts extends PartSize {
  /** an update may leave a value unsent: it can be stored out of line and the replica identity isn't FULL */
  leavesValuesUnsent: boolean;
}

/**
 * The table itself, or the leaves of a partitioned one.
 * @throws SluiceError `unsupported` when a partition's rows aren't PostgreSQL's own
 */
export async function readParts(client: Client, tableId: string): Promise<PartFacts[]> {
  const { rows } = await client.query<
    Omit<PartFacts, "bytes" | "blocks"> & { kind: string; bytes: string; blocks: string }
  >(
    `SELECT c.oid::text AS "relationId", n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
            coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::text AS "fileNode",
            coalesce(pg_catalog.pg_table_size(c.oid), 0)::text AS bytes,
            (coalesce(pg_catalog.pg_relation_size(c.oid), 0)
              / pg_catalog.current_setting('block_size')::int8)::text AS blocks,
            coalesce(am.amname = 'heap', false)
              AND pg_catalog.current_setting('server_version_num')::int >= 140000 AS rangeable,
            c.relreplident <> 'f' AND c.reltoastrelid <> 0 AND EXISTS (
              SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> 'p'
            ) AS "leavesValuesUnsent"
       FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
      WHERE (c.oid = $1::oid AND c.relkind <> 'p')
         OR c.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree($1::oid) t WHERE t.isleaf)
      ORDER BY c.oid`,
    [tableId],
  );
  const foreign = rows.find((row) => row.kind === "f");
  if (foreign !== undefined) {
    throw new SluiceError(
      "unsupported",
      `${quoteTable(foreign)} is a foreign table: its changes aren't in this server's WAL`,
      {
        remedy: "Detach that partition, or publish the other partitions instead of their root.",
      },
    );
  }
  return rows
    .filter((row) => row.kind === "r")
    .map(({ kind: _kind, ...row }) => ({ ...row, bytes: Number(row.bytes), blocks: Number(row.blocks) }));
}

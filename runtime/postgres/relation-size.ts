import type { Client } from "pg";
import { withinLockTimeout } from "./lock-timeout";

/** A lock may be taken between the look at the locks and the size. */
const lockTimeoutMs = 100;

/**
 * Bytes of each relation's main fork, by oid: on disk, or as last counted by VACUUM or ANALYZE where somebody alters the
 * relation, which pg_relation_size() would wait for.
 */
export async function readRelationBytes(client: Client, relationIds: readonly string[]): Promise<Map<string, number>> {
  const counted = "c.relpages::int8 * pg_catalog.current_setting('block_size')::int8";
  const measured = await withinLockTimeout(client, lockTimeoutMs, () =>
    client.query<RelationBytes>(
      `WITH altered AS MATERIALIZED (
         SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
          WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
            AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
       SELECT c.oid::text AS "relationId", (CASE WHEN c.oid IN (SELECT relation FROM altered) THEN ${counted}
              ELSE coalesce(pg_catalog.pg_relation_size(c.oid), 0) END)::float8 AS bytes
         FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])`,
      [relationIds],
    ),
  );
  const { rows } =
    measured ??
    (await client.query<RelationBytes>(
      `SELECT c.oid::text AS "relationId", (${counted})::float8 AS bytes
         FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::oid[])`,
      [relationIds],
    ));
  return new Map(rows.map(({ relationId, bytes }) => [relationId, bytes]));
}

interface RelationBytes {
  relationId: string;
  bytes: number;
}

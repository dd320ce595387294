import type { Client } from "pg";

/** A transaction that holds a lock by which it writes, or has written, to a table. */
export interface TableWriter {
  virtualTransaction: string;
  pid: number | null;
}

/**
 * Transactions that now write to the table or, if it is partitioned, to one of its partitions: a session that writes to
 * a leaf by its name has no lock on the root. A transaction is seen by others before it lets its locks go; so once all
 * of these have ended, whatever the stream has given us of them is seen by every new snapshot, and whatever they wrote
 * before the table was published too.
 */
export async function readTableWriters(client: Client, tableId: string): Promise<TableWriter[]> {
  const { rows } = await client.query<{ virtualtransaction: string; pid: number | null }>(
    `WITH RECURSIVE tree AS (
       SELECT $1::oid AS relid
       UNION
       SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.relid
     )
     SELECT DISTINCT virtualtransaction, pid
       FROM pg_catalog.pg_locks
      WHERE locktype = 'relation' AND granted
        AND relation IN (SELECT relid FROM tree)
        AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
        AND pid IS DISTINCT FROM pg_backend_pid()`,
    [tableId],
  );
  return rows.map((row) => ({ virtualTransaction: row.virtualtransaction, pid: row.pid }));
}

/** Those of `earlier` that still run. */
export function stillWriting(earlier: TableWriter[], now: TableWriter[]): TableWriter[] {
  const running = new Set(now.map((writer) => writer.virtualTransaction));
  return earlier.filter((writer) => running.has(writer.virtualTransaction));
}

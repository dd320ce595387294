import type { Client } from "pg";

/** A transaction that holds a lock by which it writes, or has written, to a table. */
export interface TableWriter {
  virtualTransaction: string;
  pid: number | null;
}

/**
 * Transactions that now write to the table. A transaction is seen by others before it lets its locks go; so once all of
 * these have ended, whatever the stream has given us of them is seen by every new snapshot, and whatever they wrote
 * before the table was published too.
 */
export async function readTableWriters(client: Client, tableId: string): Promise<TableWriter[]> {
  const { rows } = await client.query<{ virtualtransaction: string; pid: number | null }>(
    `SELECT DISTINCT virtualtransaction, pid
       FROM pg_catalog.pg_locks
      WHERE locktype = 'relation' AND relation = $1::oid AND granted
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

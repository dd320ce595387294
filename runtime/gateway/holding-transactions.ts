import type { Client } from "pg";
import type { HoldingTransaction } from "../status";

/** Younger ones are ordinary work. */
const ageMsMin = 5_000;

/**
 * Open transactions with an id, oldest first, at most five: from the oldest on the server keeps WAL for every logical
 * slot, and a snapshot of a table that it wrote to waits for its end. A role without pg_read_all_stats sees its own only.
 */
export async function readHoldingTransactions(client: Client): Promise<HoldingTransaction[]> {
  const { rows } = await client.query<HoldingTransaction>(
    `SELECT * FROM (
       SELECT pid, usename::text AS "user", application_name AS application, state,
              (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::float8 AS "ageMs",
              backend_xid::text AS xid, backend_xmin::text AS xmin
         FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
       UNION ALL
       SELECT NULL, owner::text, 'prepared transaction ' || gid, 'prepared',
              (extract(epoch FROM clock_timestamp() - prepared) * 1000)::float8, transaction::text, NULL
         FROM pg_catalog.pg_prepared_xacts) transactions
      WHERE "ageMs" >= $1
      ORDER BY "ageMs" DESC LIMIT 5`,
    [ageMsMin],
  );
  return rows.map((row) => ({ ...row, ageMs: Math.round(row.ageMs) }));
}

import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "pg";
import { quoteTable } from "../../runtime/postgres/identifier";
import { isLockNotAvailable, TableLockError } from "../../runtime/postgres/lock-timeout";
import { sqlStateOf } from "../../runtime/postgres/source-error";
import { inTransaction } from "../postgres/admin-session";
import type { TableName } from "../postgres/table-inspection";

const deadlineMs = 30_000;
/** For any lock but the first: far below the server's `deadlock_timeout`, 1 s by default. */
const nextLockTimeoutMs = 20;
const firstLockTimeoutMs = 100;
/** Long enough for the server to end an autovacuum that stands in the way. */
const firstLockTimeoutMsMax = 3_000;

const deadlockDetected = "40P01";

/**
 * Runs what changes publications and replica identities, in one transaction: all of it or nothing, and nobody else of ours
 * does so in this database meanwhile, since two publications of one table that are dropped at once would each leave its
 * identity to the other.
 *
 * An identity needs the table's ACCESS EXCLUSIVE lock. Who holds one and waits for another makes a deadlock with a
 * transaction of the source that has them the other way round, which that one may lose; and all others queue up behind
 * who waits. So a table that is in use gives everything back, and `work` runs again, with that table's lock taken first,
 * while none is held.
 * @throws what `work` throws; after 30 s also what a lock that is not to be had throws
 */
export async function inIdentityTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  const startedMs = Date.now();
  let busy: TableName | null = null;
  for (let patienceMs = firstLockTimeoutMs; ; patienceMs = Math.min(patienceMs * 1.5, firstLockTimeoutMsMax)) {
    const first: TableName | null = busy;
    try {
      return await inTransaction(client, async () => {
        await client.query(
          "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('sluice identities', 0))",
        );
        await client.query(`SET LOCAL lock_timeout = ${Math.round(patienceMs)}`);
        if (first !== null) {
          await client.query(`LOCK TABLE ONLY ${quoteTable(first)} IN ACCESS EXCLUSIVE MODE`);
          await client.query(`SET LOCAL lock_timeout = ${nextLockTimeoutMs}`);
        }
        return work();
      });
    } catch (error) {
      const isBusy = isLockNotAvailable(error) || sqlStateOf(error) === deadlockDetected;
      if (!isBusy || Date.now() - startedMs > deadlineMs) throw error;
      busy = error instanceof TableLockError ? error.table : first;
      await pause(Math.random() * 100);
    }
  }
}

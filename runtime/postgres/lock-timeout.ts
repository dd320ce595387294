import type { Client } from "pg";
import { sqlStateOf } from "./source-error";

/** SQLSTATE of a lock that was not to be had within lock_timeout, or at once. */
export const lockNotAvailable = "55P03";

/**
 * Runs what may have to wait for a lock, in a transaction of its own.
 * @returns null when a lock wasn't to be had in time
 */
export async function withinLockTimeout<T>(
  client: Client,
  timeoutMs: number,
  work: () => Promise<T>,
): Promise<T | null> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL lock_timeout = ${timeoutMs}`);
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    if (sqlStateOf(error) === lockNotAvailable) return null;
    throw error;
  }
}

import type { Client } from "pg";
import { sqlStateOf } from "./source-error";

const lockNotAvailable = "55P03";

/** Pure: whether a lock was not to be had within lock_timeout, or at once (NOWAIT). */
export function isLockNotAvailable(error: unknown): error is Error {
  return error instanceof Error && sqlStateOf(error) === lockNotAvailable;
}

/** Such an error of the server's that says of which table the lock is; a transaction with it is over, and may be tried again. */
export class TableLockError extends Error {
  readonly code = lockNotAvailable;

  constructor(
    readonly table: { schema: string; name: string },
    cause: Error,
  ) {
    super(cause.message, { cause });
  }
}

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
    if (isLockNotAvailable(error)) return null;
    throw error;
  }
}

import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { connectSource, toSourceError } from "../../runtime/postgres/client";

/** All that a check does against the source ends within this time. */
export const checkTimeoutMs = 5_000;

export interface AdminOptions {
  /** default 30,000 */
  statementTimeoutMs?: number;
  /** default: the source's own */
  connectTimeoutMs?: number;
}

/**
 * Runs `work` on a connection of its own, always closed after.
 * @param doing what fails, as the start of a message: `creating publication "p"`
 * @throws SluiceError
 */
export async function withAdmin<T>(
  source: SourceConfig,
  doing: string,
  work: (client: Client) => Promise<T>,
  options: AdminOptions = {},
): Promise<T> {
  const reached = { ...source, connectTimeoutMs: options.connectTimeoutMs ?? source.connectTimeoutMs };
  const client = await connectSource(reached, {
    applicationName: "sluice provider",
    statementTimeoutMs: options.statementTimeoutMs ?? 30_000,
  });
  try {
    return await work(client);
  } catch (error) {
    throw toSourceError(error, doing, source);
  } finally {
    await client.end().catch(() => {});
  }
}

/** `withAdmin` with the short deadlines of a check. */
export function withCheck<T>(source: SourceConfig, doing: string, work: (client: Client) => Promise<T>): Promise<T> {
  return withAdmin(source, doing, work, {
    statementTimeoutMs: checkTimeoutMs,
    connectTimeoutMs: Math.min(source.connectTimeoutMs, checkTimeoutMs),
  });
}

/** Runs `work` in one transaction. */
export async function inTransaction<T>(client: Client, work: () => Promise<T>): Promise<T> {
  await client.query("BEGIN");
  try {
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

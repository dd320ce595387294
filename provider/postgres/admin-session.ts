import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { connectSource, toSourceError } from "../../runtime/postgres/client";

/** All that a check does against the source ends within this time. */
export const checkTimeoutMs = 5_000;

export interface AdminOptions {
  /** default 30,000 */
  statementTimeoutMs?: number;
  /** default: the source's own */
  connectTimeoutMs?: number;
  /** see `ConnectOptions` */
  isReadOnly?: boolean;
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
    isReadOnly: options.isReadOnly,
  });
  try {
    return await work(client);
  } catch (error) {
    throw toSourceError(error, doing, source);
  } finally {
    await client.end().catch(() => {});
  }
}

/**
 * `withAdmin` for a check: read-only, and all of it, connecting included, ends within `checkTimeoutMs`. `at` names what is done next, for
 * the error that tells what had no answer.
 * @throws SluiceError `unreachable` where the time passed before there was a connection, `timeout` after
 */
export async function withCheck<T>(
  source: SourceConfig,
  doing: string,
  work: (client: Client, at: (what: string) => void) => Promise<T>,
  timeoutMs = checkTimeoutMs,
): Promise<T> {
  const startedMs = Date.now();
  let connectedMs: number | null = null;
  let step = "connecting";
  const running = withAdmin(
    source,
    doing,
    (client) => {
      connectedMs = Date.now() - startedMs;
      step = doing;
      return work(client, (what) => {
        step = what;
      });
    },
    {
      isReadOnly: true,
      statementTimeoutMs: timeoutMs,
      // Sooner than the whole, so that the server that doesn't answer is told by its name.
      connectTimeoutMs: Math.min(source.connectTimeoutMs, timeoutMs - 500),
    },
  );
  // After the deadline it ends by its own, unseen.
  running.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(tooSlow(source, { doing, step, connectedMs, timeoutMs })), timeoutMs);
  });
  try {
    return await Promise.race([running, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

function tooSlow(
  source: SourceConfig,
  {
    doing,
    step,
    connectedMs,
    timeoutMs,
  }: { doing: string; step: string; connectedMs: number | null; timeoutMs: number },
): SluiceError {
  const server = `${source.host}:${source.port}`;
  if (connectedMs === null) {
    return new SluiceError("unreachable", `${doing}: no connection to ${server} within ${timeoutMs} ms`, {
      remedy: "Check host, port and firewall.",
    });
  }
  return new SluiceError(
    "timeout",
    `${doing}: ${server} didn't finish within ${timeoutMs} ms; it was connected after ${connectedMs} ms, and ${step} had no answer`,
    { remedy: 'Look at what the server is busy with or what it waits for; preflight: "up" leaves it to the update.' },
  );
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

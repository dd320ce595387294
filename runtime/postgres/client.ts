import type { Socket } from "node:net";
import { Client, type ClientConfig } from "pg";
import type { SourceConfig } from "../config";
import { SluiceError } from "../errors";
import { resolveSecret } from "../secret-reference";
import { pinnedSessionSettings, pinSession, sessionOptions } from "./session-settings";
import { sqlStateOf, toSourceError, withConnectionState } from "./source-error";
import { SourceSocket } from "./source-socket";
import { TlsSocket, tlsOptions } from "./tls";

export { toSourceError } from "./source-error";

/** of a session in the way of a standby's replay */
const serializationFailure = "40001";

export interface ConnectOptions {
  /** default `sluice` */
  applicationName?: string;
  /**
   * default 0: none. The server's; a server, or a way to it, that is silent for twice that (5 s more at most) is given up,
   * and the connection with it
   */
  statementTimeoutMs?: number;
  /** With `failoverHosts`: a primary on an earlier timeline is a former one, and is passed over. Default 0: none is */
  timelineMin?: number;
  /** Transactions are read-only unless they are begun otherwise. */
  isReadOnly?: boolean;
  /** Told why a server before the one that is taken wasn't. */
  onPassedOver?(reason: string): void;
}

/** Settings for `pg`, with the password resolved: keep the result in memory only (secret). */
export function clientConfig(source: SourceConfig, options: ConnectOptions = {}): ClientConfig {
  const ssl = tlsOptions(source);
  return {
    host: source.host,
    port: source.port,
    database: source.database,
    user: source.user,
    password: source.password === undefined ? undefined : resolveSecret(source.password, "password of the source"),
    ssl,
    // Under TLS data comes from the decryption, in memory of its own.
    stream: () => (ssl === false ? new SourceSocket() : new TlsSocket()),
    application_name: options.applicationName ?? "sluice",
    connectionTimeoutMillis: source.connectTimeoutMs,
    statement_timeout: options.statementTimeoutMs ?? 0,
    keepAlive: true,
    options: sessionOptions(),
  };
}

/** The state of a client's socket; a session that the server has ended is gone before its socket is. */
function socketOf(client: Client): { destroyed: boolean } {
  const { connection, _queryable } = client as unknown as { connection?: { stream?: Socket }; _queryable?: boolean };
  return { destroyed: _queryable === false || (connection?.stream?.destroyed ?? true) };
}

/** A client whose errors tell when they come of the loss of the connection. */
class SourceClient extends Client {
  /** how long an answer is waited for; 0: for ever */
  silenceMsMax = 0;

  /** by which the standby has ended the session while it was idle: the next query reports it */
  conflict: unknown = null;

  withState(error: unknown): unknown {
    if (this.conflict !== null && sqlStateOf(error) === undefined) return this.conflict;
    return withConnectionState(error, socketOf(this));
  }

  override query(...args: unknown[]): never {
    const result = Reflect.apply(super.query, this, args) as unknown;
    if (!(result instanceof Promise)) return result as never;
    // A statement_timeout is the server's, which may be out of reach.
    const timer =
      this.silenceMsMax === 0 ? undefined : setTimeout(() => this.connection?.stream.destroy(), this.silenceMsMax);
    return result
      .catch((error: unknown) => {
        throw this.withState(error);
      })
      .finally(() => clearTimeout(timer)) as never;
  }
}

/** A failure of work on a client, of whatever kind, with what the client knows of the end of its session. */
export function withClientState(error: unknown, client: Client): unknown {
  return client instanceof SourceClient ? client.withState(error) : withConnectionState(error, socketOf(client));
}

/**
 * An open connection with pinned session settings; the caller ends it. With `failoverHosts` it leads to the first server
 * that answers and is a primary, not a former one; `client.host` and `client.port` tell which.
 * @throws SluiceError `authentication`, `unreachable`, `missing-object`, `config`
 */
export async function connectSource(source: SourceConfig, options: ConnectOptions = {}): Promise<Client> {
  const addresses = [{ host: source.host, port: source.port }, ...(source.failoverHosts ?? [])];
  if (addresses.length === 1) return connectAddress(source, options);
  const failures: SluiceError[] = [];
  for (const { host, port } of addresses) {
    try {
      const client = await connectAddress({ ...source, host, port }, options);
      const reason = await reasonAgainst(client, options.timelineMin ?? 0);
      if (reason === null) {
        for (const { message } of failures) options.onPassedOver?.(message);
        return client;
      }
      await client.end().catch(() => {});
      failures.push(new SluiceError("unreachable", `${host}:${port} ${reason}`, { remedy: noPrimary }));
    } catch (error) {
      failures.push(toSourceError(error, "connecting", { ...source, host, port }));
    }
  }
  const reasons = failures.map(({ message }) => message).join("; ");
  // What will not pass by itself is told only when no server may come back.
  const worst = failures.find(({ kind }) => kind === "unreachable") ?? failures[0];
  throw new SluiceError(worst.kind, `connecting: no primary among ${addresses.length} servers: ${reasons}`, {
    remedy: worst.remedy,
    sqlState: worst.sqlState,
  });
}

const noPrimary = "Promote a standby, or correct host and failoverHosts.";

/** Why a server isn't the primary; null when it is. */
async function reasonAgainst(client: Client, timelineMin: number): Promise<string | null> {
  const { rows } = await client.query<{ file: string | null }>(
    "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_insert_lsn()) END AS file",
  );
  const [{ file }] = rows;
  if (file === null) return "is a standby";
  // A WAL file's name begins with its timeline (PostgreSQL documentation, section 28.6).
  const timeline = Number.parseInt(file.slice(0, 8), 16);
  if (timeline >= timelineMin) return null;
  return `is a former primary (timeline ${timeline}; timeline ${timelineMin} is followed)`;
}

async function connectAddress(source: SourceConfig, options: ConnectOptions): Promise<Client> {
  const { lc_monetary: _setLater, ...settings } = pinnedSessionSettings;
  const readOnly: Record<string, string> = options.isReadOnly === true ? { default_transaction_read_only: "on" } : {};
  const client = new SourceClient({
    ...clientConfig(source, options),
    options: sessionOptions({ ...settings, ...readOnly }),
  });
  // Without a listener a connection that dies while idle would end the process; the next query reports it.
  client.on("error", (error) => {
    if (sqlStateOf(error) === serializationFailure) client.conflict = error;
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    const connecting = client.connect();
    connecting.catch(() => {});
    await Promise.race([
      connecting,
      new Promise((_, reject) => {
        timer = setTimeout(() => {
          reject(
            new SluiceError(
              "unreachable",
              `connecting: no answer from ${source.host}:${source.port} within ${source.connectTimeoutMs} ms`,
              { remedy: "Check host, port and firewall, or raise connectTimeoutMs." },
            ),
          );
        }, source.connectTimeoutMs + 250);
      }),
    ]);
    const { statementTimeoutMs = 0 } = options;
    client.silenceMsMax = statementTimeoutMs + Math.min(statementTimeoutMs, 5_000);
    await pinSession(client);
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw toSourceError(client.withState(error), "connecting", source);
  } finally {
    clearTimeout(timer);
  }
}

import { type ErrorKind, SluiceError } from "../errors";

interface Target {
  host: string;
  port: number;
  database: string;
  user: string;
}

/**
 * What a PostgreSQL or socket error means, by SQLSTATE (PostgreSQL documentation, appendix A) or the system's error
 * code; never by the text of its message.
 * @param doing what was attempted, as it reads after "while": `connecting`, `creating publication "p"`
 */
export function toSourceError(error: unknown, doing: string, source?: Target): SluiceError {
  if (error instanceof SluiceError) return error;
  const code = errorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  const at = source === undefined ? "" : ` (${source.user}@${source.host}:${source.port}/${source.database})`;
  const meaning = meaningOf(code, source);
  return new SluiceError(meaning.kind, `${doing}: ${message}${at}`, {
    remedy: meaning.remedy,
    sqlState: code !== undefined && isSqlState(code) ? code : undefined,
    cause: error,
  });
}

/**
 * pg's own errors of a connection that is gone carry no code: they get that of a broken connection, by the state of the
 * socket.
 */
export function withConnectionState(error: unknown, socket: { destroyed: boolean } | undefined): unknown {
  if (error instanceof Error && errorCode(error) === undefined && (socket?.destroyed ?? true)) {
    Object.assign(error, { code: "08006" });
  }
  return error;
}

/** The five-character SQLSTATE of a server's error; undefined for any other. */
export function sqlStateOf(error: unknown): string | undefined {
  if (error instanceof SluiceError) return error.sqlState;
  const code = errorCode(error);
  return code !== undefined && isSqlState(code) ? code : undefined;
}

function isSqlState(code: string): boolean {
  return /^[0-9A-Z]{5}$/.test(code);
}

function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  if ("code" in error && typeof error.code === "string") return error.code;
  // Node tries several addresses of a host name and reports them together.
  if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
  return undefined;
}

function meaningOf(code: string | undefined, source?: Target): { kind: ErrorKind; remedy?: string } {
  const host = source === undefined ? "the server" : `${source.host}:${source.port}`;
  switch (code) {
    case "28P01":
    case "28000":
      return {
        kind: "authentication",
        remedy: "Check user and password, and that pg_hba.conf admits this host, user and database.",
      };
    case "3D000":
      return { kind: "missing-object", remedy: "Create the database, or correct its name." };
    case "42501":
      return { kind: "permission", remedy: "Grant the privilege named in the message to the role." };
    case "42P01":
    case "42704":
    case "3F000":
      return { kind: "missing-object" };
    case "42710":
      return { kind: "name-taken", remedy: "Choose another name, or drop the object if nothing uses it." };
    case "55006":
      return { kind: "slot-in-use", remedy: "Stop the other consumer: see active_pid in pg_replication_slots." };
    case "55000":
      return { kind: "slot-lost" };
    case "53400":
      return {
        kind: "source-setting",
        remedy:
          "Drop an unused slot (SELECT slot_name, active FROM pg_replication_slots), or raise max_replication_slots and restart PostgreSQL.",
      };
    case "53300":
      return { kind: "unreachable", remedy: "Raise max_connections or max_wal_senders, or close idle sessions." };
    case "40001":
    case "40P01":
      return {
        kind: "timeout",
        remedy:
          "On a standby, replay ends sessions that it had to wait for: set hot_standby_feedback = on there, with a physical slot (primary_slot_name), or raise max_standby_streaming_delay.",
      };
    case "55P03":
    case "57014":
    case "25P03":
    case "25P04":
      return { kind: "timeout" };
    case "57P01":
    case "57P02":
    case "57P03":
    case "57P05":
      return { kind: "unreachable" };
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { kind: "unreachable", remedy: `Check the host name: ${host} does not resolve.` };
    case "ECONNREFUSED":
      return {
        kind: "unreachable",
        remedy: `Check that PostgreSQL runs at ${host}, listens on that address (listen_addresses) and that no firewall blocks it.`,
      };
    case "ECONNRESET":
    case "EPIPE":
    case "ETIMEDOUT":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "08000":
    case "08003":
    case "08006":
    case "08P01":
      return { kind: "unreachable" };
    default:
      return { kind: "internal" };
  }
}

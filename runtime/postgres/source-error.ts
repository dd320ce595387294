import { type ErrorKind, SluiceError } from "../errors";
import { defaultSslMode, type SourceConfig } from "../source-config";
import { tlsRefusedCode } from "./tls";

type Target = Pick<SourceConfig, "host" | "port" | "database" | "user"> & Partial<SourceConfig>;

/** Of a connection that was made, and is gone. */
export const lostConnectionRemedy =
  "A running gateway connects again by itself. If it lasts, check that PostgreSQL runs, and what on the way ends connections (proxies, idle timeouts).";

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

function meaningOf(code: string | undefined, source?: Target): { kind: ErrorKind; remedy: string } {
  const host = source === undefined ? "the server" : `${source.host}:${source.port}`;
  switch (code) {
    case "28P01":
      return {
        kind: "authentication",
        remedy: "Check user and password, and that pg_hba.conf admits this host, user and database.",
      };
    case "28000":
      return {
        kind: "authentication",
        remedy: `Check that pg_hba.conf admits this host, user and database${byTls(source)}.`,
      };
    case tlsRefusedCode:
      return {
        kind: "tls",
        remedy: `Run ALTER SYSTEM SET ssl = on, with a certificate, and SELECT pg_reload_conf(); or, where nobody can listen to or change what goes to ${host}, set sslMode: "disable".`,
      };
    case "3D000":
      return { kind: "missing-object", remedy: "Create the database, or correct its name." };
    case "42501":
      return { kind: "permission", remedy: "Grant the privilege named in the message to the role." };
    case "42P01":
    case "42704":
    case "3F000":
      return {
        kind: "missing-object",
        remedy: "Create what the message names, or correct its name; then pulumi refresh and pulumi up.",
      };
    case "42710":
      return { kind: "name-taken", remedy: "Choose another name, or drop the object if nothing uses it." };
    case "55006":
      return { kind: "slot-in-use", remedy: "Stop the other consumer: see active_pid in pg_replication_slots." };
    case "55000":
      return {
        kind: "slot-lost",
        remedy:
          'SELECT * FROM pg_replication_slots tells the slot\'s state (wal_status). Run pulumi refresh, then pulumi up; or set onSlotLost: "resnapshot", which copies every table again.',
      };
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
      return {
        kind: "timeout",
        remedy:
          "SELECT pid, pg_blocking_pids(pid), query FROM pg_stat_activity tells who holds the lock: end that, or wait.",
      };
    case "57014":
      return {
        kind: "timeout",
        remedy:
          "Look for what blocks it (pg_stat_activity, pg_locks), or raise the role's statement_timeout, or our deadline.",
      };
    case "25P03":
    case "25P04":
      return {
        kind: "timeout",
        remedy: `Let the role's transactions last: ALTER ROLE … SET ${code === "25P03" ? "idle_in_transaction_session_timeout" : "transaction_timeout"} = 0.`,
      };
    case "57P01":
    case "57P02":
    case "57P03":
      return {
        kind: "unreachable",
        remedy:
          "The server stops or starts, or somebody has ended the session (pg_terminate_backend): once it runs, the same works again.",
      };
    case "57P05":
      return {
        kind: "unreachable",
        remedy: "Let idle sessions of the role last: ALTER ROLE … SET idle_session_timeout = 0.",
      };
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
      return { kind: "unreachable", remedy: lostConnectionRemedy };
    default:
      return (code === undefined ? undefined : tlsMeaning(code, host)) ?? defect(code);
  }
}

/** Nothing that we know of makes the server say this. */
function defect(code: string | undefined): { kind: ErrorKind; remedy: string } {
  const which = code === undefined ? "" : ` and the code ${code}`;
  return {
    kind: "internal",
    remedy: `Run the same again; if it comes again, report it with our log, the server's log of that moment${which}.`,
  };
}

/** What else pg_hba.conf may ask for: TLS (hostssl), a client certificate (cert, clientcert). */
function byTls(source: Target | undefined): string {
  if (source === undefined) return "";
  const mode = source.sslMode ?? defaultSslMode(source);
  if (mode === "disable") return '; where it asks for TLS, set sslMode: "verify-full"';
  if (source.sslKey === undefined) return "; where it asks for a client certificate, give sslCertFile and sslKey";
  return "; the client certificate is to be signed by an authority in the server's ssl_ca_file, with the user as its common name";
}

/** Node's and OpenSSL's codes of TLS (Node documentation, "TLS: X509 certificate error codes"). */
function tlsMeaning(code: string, host: string): { kind: ErrorKind; remedy: string } | undefined {
  switch (code) {
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "CERT_UNTRUSTED":
    case "INVALID_CA":
    case "CERT_SIGNATURE_FAILURE":
      return {
        kind: "tls",
        remedy: `Give the authority that has signed the certificate of ${host} (a self-signed one: itself): sslRootCertFile: "/path/to/ca.pem", or sslRootCert with the PEM text. Where nobody can change what goes there, sslMode: "require" encrypts without a check.`,
      };
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return {
        kind: "tls",
        remedy: `Renew the certificate of ${host} or of its authority, then SELECT pg_reload_conf(); else correct the clock of this machine.`,
      };
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return {
        kind: "tls",
        remedy: `Use a host name that the certificate has, or name it by sslServerName; a certificate for ${host} has it as a subject alternative name.`,
      };
  }
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    return {
      kind: "tls",
      remedy: `${host} refuses the client's certificate: sslCert and sslKey are to be valid, and signed by an authority in the server's ssl_ca_file.`,
    };
  }
  if (/^ERR_(SSL|TLS|OSSL|CRYPTO)_/.test(code) || /^(CERT|CRL|UNABLE_TO)_/.test(code)) {
    return {
      kind: "tls",
      remedy: "Check the certificates of both sides; sslKey is a PEM key without a passphrase that belongs to sslCert.",
    };
  }
  return undefined;
}

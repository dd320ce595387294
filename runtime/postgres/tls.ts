import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from "node:tls";
import { SluiceError } from "../errors";
import { resolveSecret } from "../secret-reference";
import { defaultSslMode, type SourceConfig } from "../source-config";

/** Of an error by `TlsSocket`, as others' errors have theirs. */
export const tlsRefusedCode = "SLUICE_TLS_REFUSED";

/**
 * TLS settings for `pg`, with files and key read anew (secret); false without TLS.
 * @throws SluiceError `config`
 */
export function tlsOptions(source: SourceConfig): ConnectionOptions | false {
  const mode = source.sslMode ?? defaultSslMode(source);
  if (mode === "disable") return false;
  const { sslServerName } = source;
  return {
    ca: pemOf("sslRootCertFile", source.sslRootCert, source.sslRootCertFile),
    cert: pemOf("sslCertFile", source.sslCert, source.sslCertFile),
    key: source.sslKey === undefined ? undefined : resolveSecret(source.sslKey, "sslKey of the source"),
    // pg names the host itself, unless that is an address.
    servername: sslServerName,
    rejectUnauthorized: mode !== "require",
    checkServerIdentity: (host: string, certificate: PeerCertificate) =>
      mode === "verify-full" ? checkServerIdentity(sslServerName ?? host, certificate) : undefined,
  };
}

function pemOf(setting: string, text: string | undefined, path: string | undefined): string | undefined {
  if (path === undefined) return text;
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new SluiceError("config", `${setting}: the file ${path} can't be read`, {
      remedy: `Put the certificate there as PEM, readable by this user, or correct ${setting}.`,
      cause,
    });
  }
}

/**
 * The socket below TLS. A server that has none answers the SSLRequest with N (PostgreSQL documentation, section 55.2.10):
 * that is an error with a code here, where pg's has only words.
 */
export class TlsSocket extends Socket {
  private isAnswered = false;

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event !== "data" || this.isAnswered) return super.emit(event, ...args);
    this.isAnswered = true;
    const [answer] = args;
    if (!Buffer.isBuffer(answer) || answer[0] !== 0x4e) return super.emit(event, ...args);
    this.destroy(Object.assign(new Error("the server has no TLS"), { code: tlsRefusedCode }));
    return true;
  }
}

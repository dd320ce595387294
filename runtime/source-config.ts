import { z } from "zod";
import { type SecretReference, secretReferenceSchema } from "./secret-reference";

/** Of an authority's bundle that is given as text: it is in the state several times. */
const pemCharactersMax = 64 * 1024;

const certificateSchema = z
  .string()
  .max(pemCharactersMax, {
    error: `a certificate as text has ${pemCharactersMax} characters at most\n  remedy: Give the file's path (sslRootCertFile, sslCertFile).`,
  })
  .regex(/-----BEGIN CERTIFICATE-----/, {
    error:
      "a certificate is given as PEM text\n  remedy: It begins with -----BEGIN CERTIFICATE-----; a path goes to sslRootCertFile, sslCertFile.",
  });

const sslModeSchema = z.enum(["disable", "require", "verify-ca", "verify-full"], {
  error: ({ input }) =>
    input === "allow" || input === "prefer"
      ? `sslMode ${input} encrypts or not, as whoever is in between likes\n  remedy: Use verify-full; or require, which encrypts in any case.`
      : "an sslMode is one of disable, require, verify-ca, verify-full",
});
export type SslMode = z.infer<typeof sslModeSchema>;

/** Settings of a source, each by itself; `sourceProblems` tells which don't agree. */
export const sourceShape = {
  host: z.string().min(1),
  /** default 5432 */
  port: z.int().min(1).max(65535).default(5432),
  database: z.string().min(1),
  user: z.string().min(1),
  password: secretReferenceSchema.optional(),
  /**
   * as libpq's (PostgreSQL documentation, section 32.19 "SSL Support"): `disable`; `require` encrypts and checks nothing;
   * `verify-ca` checks who has signed the server's certificate; `verify-full` also that it is of this server. Default
   * `verify-full`, and `disable` where every host is of the loopback interface or a socket's folder
   */
  sslMode: sslModeSchema.optional(),
  /** PEM file of the certificate authorities, for `verify-ca` and `verify-full`; default: those of Node */
  sslRootCertFile: z.string().min(1).optional(),
  /** the same as text */
  sslRootCert: certificateSchema.optional(),
  /** name that the server's certificate has, where it isn't `host` (as libpq's host, with our host as its hostaddr) */
  sslServerName: z.string().min(1).optional(),
  /** PEM file of the client's certificate, with those between it and its authority */
  sslCertFile: z.string().min(1).optional(),
  /** the same as text */
  sslCert: certificateSchema.optional(),
  /** the client certificate's private key, PEM without a passphrase */
  sslKey: secretReferenceSchema.optional(),
  /** default 10,000 */
  connectTimeoutMs: z.int().min(100).max(300_000).default(10_000),
  /**
   * further servers of the same cluster, in the order in which they are tried when `host` doesn't answer or isn't the
   * primary: after a failover the one that was promoted is found (as libpq's list of hosts with
   * target_session_attrs=read-write)
   */
  failoverHosts: z
    .array(z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65535).default(5432) }))
    .max(32)
    .optional(),
  /**
   * a server in recovery: default `refuse`, it is waited with until it is promoted; `allow`: WAL and rows are read from
   * the standby (PostgreSQL 16 and newer), where the slot is too. It excludes `failoverHosts`
   */
  standby: z.enum(["refuse", "allow"]).optional(),
};

/** How to reach the source, as configuration files have it. Secrets are references, never values. */
export const sourceSchema = z.strictObject(sourceShape).superRefine(tellSourceProblems);

/** The same; a secret that is given as a value is in memory only. */
export type SourceConfig = Omit<z.infer<typeof sourceSchema>, "password" | "sslKey"> & {
  password?: SecretReference | string;
  sslKey?: SecretReference | string;
};

/** Pure: settings that don't agree with each other. Values that aren't known yet are taken for given. */
export function sourceProblems(source: Record<string, unknown>): { property: string; message: string }[] {
  const has = (property: string) => source[property] !== undefined;
  const problems: { property: string; message: string }[] = [];
  const tell = (property: string, message: string, remedy: string) =>
    problems.push({ property, message: `${message}\n  remedy: ${remedy}` });
  // A slot that a standby has is on that server alone.
  if (source.standby === "allow" && has("failoverHosts")) {
    const message = 'standby: "allow" excludes failoverHosts: the slot is on the one server that host names';
    tell("standby", message, "Leave failoverHosts out, or read from the primary.");
  }
  for (const [text, file] of [
    ["sslRootCert", "sslRootCertFile"],
    ["sslCert", "sslCertFile"],
  ]) {
    if (has(text) && has(file)) tell(text, `${text} and ${file} exclude each other`, `Leave ${text} or ${file} out.`);
  }
  const hasCertificate = has("sslCert") || has("sslCertFile");
  if (hasCertificate !== has("sslKey")) {
    const message = "a client certificate is given by sslKey and one of sslCert and sslCertFile";
    const lacking = hasCertificate ? "sslKey" : "sslCertFile, or sslCert";
    tell(has("sslKey") ? "sslKey" : "sslCert", message, `Give ${lacking}; or leave the client certificate out.`);
  }
  if (source.sslMode === "disable" && hasCertificate) {
    const remedy = 'Use sslMode: "verify-full"; or leave the client certificate out.';
    tell("sslMode", 'sslMode: "disable" sends no client certificate', remedy);
  }
  return problems;
}

export function tellSourceProblems(source: Record<string, unknown>, context: z.RefinementCtx): void {
  for (const { property, message } of sourceProblems(source)) {
    context.addIssue({ code: "custom", path: [property], message });
  }
}

/** Pure. */
export function defaultSslMode(source: Pick<SourceConfig, "host" | "failoverHosts">): SslMode {
  const hosts = [source.host, ...(source.failoverHosts ?? []).map(({ host }) => host)];
  return hosts.every(isLoopback) ? "disable" : "verify-full";
}

/** Pure: a socket's folder too. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("/") || /^127(\.\d{1,3}){3}$/.test(host);
}

import { join, resolve } from "node:path";
import { z } from "zod";
import { secretReferenceSchema } from "../../runtime/secret-reference";
import {
  defaultSslMode,
  type SourceConfig,
  type sourceSchema,
  sourceShape,
  tellSourceProblems,
} from "../../runtime/source-config";
import type { Properties } from "./lifecycle";
import { containsUnknown, isUnknown, unknownValue } from "./unknown-value";

const secretSchema = z.custom<SourceConfig["password"] & {}>(
  (value) => (typeof value === "string" && value !== "") || secretReferenceSchema.safeParse(value).success,
  {
    error:
      'a secret is a text, or where to find it\n  remedy: Use { env: "NAME" } or { file: "/path" }, which are read where they are used, or pulumi.secret(…).',
  },
);

/** Settings of a source as a program gives them: a secret may be a value too, encrypted in the state. */
export const sourceInputShape = { ...sourceShape, password: secretSchema.optional(), sslKey: secretSchema.optional() };

/** The same as one value, with its sslMode. */
export const sourceInputSchema = z
  .strictObject(sourceInputShape)
  .superRefine(tellSourceProblems)
  .transform((source) => ({ ...source, sslMode: source.sslMode ?? sslModeOf(source) }));

/** Pure: the default of `sslMode`, as far as the hosts are known. */
export function sslModeOf(source: Properties): string {
  const { host, failoverHosts } = source;
  if (isUnknown(host) || containsUnknown(failoverHosts)) return unknownValue;
  const isWhole = typeof host === "string" && (failoverHosts === undefined || Array.isArray(failoverHosts));
  return isWhole ? defaultSslMode(source as Pick<SourceConfig, "host" | "failoverHosts">) : "verify-full";
}

const secretSettings = ["password", "sslKey"] as const;

/** A secret that is a value, not a reference. */
export const isPlainSecret = (value: unknown): value is string => typeof value === "string" && !isUnknown(value);

/** Pure: references stay. */
export function withoutPlainSecrets<T extends Properties>(source: T): T {
  return Object.fromEntries(
    Object.entries(source).filter(
      ([key, value]) => !(secretSettings.some((setting) => setting === key) && isPlainSecret(value)),
    ),
  ) as T;
}

/** Files of a process's folder that hold secrets given as values: name to content. */
export type SecretFiles = Record<string, string>;

const secretFileNames = { password: "password.secret", sslKey: "ssl-key.secret" } as const;

/**
 * Pure: the source for a process's configuration file. Paths hold wherever the process runs, and a secret that is a value
 * becomes a file of its folder, so that its rotation is no change of the configuration.
 */
export function runtimeSource(source: SourceConfig, directory: string) {
  const secretFiles: SecretFiles = {};
  const settings = Object.entries(source).map(([key, value]) => {
    const setting = secretSettings.find((name) => name === key);
    if (setting !== undefined && typeof value === "string") {
      secretFiles[secretFileNames[setting]] = value;
      return [key, { file: join(directory, secretFileNames[setting]) }];
    }
    if (setting !== undefined && typeof value === "object" && "file" in value) {
      return [key, { file: resolve((value as { file: string }).file) }];
    }
    return [key, key.endsWith("File") && typeof value === "string" ? resolve(value) : value];
  });
  return { source: Object.fromEntries(settings) as z.input<typeof sourceSchema>, secretFiles };
}

/** Names of the environment variables that it refers to. */
export function secretVariables(source: SourceConfig): string[] {
  return secretSettings.flatMap((setting) => {
    const secret = source[setting];
    return typeof secret === "object" && "env" in secret ? [secret.env] : [];
  });
}

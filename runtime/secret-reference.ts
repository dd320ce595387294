import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SluiceError } from "./errors";

/**
 * Where a secret is found, never the secret: resolved where it is used, so that rotation makes no diff and neither
 * state, configuration file, log nor process arguments hold it (invariant 6).
 * `{ env: "NAME" }` reads an environment variable, or the credential of this name that systemd gave instead;
 * `{ file: "/path" }` a file (one trailing newline is dropped).
 */
export const secretReferenceSchema = z.union([
  z.strictObject({ env: z.string().min(1) }),
  z.strictObject({ file: z.string().min(1) }),
]);
export type SecretReference = z.infer<typeof secretReferenceSchema>;

/** A secret that is given as a value is itself. @throws SluiceError `config` when the variable is unset or the file can't be read. */
export function resolveSecret(reference: SecretReference | string, what: string): string {
  if (typeof reference === "string") return reference;
  if ("env" in reference) {
    const value = process.env[reference.env] ?? credentialOf(reference.env);
    if (value === undefined) {
      const isUnit = (process.env.CREDENTIALS_DIRECTORY ?? "") !== "";
      const hint = isUnit
        ? " This unit's credentials aren't there: in a container systemd gives them only where / is a shared mount (mount --make-rshared /)."
        : "";
      throw new SluiceError("config", `${what}: the environment variable ${reference.env} is not set`, {
        remedy: `Set ${reference.env} in the environment of this process, or give a file: { file: "/path/to/secret" }.${hint}`,
      });
    }
    return value;
  }
  try {
    return readFileSync(reference.file, "utf8").replace(/\r?\n$/, "");
  } catch (cause) {
    throw new SluiceError("config", `${what}: the file ${reference.file} can't be read`, {
      remedy: `Create ${reference.file} with the secret in it, readable by this user.`,
      cause,
    });
  }
}

/** Of a unit's LoadCredential= (systemd.exec(5), "CREDENTIALS"): whole, as a variable would be. */
function credentialOf(name: string): string | undefined {
  const folder = process.env.CREDENTIALS_DIRECTORY;
  if (folder === undefined || folder === "") return undefined;
  try {
    return readFileSync(join(folder, name), "utf8");
  } catch {
    return undefined;
  }
}

import { isAbsolute } from "node:path";
import type { CheckFailure, Properties } from "./lifecycle";
import { isPlainSecret } from "./source-input";

const secretNames = new Set(["password", "sslKey"]);

/** A private key, whole or cut short; not its path. */
const isKey = (name: string, value: unknown): boolean => name === "key" && isPlainSecret(value) && !isAbsolute(value);

/**
 * Pure. An engine may print the value of the input that a failure names (the CLI does): where a secret is in it, the
 * failure names none, and its reason tells which it is.
 */
export function withoutSecretValue(failure: CheckFailure, inputs: Properties): CheckFailure {
  const path = failure.property.split(/[.[\]]+/).filter((key) => key !== "");
  let value: unknown = inputs;
  for (const key of path) value = typeof value === "object" && value !== null ? (value as Properties)[key] : undefined;
  const name = path.at(-1) ?? "";
  const isReference = typeof value === "object" || value === undefined;
  const holds = secretNames.has(name) ? !isReference : isKey(name, value) || holdsSecret(value);
  return holds ? { property: "", reason: `${failure.property}: ${failure.reason}` } : failure;
}

function holdsSecret(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(
    ([key, inner]) => (secretNames.has(key) && isPlainSecret(inner)) || isKey(key, inner) || holdsSecret(inner),
  );
}

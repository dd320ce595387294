import type { z } from "zod";
import type { SourceConfig } from "../../runtime/config";
import { describeError, SluiceError } from "../../runtime/errors";
import { withRemedy } from "./input-remedy";
import type { CheckFailure, Properties } from "./lifecycle";
import { printOnce } from "./own-names";
import { containsUnknown, isUnknown } from "./unknown-value";

type Path = readonly PropertyKey[];

/**
 * Parses each input by its schema, defaults included; unknown values pass wherever they stand. Inputs that no schema
 * names are failures, except the engine's own (`__provider`). Never repeats a value in a reason (invariant 6).
 */
export function checkInputs(shape: Record<string, z.ZodType>, news: Properties) {
  const inputs: Properties = {};
  const failures: CheckFailure[] = [];
  for (const [name, schema] of Object.entries(shape)) {
    const value = news[name];
    if (isUnknown(value)) {
      inputs[name] = value;
      continue;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) {
      if (parsed.data !== undefined) inputs[name] = parsed.data;
      continue;
    }
    const partlyUnknown = containsUnknown(value);
    if (partlyUnknown) inputs[name] = value;
    for (const issue of parsed.error.issues) {
      if (partlyUnknown && touchesUnknown(value, issue)) continue;
      const property = renderPath([name, ...issue.path]);
      failures.push({ property, reason: withRemedy(issue, property, valueAt(value, issue.path) === undefined) });
    }
  }
  for (const name of Object.keys(news)) {
    if (name in shape || name.startsWith("__") || news[name] === undefined) continue;
    failures.push({
      property: name,
      reason: `there is no input of this name\n  remedy: Remove it, or use one of: ${Object.keys(shape).join(", ")}.`,
    });
  }
  return { inputs, failures };
}

/**
 * Pure: properties that an earlier version has kept, with the defaults of inputs that it didn't know; so that its resources
 * have no difference by them.
 */
export function withDefaults(shape: Record<string, z.ZodType>, kept: Properties): Properties {
  const all = { ...kept };
  for (const [name, schema] of Object.entries(shape)) {
    const parsed = schema.safeParse(kept[name]);
    if (parsed.success && parsed.data !== undefined) all[name] = parsed.data;
  }
  return all;
}

/** An issue at an unknown value, above or below one; a union's issue stands at the union. */
function touchesUnknown(value: unknown, issue: { path: Path; code?: string }): boolean {
  let current = value;
  for (const key of issue.path) {
    if (isUnknown(current)) return true;
    if (typeof current !== "object" || current === null) return false;
    current = (current as Record<PropertyKey, unknown>)[key];
  }
  if (isUnknown(current)) return true;
  return (issue.code === "invalid_union" || issue.code === "custom") && containsUnknown(current);
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (found, key) =>
      typeof found === "object" && found !== null ? (found as Record<PropertyKey, unknown>)[key] : undefined,
    value,
  );
}

export function renderPath(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, "");
}

/**
 * What a check that asked a source has failed by. A source that answers, only late, is told and fails nothing: an update has
 * more time.
 */
export function sourceFailures(error: unknown, source: SourceConfig, propertyOf: SourceProperties): CheckFailure[] {
  if (!(error instanceof SluiceError) || error.kind !== "timeout") return [sourceFailure(error, propertyOf)];
  printOnce(`warning: ${source.host}:${source.port}: ${error.message}. ${error.remedy}`);
  return [];
}

/** A failure of the source as the failure of the input that can mend it. */
function sourceFailure(error: unknown, propertyOf: SourceProperties): CheckFailure {
  const reason = describeError(error);
  if (!(error instanceof SluiceError)) return { property: propertyOf.host, reason };
  switch (error.kind) {
    case "authentication":
      return { property: propertyOf.password, reason };
    case "config":
      return { property: propertyOf.password, reason };
    case "tls":
      return { property: propertyOf.sslMode, reason };
    case "missing-object":
      return { property: propertyOf.database, reason };
    case "permission":
      return { property: propertyOf.user, reason };
    default:
      return { property: propertyOf.host, reason };
  }
}

export interface SourceProperties {
  host: string;
  database: string;
  user: string;
  password: string;
  sslMode: string;
}

export const ownSource: SourceProperties = {
  host: "host",
  database: "database",
  user: "user",
  password: "password",
  sslMode: "sslMode",
};

export const nestedSource: SourceProperties = {
  host: "source",
  database: "source.database",
  user: "source.user",
  password: "source.password",
  sslMode: "source.sslMode",
};

import type { z } from "zod";

/** A document as another program, of perhaps another version, has written it. */
export type DocumentReading<T> =
  | { kind: "read"; value: T }
  /** a newer program wrote it; `what` it has: its version, or names and kinds that this program doesn't know */
  | { kind: "newer"; what: string }
  | { kind: "damaged"; cause: unknown };

/**
 * Pure. What is JSON and has a higher version, or a name, a kind or a choice that isn't known, was written by a newer
 * program, as all else of a file that rots is no JSON any more, or lacks something.
 * @param newest version of such documents that this program knows
 */
export function readVersioned<T>(text: string, schema: z.ZodType<T>, newest: number): DocumentReading<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    return { kind: "damaged", cause };
  }
  const found = valueAt(value, ["version"]);
  if (typeof found === "number" && found > newest) {
    return { kind: "newer", what: `version ${found}, where this program knows ${newest} at most` };
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { kind: "read", value: parsed.data };
  const unknown = parsed.error.issues.map((issue) => unknownIn(issue, value)).filter((one) => one !== null);
  if (unknown.length < parsed.error.issues.length) return { kind: "damaged", cause: parsed.error };
  return { kind: "newer", what: `what this program doesn't know: ${unknown.join(", ")}` };
}

function unknownIn(issue: z.core.$ZodIssue, value: unknown): string | null {
  const place = issue.path.join(".");
  switch (issue.code) {
    case "unrecognized_keys":
      return [issue.keys]
        .flat()
        .map((key) => (place === "" ? key : `${place}.${key}`))
        .join(", ");
    case "invalid_union":
    case "invalid_value": {
      const found = valueAt(value, issue.path);
      return typeof found === "string" ? `${place} ${JSON.stringify(found)}` : null;
    }
    default:
      return null;
  }
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value,
  );
}

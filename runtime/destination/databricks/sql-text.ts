import { type DeltaType, elementTypeOf } from "../../change/table-schema";

/** A dotted name; each part as it is, whatever is in it. */
export function sqlName(...parts: string[]): string {
  return parts.map((part) => `\`${part.replaceAll("`", "``")}\``).join(".");
}

/** A text as a literal: the backslash escapes in Spark and on Databricks. */
export function sqlText(value: string): string {
  const escaped = value.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `'${escaped.replaceAll("\0", "\\0")}'`;
}

/** A whole number with its type, whatever its size. */
export function sqlLong(value: bigint | string): string {
  return `CAST('${BigInt(value)}' AS BIGINT)`;
}

/** Microseconds since 1970 as a TIMESTAMP. */
export function sqlTimestamp(micros: bigint | string): string {
  return `timestamp_micros(${sqlLong(micros)})`;
}

export function sqlType(type: DeltaType): string {
  switch (type) {
    case "short":
      return "SMALLINT";
    case "integer":
      return "INT";
    case "long":
      return "BIGINT";
    default: {
      const elementType = elementTypeOf(type);
      return elementType === null ? type.toUpperCase() : `ARRAY<${sqlType(elementType)}>`;
    }
  }
}

/** The Delta type of what DESCRIBE TABLE calls a column's type; null for one that isn't written here. */
export function deltaTypeOf(described: string): string | null {
  const text = described.toLowerCase();
  const element = /^array<(.*)>$/.exec(text);
  if (element !== null) {
    const elementType = deltaTypeOf(element[1]);
    return elementType === null ? null : `array<${elementType}>`;
  }
  if (/^decimal\(\d+,\s*\d+\)$/.test(text)) return text.replace(/\s/g, "");
  return shortNames[text] ?? null;
}

const shortNames: Record<string, string> = {
  smallint: "short",
  int: "integer",
  bigint: "long",
  float: "float",
  double: "double",
  string: "string",
  binary: "binary",
  boolean: "boolean",
  date: "date",
  timestamp: "timestamp",
  timestamp_ntz: "timestamp_ntz",
};

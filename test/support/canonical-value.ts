/**
 * One text for each value, the same for the source's row and the destination's, as a field of COPY's text format:
 * NULL `\N`; whole numbers and decimals as digits, decimals with all places of their scale; float and double the
 * hexadecimal bits; dates in days and timestamps in microseconds since 1970; binary hexadecimal; boolean true and false;
 * arrays `{"1",NULL}` of their elements' texts.
 */
export function canonicalField(value: unknown, deltaType: string): string {
  return value === null || value === undefined ? "\\N" : escapeField(canonicalText(value, deltaType));
}

function canonicalText(value: unknown, deltaType: string): string {
  if (deltaType.startsWith("array<")) {
    if (!Array.isArray(value)) return unexpected(value, deltaType);
    const elementType = deltaType.slice(6, -1);
    const texts = value.map((element) =>
      element === null ? "NULL" : `"${canonicalText(element, elementType).replace(/[\\"]/g, "\\$&")}"`,
    );
    return `{${texts.join(",")}}`;
  }
  switch (deltaType) {
    case "short":
    case "integer":
    case "long":
      return wholeNumber(value, deltaType);
    case "float":
    case "double":
      return floatBits(value, deltaType);
    case "string":
      return typeof value === "string" ? value : unexpected(value, deltaType);
    case "binary":
      return value instanceof Uint8Array
        ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")
        : unexpected(value, deltaType);
    case "boolean":
      return typeof value === "boolean" ? String(value) : unexpected(value, deltaType);
    case "date":
      return value instanceof Date
        ? wholeNumber(value.getTime() / 86_400_000, deltaType)
        : wholeNumber(value, deltaType);
    case "timestamp":
    case "timestamp_ntz":
      return wholeNumber(value, deltaType);
    default:
      return decimal(value, deltaType);
  }
}

/** A value that the reader gave in a form that isn't exact is never taken for equal. */
function unexpected(value: unknown, deltaType: string): never {
  throw new Error(`a ${deltaType} was read as ${typeof value} ${String(value).slice(0, 50)}`);
}

function wholeNumber(value: unknown, deltaType: string): string {
  if (typeof value === "bigint" || (typeof value === "number" && Number.isSafeInteger(value))) return String(value);
  return unexpected(value, deltaType);
}

const bits = new DataView(new ArrayBuffer(8));

function floatBits(value: unknown, deltaType: "float" | "double"): string {
  if (typeof value !== "number") return unexpected(value, deltaType);
  if (deltaType === "double") {
    bits.setFloat64(0, value);
    return bits.getBigUint64(0).toString(16).padStart(16, "0");
  }
  bits.setFloat32(0, value);
  return bits.getUint32(0).toString(16).padStart(8, "0");
}

/** A bigint is the unscaled value; a string is digits with a point. */
function decimal(value: unknown, deltaType: string): string {
  const scale = Number(/^decimal\(\d+,(\d+)\)$/.exec(deltaType)?.[1] ?? Number.NaN);
  if (Number.isNaN(scale)) return unexpected(value, deltaType);
  if (typeof value === "bigint") {
    const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0");
    const whole = digits.slice(0, digits.length - scale);
    return `${value < 0n ? "-" : ""}${whole}${scale === 0 ? "" : `.${digits.slice(-scale)}`}`;
  }
  if (typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value)) {
    const [whole, fraction = ""] = value.split(".");
    if (fraction.length === scale) return value;
    if (fraction.length < scale) return `${whole}.${fraction.padEnd(scale, "0")}`;
  }
  return unexpected(value, deltaType);
}

const escapes: Record<string, string> = {
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: the characters that COPY escapes
const escaped = /[\\\x08\f\n\r\t\v]/;

/** As COPY's text format writes a text (PostgreSQL documentation, COPY, "Text Format"). */
function escapeField(text: string): string {
  if (!escaped.test(text)) return text;
  return text.replaceAll(new RegExp(escaped, "g"), (character) => escapes[character]);
}

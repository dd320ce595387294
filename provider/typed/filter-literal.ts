import { SluiceError } from "../../runtime/errors";
import { quoteLiteral } from "../../runtime/postgres/identifier";

/** What a column can be compared with, by the kind of its values. */
export interface FilterLiterals {
  smallint: number;
  integer: number;
  bigint: number | bigint;
  numeric: number | bigint | `${number}`;
  real: number;
  double: number;
  text: string;
  boolean: boolean;
  /** as `2026-05-31` */
  date: string;
  /** as `2026-05-31 23:59:59.999`, without a time zone */
  timestamp: string;
  /** as `2026-05-31T23:59:59.999Z`; text has `Z` or an offset */
  timestamptz: Date | string;
  /** as `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11` */
  uuid: string;
  bytea: Uint8Array;
}
export type FilterKind = keyof FilterLiterals;

const wholeNumbers = {
  smallint: [-(2n ** 15n), 2n ** 15n - 1n],
  integer: [-(2n ** 31n), 2n ** 31n - 1n],
  bigint: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

/**
 * Pure: a value as a literal that takes the type of the column beside it, so that 0.1 is compared with a `real` as a
 * `real`, and no cast or setting of the session has a part in it (PostgreSQL documentation, section 4.1.2).
 * @throws SluiceError `config` for a value that the type doesn't have
 */
export function renderLiteral(column: string, kind: FilterKind, value: unknown): string {
  const refuse = (wanted: string) =>
    new SluiceError("config", `filter on column ${column} (${kind}): ${describeValue(value)} is not ${wanted}`, {
      remedy: `Give ${wanted}.`,
    });
  switch (kind) {
    case "smallint":
    case "integer":
    case "bigint":
      return wholeNumber(kind, value) ?? fail(refuse(`a whole number of the type ${kind}`));
    case "numeric":
      return numeric(value) ?? fail(refuse('a number, or a decimal as text: "12.50"'));
    case "real":
    case "double":
      return typeof value === "number" ? `'${value}'` : fail(refuse("a number"));
    case "boolean":
      return typeof value === "boolean" ? String(value) : fail(refuse("true or false"));
    case "text":
      return text(value) ?? fail(refuse("text without zero characters and halves of surrogate pairs"));
    case "date":
      return matching(value, /^\d{4}-\d\d-\d\d$/) ?? fail(refuse("a date as 2026-05-31"));
    case "timestamp":
      return (
        matching(value, /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$/) ??
        fail(refuse("a time without a zone, as 2026-05-31 23:59:59"))
      );
    case "timestamptz":
      return instant(value) ?? fail(refuse("a Date, or a time with its zone, as 2026-05-31T23:59:59Z"));
    case "uuid":
      return (
        matching(value, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i) ??
        fail(refuse("a UUID as a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"))
      );
    case "bytea":
      return value instanceof Uint8Array
        ? quoteLiteral(`\\x${Buffer.from(value).toString("hex")}`).trim()
        : fail(refuse("bytes (Uint8Array)"));
  }
}

function fail(error: SluiceError): never {
  throw error;
}

function describeValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? `a ${value.constructor?.name ?? "object"}` : String(value);
}

function wholeNumber(kind: keyof typeof wholeNumbers, value: unknown): string | null {
  if (typeof value === "number" ? !Number.isSafeInteger(value) : typeof value !== "bigint") return null;
  const exact = BigInt(value as number | bigint);
  const [min, max] = wholeNumbers[kind];
  return exact < min || exact > max ? null : `'${exact}'`;
}

/** Digits only: PostgreSQL reads blanks, hexadecimal and underscores too, but not in every version. */
function numeric(value: unknown): string | null {
  if (typeof value === "bigint") return `'${value}'`;
  if (typeof value === "number") return `'${value}'`;
  return matching(value, /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,4})?$/i);
}

function text(value: unknown): string | null {
  if (typeof value !== "string" || value.includes("\0") || /\p{Surrogate}/u.test(value)) return null;
  return quoteLiteral(value).trim();
}

function instant(value: unknown): string | null {
  if (!(value instanceof Date)) {
    return matching(value, /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)$/);
  }
  const year = value.getUTCFullYear();
  return Number.isNaN(year) || year < 1 || year > 9999 ? null : `'${value.toISOString()}'`;
}

function matching(value: unknown, form: RegExp): string | null {
  return typeof value === "string" && form.test(value) ? `'${value}'` : null;
}

import type { TableSchema } from "../change/table-schema";
import { SluiceError } from "../errors";

/** What rows written under one schema need in order to be read under the next. Pure. */
export interface SchemaChange {
  /** physical names of columns whose values get a wider type: files that have them are written anew */
  widened: string[];
  /** physical names of columns that weren't there before */
  added: string[];
}

/**
 * `before`: types by physical name. A dropped column, a renamed one and another key need nothing of the files.
 * @throws SluiceError `unsupported` when a column's new type doesn't hold all values of its old one
 */
export function compareSchemas(before: ReadonlyMap<string, string>, schema: TableSchema): SchemaChange {
  const change: SchemaChange = { widened: [], added: [] };
  for (const { name, physicalName, deltaType } of schema.columns) {
    const old = before.get(physicalName);
    if (old === undefined) change.added.push(physicalName);
    else if (isWidening(old, deltaType)) change.widened.push(physicalName);
    else if (old !== deltaType) {
      throw new SluiceError(
        "unsupported",
        `table ${schema.schema}.${schema.name}: column ${name} changed from ${old} to ${deltaType}`,
        { remedy: "Take a new snapshot of the table: drop it from the publication, and add it again." },
      );
    }
  }
  return change;
}

/** Decimal digits before the point that hold every value. */
const wholeDigits: Record<string, number> = { short: 5, integer: 10, long: 19 };
const wholeTypes = ["short", "integer", "long"];

/** Whether every value of `from` is one of `to`, another type. */
export function isWidening(from: string, to: string): boolean {
  if (from === to) return false;
  if (from === "float") return to === "double";
  const target = parseDecimal(to);
  if (wholeTypes.includes(from)) {
    if (target === null) return wholeTypes.indexOf(to) > wholeTypes.indexOf(from);
    return target.precision - target.scale >= wholeDigits[from];
  }
  const source = parseDecimal(from);
  if (source === null || target === null) return false;
  return target.scale >= source.scale && target.precision - target.scale >= source.precision - source.scale;
}

function parseDecimal(type: string): { precision: number; scale: number } | null {
  const match = /^decimal\((\d+),(\d+)\)$/.exec(type);
  return match === null ? null : { precision: Number(match[1]), scale: Number(match[2]) };
}

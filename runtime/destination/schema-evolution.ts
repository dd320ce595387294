import { type DeltaType, elementTypeOf, type TableSchema } from "../change/table-schema";
import { SluiceError } from "../errors";

/** What rows written under one schema need in order to be read under the next. Pure. */
export interface SchemaChange {
  /** physical names of columns whose values get a wider type: files that have them are written anew */
  widened: string[];
  /** physical names of columns that weren't there before */
  added: string[];
}

/** Values of before can't become values of a column's type of now. */
export class TypeChangeError extends SluiceError {
  constructor(
    label: string,
    /** of the column: its name, and both types */
    readonly change: string,
  ) {
    super("unsupported", `table ${label}: ${change}, which doesn't hold the values of before`, {
      remedy: `Take a new snapshot of the table: sluice resync --config FILE --table ${label}`,
    });
  }
}

/**
 * `before`: types by physical name. A dropped column, a renamed one and another key need nothing of the files.
 * @throws TypeChangeError when a column's new type doesn't hold all values of its old one
 */
export function compareSchemas(before: ReadonlyMap<string, string>, schema: TableSchema): SchemaChange {
  const change: SchemaChange = { widened: [], added: [] };
  for (const { name, physicalName, deltaType } of schema.columns) {
    const old = before.get(physicalName);
    if (old === undefined) change.added.push(physicalName);
    else if (isWidening(old, deltaType)) change.widened.push(physicalName);
    else if (old !== deltaType) {
      throw new TypeChangeError(
        `${schema.schema}.${schema.name}`,
        `column ${name} changed from ${old} to ${deltaType}`,
      );
    }
  }
  return change;
}

/** Decimal digits before the point that hold every value. */
const wholeDigits: Record<string, number> = { short: 5, integer: 10, long: 19 };
const wholeTypes = ["short", "integer", "long"];
/** Types whose values have one text, which DuckDB writes as PostgreSQL does. */
const writtenAlike = /^(short|integer|long|decimal\(.*\)|boolean|date|timestamp_ntz)$/;

/** Whether every value of `from` is one of `to`, another type: a wider one, or its text; of arrays element by element. */
export function isWidening(from: string, to: string): boolean {
  if (from === to) return false;
  const [element, otherElement] = [from, to].map((type) => elementTypeOf(type as DeltaType));
  if (element !== null || otherElement !== null) {
    return element !== null && otherElement !== null && isWidening(element, otherElement);
  }
  if (to === "string") return writtenAlike.test(from);
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

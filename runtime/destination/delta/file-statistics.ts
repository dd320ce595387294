import { type ColumnSchema, elementTypeOf } from "../../change/table-schema";
import type { DuckDbSession } from "../duckdb-session";
import { literal } from "../duckdb-session";

/** Columns that get statistics, as readers expect: delta.dataSkippingNumIndexedCols' default; keys get them always. */
const columnsMax = 32;
/** Of texts so much is kept in the log (UTF-16 units; the texts are ASCII). */
const textMax = 32;
const micros = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:\+00)?$/;

/** Of one column in one file, over its row groups; bounds are null where a row group has none that are known. */
interface Footer {
  path: string;
  name: string;
  nulls: bigint | null;
  isBounded: boolean;
  minima: (string | null)[];
  maxima: (string | null)[];
}

/**
 * Statistics of Delta's `add` (protocol, "Per-file Statistics") as JSON text for each file, from the Parquet footers.
 * Bounds contain all values but needn't be values themselves; floating-point columns have none, for readers don't agree
 * on NaN; neither have arrays, binary, boolean and (in DuckDB's footers) texts beyond ASCII.
 * @param records rows of each file by path
 * @param always physical names of columns that get them wherever they stand
 */
export async function readFileStatistics(
  session: DuckDbSession,
  records: ReadonlyMap<string, number>,
  columns: ColumnSchema[],
  always: ReadonlySet<string> = new Set(),
): Promise<Map<string, string>> {
  const chosen = columns.filter(
    (column, index) => index < columnsMax || column.keyOrdinal !== null || always.has(column.physicalName),
  );
  const footers = await session.rows<Footer>(
    `SELECT file_name AS path, path_in_schema AS name,
       CASE WHEN bool_and(stats_null_count IS NOT NULL) THEN sum(stats_null_count)::BIGINT END AS nulls,
       bool_and(stats_null_count = num_values OR (stats_min_value IS NOT NULL AND stats_max_value IS NOT NULL)) IS TRUE AS "isBounded",
       list(stats_min_value) AS minima, list(stats_max_value) AS maxima
     FROM parquet_metadata([${[...records.keys()].map(literal).join(", ")}]) GROUP BY ALL`,
  );
  const byFile = new Map<string, Map<string, Footer>>();
  for (const footer of footers) {
    const known = byFile.get(footer.path) ?? new Map<string, Footer>();
    byFile.set(footer.path, known.set(footer.name, footer));
  }
  return new Map(
    [...records].map(([path, count]) => [path, statisticsText(count, chosen, byFile.get(path) ?? new Map())]),
  );
}

function statisticsText(records: number, columns: ColumnSchema[], footers: Map<string, Footer>): string {
  const [minimum, maximum, nulls] = [[], [], []] as string[][];
  for (const column of columns) {
    // A footer tells of an array's elements only.
    if (elementTypeOf(column.deltaType) !== null) continue;
    const footer = footers.get(column.physicalName);
    const key = JSON.stringify(column.physicalName);
    const nullCount = footer === undefined ? BigInt(records) : footer.nulls;
    if (nullCount !== null) nulls.push(`${key}:${nullCount}`);
    const bounds = footer?.isBounded ? boundsOf(column.deltaType, footer) : null;
    if (bounds === null) continue;
    minimum.push(`${key}:${bounds.min}`);
    maximum.push(`${key}:${bounds.max}`);
  }
  return `{"numRecords":${records},"tightBounds":true,"minValues":{${minimum}},"maxValues":{${maximum}},"nullCount":{${nulls}}}`;
}

/** As JSON texts. */
function boundsOf(type: string, { minima, maxima }: Footer): { min: string; max: string } | null {
  const least = minima.filter((value) => value !== null);
  const most = maxima.filter((value) => value !== null);
  if (least.length === 0 || most.length === 0) return null;
  const format = formatOf(type);
  if (format === null) return null;
  const min = format.low(least.reduce((a, b) => (format.compare(b, a) < 0 ? b : a)));
  const max = format.high(most.reduce((a, b) => (format.compare(b, a) > 0 ? b : a)));
  return min === null || max === null ? null : { min, max };
}

interface BoundFormat {
  compare: (a: string, b: string) => number;
  low: (text: string) => string | null;
  high: (text: string) => string | null;
}

const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
const compareNumbers = (a: string, b: string): number => {
  const [x, y] = [a, b].map((text) => BigInt(text.replace(".", "")));
  return x < y ? -1 : x > y ? 1 : 0;
};
/** Digits as they are: they may be more than a number of JavaScript has. */
const number = (text: string) => (/^-?\d+(\.\d+)?$/.test(text) ? text : null);
const date = (text: string) => (/^\d{4}-\d\d-\d\d$/.test(text) ? JSON.stringify(text) : null);
const ascii = (text: string) => /^[\x20-\x7e]*$/.test(text);

function formatOf(type: string): BoundFormat | null {
  switch (type) {
    case "short":
    case "integer":
    case "long":
      return { compare: compareNumbers, low: number, high: number };
    case "date":
      return { compare: compareTexts, low: date, high: date };
    case "timestamp":
      return { compare: compareTexts, low: (text) => instant(text, 0, "Z"), high: (text) => instant(text, 999, "Z") };
    case "timestamp_ntz":
      return { compare: compareTexts, low: (text) => instant(text, 0, ""), high: (text) => instant(text, 999, "") };
    case "string":
      return { compare: compareTexts, low: textBelow, high: textAbove };
    case "float":
    case "double":
    case "binary":
    case "boolean":
      return null;
    default:
      return type.startsWith("decimal") ? { compare: compareNumbers, low: number, high: number } : null;
  }
}

/** With milliseconds, as readers have them: down, or up by what is added. */
function instant(text: string, addMicros: number, zone: string): string | null {
  const match = micros.exec(text);
  if (match === null) return null;
  const fraction = Number((match[3] ?? "").padEnd(6, "0"));
  const ms = Date.parse(`${match[1]}T${match[2]}Z`) + Math.floor((fraction + addMicros) / 1000);
  if (Number.isNaN(ms) || ms > 253_402_300_799_999) return null;
  return JSON.stringify(new Date(ms).toISOString().replace("Z", zone));
}

function textBelow(text: string): string | null {
  return ascii(text) ? JSON.stringify(text.slice(0, textMax)) : null;
}

/** A cut text is followed by the greatest character: no text with its beginning is above it. */
function textAbove(text: string): string | null {
  if (!ascii(text)) return null;
  return JSON.stringify(text.length <= textMax ? text : `${text.slice(0, textMax)}\u{10ffff}`);
}

/** Whether a file's statistics, as its log has them, tell of all these columns. */
export function tellsOf(stats: string | null | undefined, physicalNames: readonly string[]): boolean {
  if (physicalNames.length === 0) return true;
  const { nullCount = {} } = JSON.parse(stats ?? "{}") as { nullCount?: Record<string, unknown> };
  return physicalNames.every((each) => nullCount[each] !== undefined);
}

/** Bounds are still bounds once rows are marked as deleted, but no longer values (protocol, "tightBounds"). */
export function withTightBounds(stats: string, isTight: boolean): string {
  const known = /"tightBounds"\s*:\s*(true|false)/;
  const told = `"tightBounds":${isTight}`;
  return known.test(stats) ? stats.replace(known, told) : stats.replace(/^\s*\{/, `{${told},`);
}

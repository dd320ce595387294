import { hash } from "node:crypto";
import type { Client } from "pg";
import { quoteTable } from "../../runtime/postgres/identifier";
import { canonicalField } from "./canonical-value";
import type { DeltaTableView } from "./delta-reader";
import { type Arrays, copyRows, readSourceColumns, type SourceColumn } from "./source-rows";

export interface Difference {
  table: string;
  /** canonical texts of the key's columns; of the whole row where there is no key */
  key: string;
  /** null: the row is on one side only */
  column: string | null;
  /** canonical text, or null where the row is missing */
  source: string | null;
  destination: string | null;
}

export interface Equality {
  table: string;
  equal: boolean;
  /** rows of the source */
  rows: number;
  destinationRows: number;
  /** rows of one side without their equal on the other; 0 exactly when equal */
  differing: number;
  /** those of the source, and those of the destination */
  sourceOnly: number;
  destinationOnly: number;
  /** the first of them, and of the columns */
  differences: Difference[];
}

export type Destination = Pick<DeltaTableView, "columns" | "batches">;

const differencesMax = 20;
/** Differing rows kept of each side, so that those with the same key can be paired. */
const keptMax = 10_000;

/**
 * Compares every value of every row, as multisets of whole rows: the source's, read in its own SQL as canonical text
 * (see canonical-value.ts), and the destination's, read by the independent reader. Rows are held as 256-bit digests,
 * so memory is that of the digests and of the largest data file. Names, order and types of columns must be the same.
 * The caller sees to it that nobody writes meanwhile.
 */
export async function compareTable(
  client: Client,
  table: { schema: string; name: string },
  destination: Destination,
  arrays: Arrays = "text",
): Promise<Equality> {
  const name = `${table.schema}.${table.name}`;
  const columns = await readSourceColumns(client, table, arrays);
  const differences = compareColumns(name, columns, destination);
  if (differences.length > 0) {
    const none = { rows: 0, destinationRows: 0, sourceOnly: 0, destinationOnly: 0 };
    return { table: name, equal: false, ...none, differing: differences.length, differences };
  }
  const { digests, rows: destinationRows } = await readDigests(destination);
  const sourceLines: string[] = [];
  let rows = 0;
  let sourceOnly = 0;
  const query = `SELECT ${columns.map((column) => column.expression).join(", ")} FROM ${quoteTable(table)}`;
  await copyRows(client, query, (line) => {
    rows++;
    if (takeOne(digests, hash("sha256", line, "latin1"))) return;
    sourceOnly++;
    if (sourceLines.length < keptMax) sourceLines.push(line.toString("utf8"));
  });
  const destinationLines = digests.size === 0 ? [] : await readLeft(destination, digests);
  let destinationOnly = 0;
  for (const count of digests.values()) destinationOnly += count;
  const differing = sourceOnly + destinationOnly;
  return {
    table: name,
    equal: differing === 0,
    rows,
    destinationRows,
    differing,
    sourceOnly,
    destinationOnly,
    differences: pairRows(name, columns, sourceLines, destinationLines).slice(0, differencesMax),
  };
}

/**
 * Compares two tables as multisets of whole rows, as `compareTable` does: the first rows that one of them lacks, as lines;
 * `rows`: of the found one. Memory is that of the digests and of the largest data file.
 */
export async function compareTables(
  found: Destination,
  wanted: Destination,
): Promise<{ rows: number; problems: string[] }> {
  const [has, lacks] = [found, wanted].map(({ columns }) =>
    columns.map(({ name, type }) => `${name} ${type}`).join(", "),
  );
  if (has !== lacks) return { rows: 0, problems: [`columns are ${has}, not ${lacks}`] };
  const { digests, rows } = await readDigests(found);
  const problems: string[] = [];
  let missing = 0;
  await eachLine(wanted, (line) => {
    if (takeOne(digests, hash("sha256", line, "latin1"))) return;
    if (++missing <= differencesMax) problems.push(`lacks ${line}`);
  });
  let extra = 0;
  for (const count of digests.values()) extra += count;
  if (extra > 0) {
    const lines = await readLeft(found, digests);
    problems.push(...lines.slice(0, differencesMax).map((line) => `has ${line}`));
  }
  if (missing + extra > 0) problems.unshift(`${missing} rows are missing, ${extra} too many, of ${rows}`);
  return { rows, problems };
}

/** One difference as a line. */
export function describeDifference({ table, key, column, source, destination }: Difference): string {
  if (source === null)
    return `${table} (${key}): only in the destination${column === null ? "" : `: column ${column}`}`;
  if (destination === null)
    return `${table} (${key}): only in the source${column === null ? "" : `: column ${column}`}`;
  return `${table} (${key}) ${column}: ${JSON.stringify(source)} in the source, ${JSON.stringify(destination)} in the destination`;
}

function compareColumns(table: string, source: SourceColumn[], destination: Destination): Difference[] {
  const differences: Difference[] = [];
  for (let at = 0; at < Math.max(source.length, destination.columns.length); at++) {
    const expected = source.at(at);
    const found = destination.columns.at(at);
    const [left, right] = [expected, found].map((one, side) => {
      if (one === undefined) return null;
      return side === 0 ? `${one.name} ${expected?.deltaType}` : `${one.name} ${found?.type}`;
    });
    if (left === right) continue;
    const column = expected?.name ?? found?.name ?? "";
    differences.push({ table, key: `column ${at + 1}`, column, source: left, destination: right });
  }
  return differences;
}

/** Gives `onLine` every row as a line of COPY's text format. */
export async function eachLine(
  { columns: described, batches }: Destination,
  onLine: (line: string) => void,
): Promise<void> {
  const types = described.map((column) => column.type);
  const fields = new Array<string>(types.length);
  for await (const { columns, count } of batches()) {
    for (let row = 0; row < count; row++) {
      for (let at = 0; at < types.length; at++) fields[at] = canonicalField(columns[at][row], types[at]);
      onLine(fields.join("\t"));
    }
  }
}

async function readDigests(destination: Destination): Promise<{ digests: Map<string, number>; rows: number }> {
  const digests = new Map<string, number>();
  let rows = 0;
  await eachLine(destination, (line) => {
    const digest = hash("sha256", line, "latin1");
    digests.set(digest, (digests.get(digest) ?? 0) + 1);
    rows++;
  });
  return { digests, rows };
}

function takeOne(digests: Map<string, number>, digest: string): boolean {
  const count = digests.get(digest);
  if (count === undefined) return false;
  if (count === 1) digests.delete(digest);
  else digests.set(digest, count - 1);
  return true;
}

/** Reads the destination again, for the lines of the digests that are left. */
async function readLeft(destination: Destination, digests: ReadonlyMap<string, number>): Promise<string[]> {
  const left = new Map(digests);
  const lines: string[] = [];
  await eachLine(destination, (line) => {
    if (lines.length < keptMax && takeOne(left, hash("sha256", line, "latin1"))) lines.push(line);
  });
  return lines;
}

/** Rows with the same key are told by their columns, the others as a whole. */
function pairRows(
  table: string,
  columns: SourceColumn[],
  sourceOnly: string[],
  destinationOnly: string[],
): Difference[] {
  const keyAt = columns.flatMap((column, at) => (column.isKey ? [at] : []));
  const keyOf = (line: string) => {
    const fields = line.split("\t");
    return (keyAt.length === 0 ? fields : keyAt.map((at) => fields[at])).join(", ");
  };
  const unpaired = new Map(destinationOnly.map((line) => [keyOf(line), line]));
  const differences: Difference[] = [];
  for (const line of sourceOnly) {
    const key = keyOf(line);
    const other = keyAt.length === 0 ? undefined : unpaired.get(key);
    if (other === undefined) {
      differences.push({ table, key, column: null, source: line, destination: null });
      continue;
    }
    unpaired.delete(key);
    const fields = line.split("\t");
    for (const [at, destination] of other.split("\t").entries()) {
      const source = fields[at];
      if (source !== destination) differences.push({ table, key, column: columns[at].name, source, destination });
    }
  }
  for (const [key, line] of unpaired) {
    differences.push({ table, key, column: null, source: null, destination: line });
  }
  return differences;
}

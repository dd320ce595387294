import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checkStatistics } from "./delta-reader-statistics";
import { deletedRows } from "./delta-reader-vectors";

/**
 * An independent reader of local Delta tables for tests: it shares no code with the runtime. The log is replayed from
 * JSON or from a checkpoint, files are read by hyparquet, deletion vectors by a decoder of its own.
 *
 * Values: short, integer, float, double → number; long → bigint; decimal → text with the column's scale; string; binary
 * → Uint8Array; boolean; date → days since 1970; timestamp, timestamp_ntz → microseconds since 1970 as bigint; or null;
 * array → an array of these. Arrays have the type `array<element>`, and may hold NULL.
 */
export interface DeltaColumn {
  name: string;
  type: string;
  physicalName: string;
}

export interface DeltaBatch {
  /** in the order of the table's columns, each `count` values */
  columns: unknown[][];
  count: number;
}

export interface DeltaTableView {
  version: number;
  columns: DeltaColumn[];
  properties: Record<string, string>;
  txns: Record<string, number>;
  files: { path: string; deleted: number }[];
  /** live rows by the log's statistics alone */
  rowCount: number;
  /** live rows, a file at a time */
  batches(ofFile?: (path: string) => boolean): AsyncGenerator<DeltaBatch>;
}

interface Add {
  path: string;
  size: number | bigint;
  stats?: string;
  partitionValues: Record<string, string | null>;
  deletionVector?: Vector | null;
}
interface Vector {
  storageType: string;
  pathOrInlineDv: string;
  offset?: number;
  sizeInBytes: number;
  cardinality: number | bigint;
}
/** Of a Parquet file's schema. */
interface Element {
  name: string;
  num_children?: number;
  scale?: number;
  converted_type?: string;
  logical_type?: { type: string };
}
interface Field {
  name: string;
  type: string | { type: string; elementType: string; containsNull: boolean };
  metadata: Record<string, unknown>;
}
// biome-ignore lint/suspicious/noExplicitAny: lines of a foreign format
type Line = Record<string, any>;

/** The table at `version`, by default the newest. `fromCheckpoint: false` replays the JSON log alone. */
export async function openDelta(
  path: string,
  options: { version?: number; fromCheckpoint?: boolean } = {},
): Promise<DeltaTableView> {
  const folder = join(path, "_delta_log");
  const names = readdirSync(folder);
  const last =
    options.version ??
    Math.max(...names.filter((name) => /^\d{20}\.json$/.test(name)).map((name) => Number.parseInt(name, 10)));
  const state = { files: new Map<string, Add>(), metaData: {} as Line, txns: {} as Record<string, number> };
  let next = 0;
  const checkpoint = options.fromCheckpoint === false ? null : newestCheckpoint(names, last);
  if (checkpoint !== null) {
    // Its removes are tombstones, also of active files with an earlier deletion vector.
    for (const part of checkpoint.parts) {
      for (const row of await parquetObjects(join(folder, part))) replay(state, [{ ...row, remove: null }]);
    }
    next = checkpoint.version + 1;
  }
  for (; next <= last; next++) {
    const text = readFileSync(join(folder, `${String(next).padStart(20, "0")}.json`), "utf8");
    replay(
      state,
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Line),
    );
  }
  const { fields } = JSON.parse(state.metaData.schemaString as string) as { fields: Field[] };
  const columns = fields.map(({ name, type, metadata }) => ({
    name,
    type: typeof type === "string" ? type : arrayTypeOf(type),
    physicalName: (metadata["delta.columnMapping.physicalName"] as string | undefined) ?? name,
  }));
  const files = [...state.files.values()];
  const logical = state.metaData.partitionColumns as string[];
  checkPartitions(
    files,
    columns.filter(({ name }) => logical.includes(name)).map(({ physicalName }) => physicalName),
  );
  return {
    version: last,
    columns,
    properties: state.metaData.configuration as Record<string, string>,
    txns: state.txns,
    files: files.map((file) => ({ path: file.path, deleted: Number(file.deletionVector?.cardinality ?? 0) })),
    rowCount: files.reduce((sum, file) => sum + countOf(file) - Number(file.deletionVector?.cardinality ?? 0), 0),
    batches: async function* (ofFile = () => true) {
      for (const file of files) if (ofFile(file.path)) yield readFileBatch(path, file, columns);
    },
  };
}

/** "partitionValues must contain a value for each partition column" (Delta protocol, "Add File"): else readers see NULL. */
function checkPartitions(files: Add[], partition: string[]): void {
  const wanted = [...partition].sort().join();
  for (const { path, partitionValues } of files) {
    const told = Object.keys(partitionValues).sort().join();
    if (told !== wanted) throw new Error(`${path} has values of the partition columns [${told}], not of [${wanted}]`);
  }
}

/** Of one file or several; unfinished ones don't count. */
function newestCheckpoint(names: string[], last: number): { version: number; parts: string[] } | null {
  for (let version = last; version >= 0; version--) {
    const start = `${String(version).padStart(20, "0")}.checkpoint.`;
    if (names.includes(`${start}parquet`)) return { version, parts: [`${start}parquet`] };
    const parts = names.filter((name) => name.startsWith(start) && /\.\d{10}\.\d{10}\.parquet$/.test(name)).sort();
    if (parts.length > 0 && parts.length === Number(parts[0].slice(-18, -8))) return { version, parts };
  }
  return null;
}

function arrayTypeOf({ type, elementType, containsNull }: Exclude<Field["type"], string>): string {
  if (type !== "array" || containsNull !== true) throw new Error(`the type ${type} isn't one that the tests read`);
  return `array<${elementType}>`;
}

function replay(state: { files: Map<string, Add>; metaData: Line; txns: Record<string, number> }, lines: Line[]): void {
  for (const { remove } of lines) if (remove) state.files.delete(remove.path as string);
  for (const { add, metaData, txn } of lines) {
    if (add) state.files.set(add.path as string, add as Add);
    if (metaData) state.metaData = metaData as Line;
    if (txn) state.txns[txn.appId as string] = Number(txn.version);
  }
}

const countOf = (file: Add): number => (JSON.parse(file.stats ?? "{}") as { numRecords: number }).numRecords;

/** All live rows as objects by column name, of all files or of some; for small tables. */
export async function readDeltaRows(
  path: string,
  version?: number,
  ofFile: (path: string) => boolean = () => true,
): Promise<Record<string, unknown>[]> {
  const table = await openDelta(path, { version });
  const rows: Record<string, unknown>[] = [];
  for await (const { columns, count } of table.batches(ofFile)) {
    for (let at = 0; at < count; at++) {
      rows.push(Object.fromEntries(table.columns.map(({ name }, index) => [name, columns[index][at]])));
    }
  }
  return rows;
}

/** All values of a Parquet file, by physical name; of a column that it hasn't: null. */
export async function readParquetColumns(
  path: string,
  wanted: Pick<DeltaColumn, "physicalName">[],
): Promise<{ values: Map<string, unknown[]>; total: number }> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetRead } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  const source = await asyncBufferFromFile(path);
  const metadata = await parquetMetadataAsync(source);
  const total = Number(metadata.num_rows);
  const decimals = rawDecimals(metadata.schema as Element[]);
  const present = new Set(metadata.schema.map((element) => element.name));
  const values = new Map<string, unknown[]>(
    wanted.map(({ physicalName }) => [physicalName, new Array(total).fill(null)] as const),
  );
  await parquetRead({
    file: source,
    metadata,
    compressors,
    utf8: false,
    columns: wanted.map((column) => column.physicalName).filter((name) => present.has(name)),
    parsers: {
      dateFromDays: (days) => days ?? null,
      timestampFromMicroseconds: (micros) => micros ?? null,
      // Spark's INT96
      timestampFromNanoseconds: (nanos) => (typeof nanos === "bigint" ? nanos / 1000n : null),
    },
    onChunk: ({ columnName, columnData, rowStart }) => {
      const target = values.get(columnName) as unknown[];
      const format = decimals.get(columnName) ?? ((value: unknown) => value);
      for (let at = 0; at < columnData.length; at++) {
        const value = columnData[at] ?? null;
        target[rowStart + at] = Array.isArray(value) ? value.map((one) => format(one ?? null)) : format(value);
      }
    },
  });
  return { values, total };
}

async function readFileBatch(path: string, file: Add, wanted: DeltaColumn[]): Promise<DeltaBatch> {
  const { values, total } = await readParquetColumns(join(path, decodeURIComponent(file.path)), wanted);
  if (total !== countOf(file)) throw new Error(`${file.path} has ${total} rows, its statistics say ${countOf(file)}`);
  const typed = wanted.map(
    ({ physicalName, type }) =>
      [physicalName, { type, values: widen(type, values.get(physicalName) as unknown[]) }] as const,
  );
  checkStatistics(file.path, file.stats as string, new Map(typed));
  for (const { physicalName, type } of wanted) {
    const text = file.partitionValues[physicalName];
    if (text === undefined) continue;
    // Files may have the column too (Spark's have).
    const value = partitionValue(type, text);
    const stored = widen(type, values.get(physicalName) as unknown[]);
    if (stored.some((one) => one !== null && one !== value))
      throw new Error(`${file.path}: ${physicalName} isn't ${text}`);
    values.set(physicalName, new Array(total).fill(value));
  }
  const deleted = await deletedRows(path, file.deletionVector ?? null);
  const columns = wanted.map(({ physicalName, type }) => widen(type, values.get(physicalName) as unknown[]));
  if (deleted === null) return { columns, count: total };
  return {
    columns: columns.map((column) => column.filter((_, row) => deleted[row] !== 1)),
    count: total - Number(file.deletionVector?.cardinality ?? 0),
  };
}

/** A value of a partition column by its text; an empty one is NULL. */
export function partitionValue(type: string, text: string | null): unknown {
  if (text === null || text === "") return null;
  if (type === "long") return BigInt(text);
  if (type === "short" || type === "integer") return Number(text);
  if (type === "boolean") return text === "true";
  if (type === "date") return Date.parse(`${text}T00:00:00Z`) / 86_400_000;
  if (type === "string" || type.startsWith("decimal")) return text;
  throw new Error(`no partition value of type ${type}`);
}

/** Integers as the table's type has them, whatever the file's. */
export function widen(type: string, values: unknown[]): unknown[] {
  if (type === "array<long>") return values.map((value) => value && widen("long", value as unknown[]));
  if (type === "long") return values.map((value) => (typeof value === "number" ? BigInt(value) : value));
  return values;
}

/** hyparquet makes numbers of decimals; here their digits are kept: the annotation goes, and text is made of them. */
function rawDecimals(elements: Element[]): Map<string, (value: unknown) => string | null> {
  const formats = new Map<string, (value: unknown) => string | null>();
  // A column is one element, a list three: the list, what repeats, the value.
  let column = "";
  for (const [at, element] of elements.entries()) {
    if (at === 0 || element.num_children !== undefined) {
      if (element.converted_type === "LIST") column = element.name;
      continue;
    }
    if (elements[at - 1]?.name !== "list" || element.name !== "element") column = element.name;
    if (element.converted_type !== "DECIMAL" && element.logical_type?.type !== "DECIMAL") continue;
    const scale = element.scale ?? 0;
    formats.set(column, (value) => formatDecimal(value as number | bigint | Uint8Array | null, scale));
    element.converted_type = undefined;
    element.logical_type = undefined;
  }
  return formats;
}

function formatDecimal(value: number | bigint | Uint8Array | null, scale: number): string | null {
  if (value === null) return null;
  const unscaled = value instanceof Uint8Array ? bigEndian(value) : BigInt(value);
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  const text = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
  return unscaled < 0n ? `-${text}` : text;
}

function bigEndian(bytes: Uint8Array): bigint {
  const hex = Buffer.from(bytes).toString("hex");
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${hex}`));
}

async function parquetObjects(path: string): Promise<Line[]> {
  const { asyncBufferFromFile, parquetReadObjects } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  return parquetReadObjects({ file: await asyncBufferFromFile(path), compressors });
}

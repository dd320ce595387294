// Contract: a file holds the values of the column buffers, bit for bit (invariant 4): whatever their type, number, size and
// NULLs, and however rows come in lots; two readers of others, DuckDB and hyparquet, agree on it. Bounds in its footer
// hold all values, or aren't there.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countChanges, locateChanges } from "../../../runtime/change/change-counts";
import { ColumnBuffer, type Storage } from "../../../runtime/change/column-buffer";
import { ParquetFile } from "../../../runtime/change/parquet-writer";
import { metaColumns, type SealedColumn, type SealedRows } from "../../../runtime/change/sealed-rows";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { Random } from "../../support/random";

const hyparquet = import("hyparquet");
const hyparquetCompressors = import("hyparquet-compressors");

const rounds = Number(process.env.SLUICE_TEST_PARQUET_ROUNDS ?? 5);
const firstSeed = Number(process.env.SLUICE_TEST_SEED ?? 1);

let folder: string;
let instance: DuckDBInstance;
let duckdb: DuckDBConnection;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-parquet-"));
  instance = await DuckDBInstance.create(":memory:");
  duckdb = await instance.connect();
  await duckdb.run("SET TimeZone = 'UTC'");
});
afterAll(() => {
  duckdb?.closeSync();
  instance?.closeSync();
  rmSync(folder, { recursive: true, force: true });
});

/** A value as the bytes that a buffer has of it (least significant first; of texts all), in hex; null is NULL. */
type Value = string | null;

interface Kind {
  type: SealedColumn["type"];
  storage: Storage;
  /** of a value; 0: it varies */
  width: number;
  random(random: Random): Buffer;
  /** in SQL: a value's text in its DuckDB type */
  sqlText: string;
  /** what that text is */
  text(bytes: Buffer): string;
  /** what hyparquet's value is in the same words */
  hyparquet(value: unknown): string;
}

function integer(type: Kind["type"], storage: Storage, width: 1 | 2 | 4 | 8 | 16, shown: Partial<Kind> = {}): Kind {
  const bits = BigInt(width * 8);
  return {
    type,
    storage,
    width,
    random: (random) => {
      const shift = random.between(0, width * 8);
      let value = 0n;
      for (let word = 0; word < 4; word++) value = (value << 32n) | BigInt(random.between(0, 0xffff_ffff));
      const extremes = [0n, -1n, 1n, 1n << (bits - 1n), (1n << (bits - 1n)) - 1n];
      return encode(random.next() < 0.3 ? random.choose(extremes) : value >> BigInt(128 - width * 8 + shift), width);
    },
    sqlText: "CAST($column AS VARCHAR)",
    text: (bytes) => String(decode(bytes)),
    hyparquet: String,
    ...shown,
  };
}

function encode(value: bigint, width: number): Buffer {
  const bytes = Buffer.alloc(width);
  let left = BigInt.asUintN(width * 8, value);
  for (let at = 0; at < width; at++, left >>= 8n) bytes[at] = Number(left & 255n);
  return bytes;
}

function decode(bytes: Buffer): bigint {
  let value = 0n;
  for (let at = bytes.length - 1; at >= 0; at--) value = (value << 8n) | BigInt(bytes[at]);
  return BigInt.asIntN(bytes.length * 8, value);
}

function decimal(precision: number, scale: number, storage: Storage, width: 2 | 4 | 8 | 16): Kind {
  const limit = 10n ** BigInt(precision);
  const text = (bytes: Buffer) => {
    const units = decode(bytes);
    const digits = String(units < 0n ? -units : units).padStart(scale + 1, "0");
    const point = digits.length - scale;
    return `${units < 0n ? "-" : ""}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ""}`;
  };
  const whole = integer(`decimal(${precision},${scale})`, storage, width);
  return {
    ...whole,
    random: (random) => {
      if (random.next() < 0.2) return encode(random.choose([limit - 1n, 1n - limit, 0n]), width);
      return encode(decode(whole.random(random)) % limit, width);
    },
    text,
  };
}

const floatValues = [0, -0, 1.5, -1e-30, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

function floating(type: "float" | "double", storage: Storage, width: 4 | 8): Kind {
  const write = (value: number) => {
    const bytes = Buffer.alloc(width);
    if (width === 4) bytes.writeFloatLE(value);
    else bytes.writeDoubleLE(value);
    return bytes;
  };
  return {
    type,
    storage,
    width,
    random: (random) => write(random.next() < 0.3 ? random.choose(floatValues) : (random.next() - 0.5) * 1e9),
    sqlText: `CASE WHEN isnan($column) THEN 'NaN' WHEN $column = 0 AND signbit($column) THEN '-0' ELSE CAST($column::DOUBLE AS VARCHAR) END`,
    text: (bytes) => {
      const value = width === 4 ? bytes.readFloatLE() : bytes.readDoubleLE();
      return Object.is(value, -0) ? "-0" : String(value);
    },
    hyparquet: (value) => (Object.is(value, -0) ? "-0" : String(value)),
  };
}

const letters = ["a", "b", "~", "\u007f", "é", "€", "😀", " ", "\0"];

function bytes(type: "string" | "binary"): Kind {
  return {
    type,
    storage: "bytes",
    width: 0,
    random: (random) => {
      const most = random.next() < 0.01 ? 100_000 : random.next() < 0.3 ? 80 : 5;
      const length = random.between(0, most);
      const common = random.next() < 0.5 ? "same beginning of all of them, é, " : "";
      if (type === "binary") return Buffer.from(Array.from({ length }, () => random.between(0, 255)));
      return Buffer.from(common + Array.from({ length }, () => random.choose(letters)).join(""));
    },
    sqlText: type === "binary" ? "lower(hex($column))" : "lower(hex(encode($column)))",
    text: (value) => value.toString("hex"),
    hyparquet: (value) => Buffer.from(value as string | Uint8Array).toString("hex"),
  };
}

const day = 86_400_000;
const kinds: Kind[] = [
  integer("byte", "i8", 1),
  integer("boolean", "i8", 1, {
    random: (random) => Buffer.from([random.between(0, 1)]),
    text: (value) => String(value[0] === 1),
  }),
  integer("short", "i16", 2),
  integer("integer", "i32", 4),
  integer("long", "i64", 8),
  integer("date", "i32", 4, {
    random: (random) => encode(BigInt(random.between(-700_000, 2_900_000)), 4),
    sqlText: "CAST($column - DATE '1970-01-01' AS VARCHAR)",
    hyparquet: (value) => String((value as Date).getTime() / day),
  }),
  ...(["timestamp", "timestamp_ntz"] as const).map((type) =>
    integer(type, "i64", 8, {
      random: (random) => encode(BigInt(random.between(-62e12, 250e12)) * 1000n + BigInt(random.between(0, 999)), 8),
      sqlText: "CAST(epoch_us($column) AS VARCHAR)",
      hyparquet: (value) => String(value),
    }),
  ),
  decimal(4, 2, "i16", 2),
  decimal(9, 0, "i32", 4),
  decimal(18, 6, "i64", 8),
  decimal(38, 18, "i128", 16),
  floating("float", "f32", 4),
  floating("double", "f64", 8),
  bytes("string"),
  bytes("binary"),
];
const nameOf = (index: number) => `c${index + 1}`;
const schema: TableSchema = { tableId: "1", schemaId: 1, schema: "public", name: "t", columns: [] } as never;

function put(buffer: ColumnBuffer, row: number, value: Value): void {
  if (value === null) {
    buffer.setNull(row);
    return;
  }
  const source = Buffer.from(value, "hex");
  if (buffer.storage === "bytes") buffer.setBytes(row, source, 0, source.length);
  else {
    source.copy(new Uint8Array(buffer.values), row * buffer.width);
    buffer.markPresent(row);
  }
}

/** Rows as a spool gives them; what is NULL holds another value's bytes, as in buffers that are used again. */
function sealedRows(columns: { name: string; kind: Pick<Kind, "type" | "storage">; values: Value[] }[]): SealedRows {
  const rows = columns[0].values.length;
  const capacity = Math.ceil(Math.max(rows, 1) / 8) * 8;
  const sealed = columns.map(({ name, kind, values }, index): SealedColumn => {
    const buffer = new ColumnBuffer(kind.storage, capacity);
    new Uint8Array(buffer.values).fill(0x7f);
    for (const [row, value] of values.entries()) put(buffer, row, value);
    return { name, type: kind.type, fieldId: index + 1, buffer };
  });
  const counts = {
    inserts: 0,
    updates: 0,
    deletes: 0,
    bytes: 0,
    memoryBytes: 0,
    unrepresentable: {},
    beforeImages: false,
  };
  return { schema, columns: sealed, rows, ...counts };
}

async function written(lots: SealedRows[], name: string): Promise<{ file: ParquetFile; path: string }> {
  const file = new ParquetFile(lots[0].columns);
  for (const lot of lots) await file.append(lot);
  const path = join(folder, `${name}.parquet`);
  // As after a failure: the same file again.
  await file.write(path);
  await file.write(path);
  return { file, path };
}

function arrayBufferOf(path: string): ArrayBuffer {
  return new Uint8Array(readFileSync(path)).buffer;
}

/** Values of each column as DuckDB has them. */
async function readByDuckDb(path: string): Promise<Value[][]> {
  const texts = kinds.map(({ sqlText }, index) => sqlText.replaceAll("$column", nameOf(index)));
  const reader = await duckdb.runAndReadAll(`SELECT ${texts.join(", ")} FROM read_parquet('${path}')`);
  return reader.getColumns() as Value[][];
}

async function readByHyparquet(path: string): Promise<Value[][]> {
  const file = arrayBufferOf(path);
  const { parquetReadObjects } = await hyparquet;
  const { compressors } = await hyparquetCompressors;
  const parsers = { timestampFromMicroseconds: (micros: bigint) => micros as never };
  const rows = await parquetReadObjects({ file, compressors, utf8: false, parsers: parsers as never });
  return kinds.map(({ hyparquet }, index) =>
    rows.map((row) => {
      const value = row[nameOf(index)];
      return value === null || value === undefined ? null : hyparquet(value);
    }),
  );
}

/** The bounds in the footer hold the values that DuckDB read; booleans have none, and NaN is within none. */
async function expectBounds(path: string): Promise<void> {
  for (const [index, { type }] of kinds.entries()) {
    const name = nameOf(index);
    const reader = await duckdb.runAndReadAll(
      `SELECT stats_min_value, stats_max_value, num_values - stats_null_count
         FROM parquet_metadata('${path}') WHERE path_in_schema = '${name}'`,
    );
    expect(reader.currentRowCount).toBe(1);
    const [min, max, present] = reader.getRows()[0];
    const isFloat = type === "float" || type === "double";
    const isBounded = min !== null && max !== null && type !== "binary";
    const outside = `count(*) FILTER (${name} < $1::${sqlTypeOf(type)} OR ${name} > $2::${sqlTypeOf(type)})::INTEGER`;
    const [known, others, hasNaN] = (
      await duckdb.runAndReadAll(
        `SELECT count(${name}), ${isBounded ? outside : 0}, ${isFloat ? `bool_or(isnan(${name}))` : false}
           FROM read_parquet('${path}')`,
        isBounded ? [String(min), String(max)] : undefined,
      )
    ).getRows()[0];
    expect([name, present, others]).toEqual([name, known, 0]);
    if (known === 0n || hasNaN === true || type === "boolean") expect([name, min, max]).toEqual([name, null, null]);
    // DuckDB doesn't show infinite ones; a text has none where its beginning has nothing that could be raised.
    else if (!isFloat && type !== "string" && type !== "binary") expect([name, isBounded]).toEqual([name, true]);
  }
}

function sqlTypeOf(type: string): string {
  const names: Record<string, string> = {
    byte: "TINYINT",
    short: "SMALLINT",
    integer: "INTEGER",
    long: "BIGINT",
    timestamp: "TIMESTAMPTZ",
    timestamp_ntz: "TIMESTAMP",
    string: "VARCHAR",
  };
  return names[type] ?? type.toUpperCase();
}

describe("the Parquet writer", () => {
  it.each(Array.from({ length: rounds }, (_, round) => firstSeed + round))(
    "writes random values of every type as two readers have them (seed %i)",
    async (seed) => {
      const random = new Random(seed);
      const lots: SealedRows[] = [];
      const values: Value[][] = kinds.map(() => []);
      for (let lot = random.between(1, 3); lot > 0; lot--) {
        const rows = random.choose([1, 7, 8, 9, random.between(1, 1_500)]);
        const columns = kinds.map((kind, index) => {
          const nullShare = random.choose([0, 0, 1, 0.1, 0.9]);
          const own = Array.from({ length: rows }, () =>
            random.next() < nullShare ? null : kind.random(random).toString("hex"),
          );
          for (const value of own) values[index].push(value);
          return { name: nameOf(index), kind, values: own };
        });
        lots.push(sealedRows(columns));
      }
      const { path } = await written(lots, `random-${seed}`);
      const want = kinds.map(({ text }, index) =>
        values[index].map((value) => (value === null ? null : text(Buffer.from(value, "hex")))),
      );
      const byDuckDb = await readByDuckDb(path);
      const byHyparquet = await readByHyparquet(path);
      for (const [index, { type }] of kinds.entries()) {
        const isFloat = type === "float" || type === "double";
        const asNumbers = (texts: Value[]) =>
          texts.map((text) => (text === null || text === "-0" ? text : Number(text)));
        if (isFloat) expect(asNumbers(byDuckDb[index].map(infinite))).toEqual(asNumbers(want[index]));
        else expect([type, byDuckDb[index].map(textOf)]).toEqual([type, want[index]]);
        if (type.startsWith("decimal")) expectNumbers(byHyparquet[index], want[index]);
        else expect([type, byHyparquet[index]]).toEqual([type, want[index]]);
      }
      await expectBounds(path);
    },
  );

  it("writes lists of values of every type as two readers have them: NULL, empty, with NULLs, over many pages", async () => {
    const random = new Random(firstSeed);
    const listed = kinds.filter(({ type }) => type !== "byte");
    const values = listed.map((kind): (Value[] | null)[] =>
      Array.from({ length: 1_200 }, (_, row) => {
        if (random.next() < 0.2) return null;
        const length = row % 400 === 7 ? 60_000 / (kind.width || 100) : random.choose([0, 1, 2, 9]);
        return Array.from({ length }, () => (random.next() < 0.3 ? null : kind.random(random).toString("hex")));
      }),
    );
    const lots = [values.map((own) => own.slice(0, 500)), values.map((own) => own.slice(500))].map((lot) => {
      const columns = listed.map((kind, index) => ({ name: nameOf(index), kind, values: lot[index].map(() => null) }));
      const sealed = sealedRows(columns);
      sealed.columns = listed.map(({ type, storage }, index): SealedColumn => {
        const buffer = new ColumnBuffer("list", 1_024, "null", { element: storage, boundsMatter: false });
        for (const [row, list] of lot[index].entries()) {
          for (const value of list ?? []) put(buffer.elements as ColumnBuffer, buffer.addElement(), value);
          if (list === null) buffer.setNull(row);
          else buffer.finishList(row);
        }
        return { name: nameOf(index), type: `array<${type}>` as SealedColumn["type"], fieldId: index + 1, buffer };
      });
      return sealed;
    });
    const { path } = await written(lots, "lists");
    const texts = listed.map(
      ({ sqlText }, index) => `[${sqlText.replaceAll("$column", "x")} for x in ${nameOf(index)}]`,
    );
    const byDuckDb = (
      await duckdb.runAndReadAll(`SELECT ${texts.join(", ")} FROM read_parquet('${path}')`)
    ).getColumns() as ({ items: Value[] } | null)[][];
    const { parquetReadObjects } = await hyparquet;
    const { compressors } = await hyparquetCompressors;
    const parsers = { timestampFromMicroseconds: (micros: bigint) => micros as never };
    const options = { file: arrayBufferOf(path), compressors, utf8: false, parsers: parsers as never };
    const rows = await parquetReadObjects(options);
    for (const [index, { type, text, hyparquet: own }] of listed.entries()) {
      const want = values[index].map(
        (list) => list?.map((value) => (value === null ? null : text(Buffer.from(value, "hex")))) ?? null,
      );
      const isFloat = type === "float" || type === "double";
      const numbers = (list: Value[] | null) =>
        list?.map((one) => (one === null || one === "-0" ? one : Number(infinite(one)))) ?? null;
      const found = byDuckDb[index].map((list) => (list === null ? null : list.items));
      if (isFloat) expect(found.map(numbers)).toEqual(want.map(numbers));
      else expect([type, found.map((list) => list?.map(textOf) ?? null)]).toEqual([type, want]);
      const byHyparquet = rows.map((row) =>
        row[nameOf(index)] == null
          ? null
          : (row[nameOf(index)] as unknown[]).map((one) => (one == null ? null : own(one))),
      );
      if (type.startsWith("decimal")) {
        expect(byHyparquet.map((list) => list?.length)).toEqual(want.map((list) => list?.length));
        expectNumbers(byHyparquet.flat(), want.flat());
      } else expect([type, byHyparquet]).toEqual([type, want]);
    }
  });

  it("divides rows into row groups and pages, and huge values into pages of their own", async () => {
    const rows = 150_000;
    const numbers = Array.from({ length: rows }, (_, row) => encode(BigInt(row), 4).toString("hex"));
    const texts = numbers.map((_, row) => (row % 3 === 0 ? null : Buffer.from(`row ${row}`).toString("hex")));
    const huge = Buffer.alloc(3 * 1024 * 1024, "x").toString("hex");
    texts[140_001] = huge;
    texts[140_002] = huge;
    const columns = [
      { name: "n", kind: kinds[3], values: numbers },
      { name: "t", kind: { type: "string", storage: "bytes" } as const, values: texts },
    ];
    const { path } = await written([sealedRows(columns)], "groups");
    const { parquetMetadata, parquetReadObjects } = await hyparquet;
    const { compressors } = await hyparquetCompressors;
    const metadata = parquetMetadata(arrayBufferOf(path));
    expect(metadata.row_groups.map(({ num_rows }) => Number(num_rows))).toEqual([122_880, rows - 122_880]);
    const reader = await duckdb.runAndReadAll(
      `SELECT count(*)::INTEGER, sum(n)::BIGINT, count(t)::INTEGER, sum(length(t))::BIGINT,
         count(*) FILTER (t = 'row ' || n)::INTEGER FROM read_parquet('${path}') WHERE n >= 0`,
    );
    const present = texts.filter((text) => text !== null);
    expect(reader.getRows()[0]).toEqual([
      rows,
      (BigInt(rows) * BigInt(rows - 1)) / 2n,
      present.length,
      BigInt(present.reduce((sum, text) => sum + text.length / 2, 0)),
      present.length - 2,
    ]);
    const [{ t }] = await parquetReadObjects({
      file: arrayBufferOf(path),
      compressors,
      rowStart: 140_002,
      rowEnd: 140_003,
    });
    expect(t).toHaveLength(huge.length / 2);
  });

  it("tells of a written file of changes how many are below an ordinal", async () => {
    const rows = 1_000;
    const columns = metaColumns.map(({ name, type, storage }) => ({
      name,
      kind: { type, storage },
      values: Array.from({ length: rows }, (_, row): Value => {
        if (name === "_op") return encode(BigInt(row % 5), 1).toString("hex");
        return name === "_ordinal" ? encode(BigInt(row * 3), 8).toString("hex") : null;
      }),
    }));
    const { file, path } = await written([sealedRows(columns)], "changes");
    expect(await countChanges(path, locateChanges(file), 0)).toEqual({ rows: 0, inserts: 0, updates: 0, deletes: 0 });
    expect(await countChanges(path, locateChanges(file), 301)).toEqual({
      rows: 101,
      inserts: 21,
      updates: 20,
      deletes: 20,
    });
    expect(await countChanges(path, locateChanges(file), 3_000)).toEqual({
      rows,
      inserts: 200,
      updates: 200,
      deletes: 200,
    });
  });
});

/** hyparquet makes a number of a decimal, which doesn't hold them all. */
function expectNumbers(found: Value[], want: Value[]): void {
  for (const [row, text] of want.entries()) {
    const isNear = Math.abs(Number(found[row]) - Number(text)) <= 1e-12 * Math.abs(Number(text));
    if (!isNear || (found[row] === null) !== (text === null)) expect([row, found[row]]).toEqual([row, text]);
  }
}

function infinite(text: Value): Value {
  return text === null ? null : text.replace("inf", "Infinity");
}

function textOf(value: Value): Value {
  return value === null ? null : String(value);
}

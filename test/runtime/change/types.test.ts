// Contract: a value reads the same by copy and by stream, and is what PostgreSQL says it is (invariant 4), or it is
// NULL and counted. PostgreSQL is the oracle: each type has an expression that gives its value as text on the server and
// one that gives the same from the Parquet file.
import type { DuckDBValue } from "@duckdb/node-api";
import fc from "fast-check";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SealedRows } from "../../../runtime/change/spool";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { pinnedSessionSettings } from "../../../runtime/postgres/session-settings";
import { copiedRows, readBack, schemaOf, streamedRows } from "../../support/decoded-changes";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

interface Case {
  type: string;
  /** server_version_num that has it */
  since?: number;
  deltaType: string;
  edges: string[];
  random?: fc.Arbitrary<string>;
  /** the value as text, NULL where it isn't representable */
  server?: (column: string) => string;
  file?: (column: string) => string;
}

const asText = (column: string) => `pg_catalog.format('%s', ${column})`;
const decimal = (whole: number, fraction: number) =>
  fc
    .tuple(
      fc.boolean(),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(whole) - 1n }),
      fc.bigInt({ min: 0n, max: 10n ** BigInt(fraction) - 1n }),
    )
    .map(([negative, high, low]) => `${negative ? "-" : ""}${high}.${String(low).padStart(fraction, "0")}`);
const fitting = (scale: number, whole: number) => (c: string) =>
  `CASE WHEN ${c} IN ('NaN', 'Infinity', '-Infinity') THEN NULL WHEN ${c} = round(${c}, ${scale}) AND abs(${c}) < 1e${whole}
        THEN round(${c}, ${scale})::text END`;
const inYears = (value: string) => (c: string) =>
  `CASE WHEN isfinite(${c}) AND ${c} >= '0001-01-01' AND ${c} < '10000-01-01' THEN (${value.replaceAll("$", c)})::text END`;
const days = inYears("$ - date '1970-01-01'");
const micros = inYears("(extract(epoch FROM $) * 1000000)::bigint");
const text = fc.string({ unit: "binary", maxLength: 40 }).map((value) => value.replaceAll("\0", ""));
const integer = (bits: bigint) => fc.bigInt({ min: -(2n ** (bits - 1n)), max: 2n ** (bits - 1n) - 1n }).map(String);
const pad = (value: number, length: number) => String(value).padStart(length, "0");
const date = fc
  .tuple(
    fc.integer({ min: 1, max: 12_000 }),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 1, max: 28 }),
    fc.boolean(),
  )
  .map(([y, m, d, bc]) => `${pad(y, 4)}-${pad(m, 2)}-${pad(d, 2)}${bc && y < 4000 ? " BC" : ""}`);
const time = fc
  .tuple(fc.integer({ min: 0, max: 86_399 }), fc.integer({ min: 0, max: 999_999 }))
  .map(
    ([s, us]) => `${pad(Math.floor(s / 3600), 2)}:${pad(Math.floor(s / 60) % 60, 2)}:${pad(s % 60, 2)}.${pad(us, 6)}`,
  );
const timestamp = fc.tuple(date, time).map(([d, t]) => (d.endsWith(" BC") ? `${d.slice(0, -3)} ${t} BC` : `${d} ${t}`));
const float = fc.double({ noDefaultInfinity: false }).map((value) => (Object.is(value, -0) ? "-0" : String(value)));
const hex = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((b) => Buffer.from(b).toString("hex"));

const everyCase: Case[] = [
  { type: "boolean", deltaType: "boolean", edges: ["t", "f"], server: (c) => `${c}::text` },
  { type: "smallint", deltaType: "short", edges: ["0", "-32768", "32767"], random: integer(16n) },
  { type: "integer", deltaType: "integer", edges: ["-1", "-2147483648", "2147483647"], random: integer(32n) },
  {
    type: "bigint",
    deltaType: "long",
    edges: ["-9223372036854775808", "9223372036854775807", "9007199254740993", "-1", "4294967296", "-4294967297"],
    random: integer(64n),
  },
  { type: "oid", deltaType: "decimal(10,0)", edges: ["0", "4294967295"], random: fc.integer({ min: 0 }).map(String) },
  { type: "numeric(4,1)", deltaType: "decimal(4,1)", edges: ["-999.9", "0", "0.1"], random: decimal(3, 1) },
  { type: "numeric(9,3)", deltaType: "decimal(9,3)", edges: ["-999999.999", "0.001"], random: decimal(6, 3) },
  { type: "numeric(15,2)", deltaType: "decimal(15,2)", edges: ["0.01", "-0.01", "10000"], random: decimal(13, 2) },
  {
    type: "numeric(18,0)",
    deltaType: "decimal(18,0)",
    edges: ["-999999999999999999"],
    random: decimal(18, 1).map((v) => v.split(".")[0]),
  },
  {
    type: "numeric(38,10)",
    deltaType: "decimal(38,10)",
    edges: ["-0.0000000001", `${"9".repeat(28)}.${"9".repeat(10)}`],
    random: decimal(28, 10),
    server: fitting(10, 28),
  },
  { type: "numeric(5,-2)", since: 150_000, deltaType: "decimal(7,0)", edges: ["-9999900", "100", "0"] },
  {
    type: "numeric(2,5)",
    since: 150_000,
    deltaType: "decimal(5,5)",
    edges: ["0.00099", "-0.00001", "0"],
    server: (c) => `${c}::text`,
    file: (c) => `${c}::DECIMAL(6,5)`,
  },
  { type: "numeric(40,2)", deltaType: "string", edges: [`-${"9".repeat(38)}.99`, "NaN"], random: decimal(38, 2) },
  {
    type: "numeric",
    deltaType: "decimal(38,18)",
    edges: [
      "NaN",
      "Infinity",
      "-Infinity",
      "0",
      "1e19",
      "99999999999999999999.999999999999999999",
      "1e20",
      "1e-18",
      "-1e-18",
      "1e-19",
      "1e-30",
      "1.50",
      "1000000000000",
      "-100000000",
      "0.0001",
      "0.00010000",
    ],
    random: fc.oneof(decimal(20, 18), decimal(22, 4), decimal(3, 20), decimal(1, 6)),
    server: fitting(18, 20),
  },
  {
    type: "real",
    deltaType: "float",
    edges: ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38"],
    random: fc.float().map(String),
    server: (c) => `encode(float4send(${c}), 'hex')`,
  },
  {
    type: "double precision",
    deltaType: "double",
    edges: ["NaN", "-Infinity", "-0", "5e-324"],
    random: float,
    server: (c) => `encode(float8send(${c}), 'hex')`,
  },
  {
    type: "money",
    deltaType: "double",
    edges: ["-1234567.89", "0", "0.01", "-92233720368547758.08"],
    random: decimal(12, 2),
    server: (c) => `encode(float8send(${c}::numeric::float8), 'hex')`,
  },
  {
    type: "date",
    deltaType: "date",
    edges: [
      "0001-01-01",
      "9999-12-31",
      "10000-01-01",
      "0044-03-15 BC",
      "infinity",
      "-infinity",
      "2000-02-29",
      "1900-02-28",
    ],
    random: date,
    server: days,
    file: (c) => `${c} - DATE '1970-01-01'`,
  },
  {
    type: "timestamp",
    deltaType: "timestamp_ntz",
    edges: [
      "0001-01-01 00:00:00",
      "9999-12-31 23:59:59.999999",
      "10000-01-01 00:00:00",
      "infinity",
      "1999-12-31 23:59:59.000001",
      "1684-01-01 00:00:00.5",
      "2300-01-01 00:00:00.000001",
    ],
    random: timestamp,
    server: micros,
    file: (c) => `epoch_us(${c})`,
  },
  {
    type: "timestamptz",
    deltaType: "timestamp",
    edges: ["2024-03-31 02:30:00+02", "1890-01-01 00:00:00+00:19:32", "-infinity", "9999-12-31 23:59:59.999999+00"],
    random: timestamp.map((t) => (t.endsWith(" BC") ? `${t.slice(0, -3)}+00 BC` : `${t}+00`)),
    server: micros,
    file: (c) => `epoch_us(${c})`,
  },
  {
    type: "bytea",
    deltaType: "binary",
    edges: ["\\x", "\\x00ff", `\\x${"ab".repeat(300)}`],
    random: fc.uint8Array({ maxLength: 60 }).map((b) => `\\x${Buffer.from(b).toString("hex")}`),
    server: (c) => `encode(${c}, 'hex')`,
    file: (c) => `lower(hex(${c}))`,
  },
  {
    type: "uuid",
    deltaType: "binary",
    edges: ["00000000-0000-0000-0000-000000000000"],
    random: hex(16),
    server: (c) => `replace(${c}::text, '-', '')`,
    file: (c) => `lower(hex(${c}))`,
  },
  { type: "bit(5)", deltaType: "binary", edges: ["00000", "10110"], file: (c) => `decode(${c})` },
  { type: "varbit", deltaType: "binary", edges: ["", "101", "1010", "111111111"], file: (c) => `decode(${c})` },
  {
    type: "text",
    deltaType: "string",
    edges: ["", "NULL", "\\N", "12 bytes txt", "thirteen byte", "ünïcödé 🎉", "x".repeat(3000)],
    random: text,
  },
  { type: "varchar(60)", deltaType: "string", edges: ["", " a ", 'tab\tline\n"quote"'], random: text },
  { type: "char(5)", deltaType: "string", edges: ["", "ab", "abcde"] },
  { type: `"char"`, deltaType: "string", edges: ["a", ""] },
  { type: "name", deltaType: "string", edges: ["pg_class"] },
  {
    type: "json",
    deltaType: "string",
    edges: [`{"b" : 1,  "a":[null]}`],
    random: fc.json().filter((v) => !v.includes("\\u0000")),
  },
  { type: "jsonb", deltaType: "string", edges: [`{"b" : 1,  "a":[null]}`] },
  { type: "time", deltaType: "string", edges: ["24:00:00", "00:00:00.000001"], random: time },
  { type: "timetz", deltaType: "string", edges: ["12:00:00+05:30"] },
  { type: "interval", deltaType: "string", edges: ["1 year -2 mons 3 days 04:05:06.789", "0", "-1 day"] },
  { type: "cidr", deltaType: "string", edges: ["10.0.0.0/8", "2001:db8::/32"] },
  { type: "inet", deltaType: "string", edges: ["10.1.2.3", "10.1.2.3/8", "::1"] },
  { type: "macaddr", deltaType: "string", edges: ["08:00:2b:01:02:03"] },
  { type: "macaddr8", deltaType: "string", edges: ["08:00:2b:01:02:03:04:05"] },
  { type: "point", deltaType: "string", edges: ["(1.5,-2)"] },
  { type: "line", deltaType: "string", edges: ["{1,2,3}"] },
  { type: "lseg", deltaType: "string", edges: ["[(1,2),(3,4)]"] },
  { type: "box", deltaType: "string", edges: ["(3,4),(1,2)"] },
  { type: "path", deltaType: "string", edges: ["((1,2),(3,4))"] },
  { type: "polygon", deltaType: "string", edges: ["((1,2),(3,4),(5,6))"] },
  { type: "circle", deltaType: "string", edges: ["<(1,2),3>"] },
  { type: "integer[]", deltaType: "string", edges: ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}"] },
  { type: "text[]", deltaType: "string", edges: [`{"a b",NULL,"quote\\"","NULL"}`] },
  { type: "float8[]", deltaType: "string", edges: ["{0.1,1e300}"] },
  { type: "mood", deltaType: "string", edges: ["sad", "very happy"] },
  { type: "pair", deltaType: "string", edges: [`(1,"a b")`] },
  { type: "price", deltaType: "decimal(10,2)", edges: ["12345678.90", "-0.01"] },
  { type: "label", deltaType: "string", edges: ["x", ""] },
  { type: "int4range", deltaType: "string", edges: ["[1,5)", "empty", "(,3]"] },
  { type: "numrange", deltaType: "string", edges: ["[1.5,2.5]"] },
  { type: "tsrange", deltaType: "string", edges: ["[2024-01-01,2024-01-02)"] },
  { type: "tstzrange", deltaType: "string", edges: ["[2024-01-01 00:00+02,)"] },
  { type: "daterange", deltaType: "string", edges: ["[2024-01-01,2024-01-05]"] },
  { type: "tsvector", deltaType: "string", edges: ["'fat':1A 'cat':2"] },
  { type: "tsquery", deltaType: "string", edges: ["'fat' & !'rat'"] },
  { type: "xml", deltaType: "string", edges: [`<?xml version="1.0" encoding="UTF-8"?><a>ü</a>`, "<b/>"] },
  { type: "pg_lsn", deltaType: "string", edges: ["16/B374D848"] },
  { type: "regclass", deltaType: "string", edges: ["public.every_type", "pg_class"] },
];

let cases: Case[] = [];
let names: string[] = [];
let postgres: TestPostgres;
let client: Client;
let schema: TableSchema;

beforeAll(async () => {
  postgres = await startPostgres();
  client = await postgres.client();
  const { rows } = await client.query<{ number: number }>(
    "SELECT current_setting('server_version_num')::int AS number",
  );
  cases = everyCase.filter((one) => (one.since ?? 0) <= rows[0].number);
  names = cases.map((_, index) => `v${index}`);
  for (const [name, value] of Object.entries(pinnedSessionSettings)) {
    if (name !== "search_path") await client.query(`SELECT set_config($1, $2, false)`, [name, value]);
  }
  await client.query(`
    CREATE TYPE mood AS ENUM ('sad', 'very happy');
    CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN price AS numeric(10,2) CHECK (value > -1000);
    CREATE DOMAIN label AS text;
    CREATE TABLE every_type (id int PRIMARY KEY, ${cases.map((one, index) => `v${index} ${one.type}`).join(", ")});
    CREATE PUBLICATION types FOR TABLE every_type;`);
  await client.query("SELECT pg_create_logical_replication_slot('types', 'pgoutput')");
  // regclass shows a name without its schema only when the search path has it.
  await client.query("SET search_path = pg_catalog");
  schema = await schemaOf(client, "types", "every_type");
});
afterAll(async () => {
  await client?.end();
  await postgres?.stop();
});

const hexOf = (value: unknown, bytes: number): string => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 4) buffer.writeFloatBE(value as number);
  else buffer.writeDoubleBE(value as number);
  return buffer.toString("hex");
};

/** Both paths against the server, for rows of literals (null is NULL); the table is empty before and after. */
async function check(rows: (string | null)[][]): Promise<void> {
  const parameters = cases.map((_, column) => `$${column + 2}`).join(", ");
  for (const [index, row] of rows.entries()) {
    await client.query(`INSERT INTO public.every_type VALUES ($1, ${parameters})`, [index, ...row]);
  }
  const wanted = await serverValues();
  const select = `SELECT ${cases.map(fileExpression).join(", ")} FROM $file`;
  const [copied] = await copiedRows(client, schema);
  await client.query("DELETE FROM public.every_type");
  const streamed = (await streamedRows(client, "types", "types", schema)) as SealedRows;

  const lost: Record<string, number> = {};
  for (const [row, values] of wanted.entries()) {
    for (const [column, value] of values.entries()) {
      if (value === null && rows[row][column] !== null) lost[names[column]] = (lost[names[column]] ?? 0) + 1;
    }
  }
  for (const [sealed, filter] of [
    [copied, ""],
    [streamed, "WHERE _op = 0"],
  ] as const) {
    expect((await readBack(sealed, `${select} ${filter} ORDER BY c1`)).rows.map(fileValues)).toEqual(wanted);
    expect(sealed.unrepresentable).toEqual(lost);
  }
}

async function serverValues(): Promise<(string | null)[][]> {
  const values = cases.map((one, index) => `${(one.server ?? asText)(`v${index}`)} AS v${index}`);
  const nulls = cases.map((_, index) => `v${index} IS NULL AS n${index}`);
  const { rows } = await client.query<Record<string, string | boolean | null>>(
    `SELECT ${[...values, ...nulls].join(", ")} FROM public.every_type ORDER BY id`,
  );
  // format() gives an empty string for NULL.
  return rows.map((row) => cases.map((_, index) => (row[`n${index}`] === true ? null : (row[`v${index}`] as string))));
}

const isFloat = (one: Case) => one.deltaType === "float" || one.deltaType === "double";

function fileExpression(one: Case, index: number): string {
  const column = `c${index + 2}`;
  return isFloat(one) ? column : `(${one.file?.(column) ?? column})::VARCHAR`;
}

function fileValues(row: DuckDBValue[]): (string | null)[] {
  return row.map((value, index) => {
    if (value === null) return null;
    return isFloat(cases[index]) ? hexOf(value, cases[index].deltaType === "float" ? 4 : 8) : String(value);
  });
}

describe("types", () => {
  it("map as documented", () => {
    const found = schema.columns.slice(1).map((column) => column.deltaType);
    expect(found).toEqual(cases.map((one) => one.deltaType));
  });

  it("every edge value reads the same by copy, by stream and on the server", async () => {
    const count = Math.max(...cases.map((one) => one.edges.length));
    const rows = Array.from({ length: count }, (_, row) => cases.map((one) => one.edges[row] ?? null));
    await check(rows);
  });

  it("random values read the same by copy, by stream and on the server", async () => {
    const value = (one: Case) =>
      fc.option(fc.oneof(fc.constantFrom(...one.edges), one.random ?? fc.constantFrom(...one.edges)), { freq: 8 });
    const row = fc.tuple(...cases.map(value));
    await fc.assert(fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), check), {
      numRuns: 25,
      interruptAfterTimeLimit: 40_000,
    });
  });
});

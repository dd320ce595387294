import fc from "../../support/property";

/** A type, values that are always tried, and the same value as text from both sides. */
export interface TypeCase {
  type: string;
  /** server_version_num that has it */
  since?: number;
  deltaType: string;
  edges: string[];
  random?: fc.Arbitrary<string>;
  /** of an array: its elements */
  element?: TypeCase;
  /** the value as text, NULL where it isn't representable */
  server?: (column: string) => string;
  file?: (column: string) => string;
}

/** By the type's output function. */
export const asText = (column: string) => `pg_catalog.format('%s', ${column})`;
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

export const typeCases: TypeCase[] = [
  { type: "boolean", deltaType: "boolean", edges: ["t", "f"], server: (c) => `${c}::text` },
  { type: "smallint", deltaType: "short", edges: ["0", "-32768", "32767"], random: integer(16n) },
  { type: "integer", deltaType: "integer", edges: ["-1", "-2147483648", "2147483647"], random: integer(32n) },
  {
    type: "bigint",
    deltaType: "long",
    edges: ["-9223372036854775808", "9223372036854775807", "9007199254740993", "-1", "4294967296", "-4294967297"],
    random: integer(64n),
  },
  {
    type: "oid",
    deltaType: "decimal(10,0)",
    edges: ["0", "4294967295", "2147483648"],
    random: fc.integer({ min: 0 }).map(String),
  },
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
  {
    type: "numeric(38,0)",
    deltaType: "decimal(38,0)",
    edges: ["9".repeat(38), `-${"9".repeat(38)}`, "NaN", "-1"],
    server: (c) => `nullif(${c}, 'NaN')::text`,
  },
  {
    type: "numeric(38,38)",
    deltaType: "decimal(38,38)",
    edges: [`0.${"9".repeat(38)}`, `-0.${"0".repeat(37)}1`, "0"],
    server: (c) => `regexp_replace(${c}::text, '^(-?)0[.]', '\\1')`,
    file: (c) => `regexp_replace(${c}::VARCHAR, '^(-?)0?[.]', '\\1')`,
  },
  {
    type: "numeric(3,-35)",
    since: 150_000,
    deltaType: "decimal(38,0)",
    edges: ["-999e35", "1e35", "NaN"],
    server: (c) => `nullif(${c}, 'NaN')::text`,
  },
  { type: "numeric(3,-36)", since: 150_000, deltaType: "string", edges: ["-999e36", "1e36", "NaN"] },
  { type: "numeric(1000,500)", deltaType: "string", edges: [`-${"9".repeat(500)}.${"1".repeat(500)}`, "0", "NaN"] },
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
      "1e131071",
      "-1e-16383",
      "9".repeat(20),
    ],
    random: fc.oneof(decimal(20, 18), decimal(22, 4), decimal(3, 20), decimal(1, 6)),
    server: fitting(18, 20),
  },
  {
    type: "real",
    deltaType: "float",
    edges: ["NaN", "Infinity", "-Infinity", "-0", "0", "1e-45", "-1e-40", "1.1754942e-38", "3.4028235e38", "0.1"],
    random: fc.float().map(String),
    server: (c) => `encode(float4send(${c}), 'hex')`,
  },
  {
    type: "double precision",
    deltaType: "double",
    edges: ["NaN", "-Infinity", "-0", "0", "5e-324", "-2.225073858507201e-308", "1.7976931348623157e308", "0.1"],
    random: float,
    server: (c) => `encode(float8send(${c}), 'hex')`,
  },
  {
    type: "money",
    deltaType: "double",
    edges: [
      "-1234567.89",
      "0",
      "0.01",
      "-92233720368547758.08",
      "92233720368547758.07",
      "90071992547409.93",
      "-70368744177664.01",
    ],
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
      "5874897-12-31",
      "4713-01-01 BC",
      "0001-12-31 BC",
      "0001-01-02",
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
      "294276-12-31 23:59:59.999999",
      "4713-11-24 00:00:00 BC",
      "0001-12-31 23:59:59.999999 BC",
      "1970-01-01 00:00:00",
      "1969-12-31 23:59:59.999999",
      "2016-12-31 23:59:60",
    ],
    random: timestamp,
    server: micros,
    file: (c) => `epoch_us(${c})`,
  },
  {
    type: "timestamptz",
    deltaType: "timestamp",
    edges: [
      "2024-03-31 02:30:00+02",
      "1890-01-01 00:00:00+00:19:32",
      "-infinity",
      "9999-12-31 23:59:59.999999+00",
      "0001-01-01 00:00:00+00",
      "0001-01-01 00:00:00+01",
      "10000-01-01 00:00:00+01",
    ],
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
  { type: "bit", deltaType: "binary", edges: ["0", "1"], file: (c) => `decode(${c})` },
  { type: "bit(70)", deltaType: "binary", edges: ["01".repeat(35)], file: (c) => `decode(${c})` },
  { type: "varbit", deltaType: "binary", edges: ["", "101", "1010", "111111111"], file: (c) => `decode(${c})` },
  {
    type: "text",
    deltaType: "string",
    edges: ["", "NULL", "\\N", "12 bytes txt", "thirteen byte", "ünïcödé 🎉", "x".repeat(3000)],
    random: text,
  },
  { type: "varchar(60)", deltaType: "string", edges: ["", " a ", 'tab\tline\n"quote"'], random: text },
  {
    type: "varchar",
    deltaType: "string",
    edges: ["", " ", "\u0001\u007f\u0085\u2028\ufeff\uffff\u{10ffff}"],
    random: text,
  },
  { type: "char(5)", deltaType: "string", edges: ["", "ab", "abcde", "日本", " x"] },
  { type: "bpchar", deltaType: "string", edges: ["", "ab  ", " "] },
  { type: `"char"`, deltaType: "string", edges: ["a", "", "\\200"] },
  { type: "name", deltaType: "string", edges: ["pg_class"] },
  {
    type: "json",
    deltaType: "string",
    edges: [`{"b" : 1,  "a":[null]}`, `\t\n {"a" :\r\n1, "a": 2 }  `, `"\\u00e9 \\ud83c\\udf89"`, "1e5", "null"],
    random: fc.json().filter((v) => !v.includes("\\u0000")),
  },
  {
    type: "jsonb",
    deltaType: "string",
    edges: [`{"b" : 1,  "a":[null]}`, `\t{"a" :\n1, "a": 2 } `, "1e5", "0.10", `""`, `"\\u00e9 🎉"`],
    random: fc.json().filter((v) => !v.includes("\\u0000") && !v.includes("\\ud")),
  },
  {
    type: "time",
    deltaType: "string",
    edges: ["24:00:00", "00:00:00.000001", "23:59:59.999999", "00:00"],
    random: time,
  },
  {
    type: "timetz",
    deltaType: "string",
    edges: ["12:00:00+05:30", "24:00:00-15:59:59", "00:00:00+15:59:59", "23:59:60"],
  },
  {
    type: "interval",
    deltaType: "string",
    edges: [
      "1 year -2 mons 3 days 04:05:06.789",
      "0",
      "-1 day",
      "178000000 years",
      "0.000001 second",
      "-1 mon +1 day -00:00:00.5",
    ],
  },
  {
    type: "interval",
    since: 150_000,
    deltaType: "string",
    edges: ["-178000000 years -2147483648 days -2562047788:00:54.775807"],
  },
  { type: "interval", since: 170_000, deltaType: "string", edges: ["infinity", "-infinity"] },
  { type: "cidr", deltaType: "string", edges: ["10.0.0.0/8", "2001:db8::/32"] },
  { type: "inet", deltaType: "string", edges: ["10.1.2.3", "10.1.2.3/8", "::1"] },
  { type: "macaddr", deltaType: "string", edges: ["08:00:2b:01:02:03"] },
  { type: "macaddr8", deltaType: "string", edges: ["08:00:2b:01:02:03:04:05"] },
  { type: "point", deltaType: "string", edges: ["(1.5,-2)", "(NaN,Infinity)", "(-0,1e-300)"] },
  { type: "line", deltaType: "string", edges: ["{1,2,3}"] },
  { type: "lseg", deltaType: "string", edges: ["[(1,2),(3,4)]"] },
  { type: "box", deltaType: "string", edges: ["(3,4),(1,2)"] },
  { type: "path", deltaType: "string", edges: ["((1,2),(3,4))"] },
  { type: "polygon", deltaType: "string", edges: ["((1,2),(3,4),(5,6))"] },
  { type: "circle", deltaType: "string", edges: ["<(1,2),3>"] },
  {
    type: "integer[]",
    deltaType: "string",
    edges: ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[2:3]={1,2}", "{{{1}},{{NULL}}}"],
  },
  { type: "text[]", deltaType: "string", edges: [`{"a b",NULL,"quote\\"","NULL"}`] },
  { type: "float8[]", deltaType: "string", edges: ["{0.1,1e300}"] },
  { type: "mood", deltaType: "string", edges: ["sad", "very happy"] },
  { type: "pair", deltaType: "string", edges: [`(1,"a b")`, "(,)", `(-1,"")`, `(2,"q""u\\\\o,te)")`] },
  { type: "price", deltaType: "decimal(10,2)", edges: ["12345678.90", "-0.01"] },
  { type: "label", deltaType: "string", edges: ["x", ""] },
  {
    type: "nested_price",
    deltaType: "decimal(10,2)",
    edges: ["99999.99", "NaN"],
    server: (c) => `nullif(${c}, 'NaN')::text`,
  },
  { type: "tags", deltaType: "string", edges: ["{}", `{a,"b c",NULL}`] },
  {
    type: "day",
    deltaType: "date",
    edges: ["infinity", "2024-02-29"],
    server: days,
    file: (c) => `${c} - DATE '1970-01-01'`,
  },
  { type: "mood[]", deltaType: "string", edges: [`{sad,"very happy"}`] },
  { type: "pair[]", deltaType: "string", edges: [`{"(1,\\"a b\\")",NULL}`] },
  { type: "price[]", deltaType: "string", edges: ["{1.00,NULL}"] },
  { type: "money[]", deltaType: "string", edges: ["{-1234.56,0}"] },
  { type: "timestamptz[]", deltaType: "string", edges: ["{infinity,2024-01-01 00:00:00+05}"] },
  { type: "bytea[]", deltaType: "string", edges: [`{"\\\\x00ff",""}`] },
  { type: "geometry", deltaType: "string", edges: ["0101000020E6100000000000000000F03F0000000000000040", ""] },
  { type: "citext", deltaType: "string", edges: ["MiXed", ""], random: text },
  { type: "hstore", deltaType: "string", edges: ["", `"a"=>"1", "b"=>NULL`, `"quo\\"te"=>"x=>y"`] },
  { type: "ltree", deltaType: "string", edges: ["", "Top.Science.Astronomy"] },
  { type: "lquery", deltaType: "string", edges: ["Top.*{1,2}.a|b"] },
  { type: "cube", deltaType: "string", edges: ["(1, 2),(3, 4)"] },
  { type: "seg", deltaType: "string", edges: ["1.50 .. 2.5", "~7"] },
  { type: "isbn", deltaType: "string", edges: ["0-393-04002-X"] },
  { type: "int4range", deltaType: "string", edges: ["[1,5)", "empty", "(,3]"] },
  { type: "numrange", deltaType: "string", edges: ["[1.5,2.5]", "(,)", "empty", "[-Infinity,NaN]"] },
  { type: "tsrange", deltaType: "string", edges: ["[2024-01-01,2024-01-02)"] },
  { type: "tstzrange", deltaType: "string", edges: ["[2024-01-01 00:00+02,)"] },
  { type: "daterange", deltaType: "string", edges: ["[2024-01-01,2024-01-05]"] },
  { type: "int8range", deltaType: "string", edges: ["[-9223372036854775808,9223372036854775807)"] },
  { type: "floats", deltaType: "string", edges: ["[0.1,1e300]"] },
  { type: "int4multirange", deltaType: "string", edges: ["{}", "{[1,3),[5,9)}"] },
  { type: "tstzmultirange", deltaType: "string", edges: ["{[2024-01-01 00:00+02,2024-01-02),(2025-01-01,)}"] },
  { type: "tsvector", deltaType: "string", edges: ["'fat':1A 'cat':2"] },
  { type: "tsquery", deltaType: "string", edges: ["'fat' & !'rat'"] },
  {
    type: "xml",
    deltaType: "string",
    edges: [`<?xml version="1.0" encoding="UTF-8"?><a>ü</a>`, "<b/>", "  <a>\n <b/> </a>\t", ""],
  },
  { type: "pg_lsn", deltaType: "string", edges: ["16/B374D848"] },
  { type: "regtype", deltaType: "string", edges: ["integer", "public.mood", "timestamp with time zone"] },
  { type: "regproc", deltaType: "string", edges: ["now"] },
  { type: "regrole", deltaType: "string", edges: ["postgres"] },
  { type: "regnamespace", deltaType: "string", edges: ["public"] },
  { type: "xid", deltaType: "string", edges: ["4294967295", "0"] },
  { type: "xid8", deltaType: "string", edges: ["18446744073709551615"] },
  { type: "cid", deltaType: "string", edges: ["7"] },
  { type: "tid", deltaType: "string", edges: ["(0,1)", "(4294967295,65535)"] },
  { type: "pg_snapshot", deltaType: "string", edges: ["10:20:10,14,15"] },
  { type: "jsonpath", deltaType: "string", edges: ["$.a[*] ? (@ > 1)"] },
  { type: "int2vector", deltaType: "string", edges: ["1 2 -3", ""] },
  { type: "oidvector", deltaType: "string", edges: ["1 4294967295"] },
  { type: "refcursor", deltaType: "string", edges: ["c"] },
  { type: "aclitem", deltaType: "string", edges: ["postgres=arwd/postgres"] },
  { type: "regclass", deltaType: "string", edges: ["public.known", "pg_class", "-", "4294967295"] },
];

/** The types of the table that a server doesn't have by itself. */
export const typeDefinitions = `
  CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE EXTENSION cube; CREATE EXTENSION seg;
  CREATE EXTENSION isn;
  CREATE TABLE known ();
  CREATE TYPE mood AS ENUM ('sad', 'very happy');
  CREATE TYPE pair AS (a int, b text);
  CREATE TYPE floats AS RANGE (subtype = float8);
  CREATE DOMAIN price AS numeric(10,2) CHECK (value > -1000);
  CREATE DOMAIN nested_price AS price;
  CREATE DOMAIN label AS text;
  CREATE DOMAIN day AS date;
  CREATE DOMAIN tags AS text[];
  -- As PostGIS and others: a type of an extension that no one has told us of; any of them is the text that it writes.
  CREATE TYPE geometry;
  CREATE FUNCTION geometry_in(cstring) RETURNS geometry LANGUAGE internal IMMUTABLE STRICT AS 'textin';
  CREATE FUNCTION geometry_out(geometry) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
  CREATE TYPE geometry (INPUT = geometry_in, OUTPUT = geometry_out, LIKE = text);`;

import type { Client } from "pg";

/**
 * Tables like TPC-H's, made by the server from hash functions: the same rows for the same scale, always. Some comments
 * are NULL, empty, or hold what a careless reader trips over.
 */
export const tpchTables = ["customer", "lineitem", "nation", "orders", "part", "partsupp"] as const;
/** The seventh: for what happens when a table is added to a stack. */
export const extraTable = "supplier";

/** Rows of each table at a scale; scale 1 is 609,025 rows in the six tables. */
export function tpchRows(scale: number): Record<(typeof tpchTables)[number] | typeof extraTable, number> {
  const part = Math.max(20, Math.round(21_000 * scale));
  const orders = Math.max(10, Math.round(100_000 * scale));
  return {
    customer: Math.max(15, Math.round(25_000 * scale)),
    lineitem: orders * 4,
    nation: 25,
    orders,
    part,
    partsupp: part * 3 - (part % 3),
    supplier: Math.max(10, Math.round(1_000 * scale)),
  };
}

/** A whole number from 0 to `below` - 1 that depends on `key` and `salt` only. */
function pick(key: string, salt: number, below: number): string {
  return `(hashint8extended(${key}, ${salt}) & 2147483647) % ${below}`;
}

function pickText(key: string, salt: number, values: readonly string[]): string {
  return `(ARRAY[${values.map((value) => `'${value}'`).join(",")}])[1 + ${pick(key, salt, values.length)}]`;
}

function money(key: string, salt: number, from: number, below: number): string {
  return `(${from * 100} + ${pick(key, salt, below * 100)}) / 100.0`;
}

function day(key: string, salt: number): string {
  return `(date '1992-01-01' + (${pick(key, salt, 2400)})::int)`;
}

const adjectives = ["quick", "final", "ironic", "pending", "regular", "unusual", "bold", "silent"];
const nouns = ["deposits", "packages", "accounts", "requests", "theodolites", "pinto beans", "ideas", "foxes"];

function comment(key: string, salt: number, length: number): string {
  const words = `${pickText(key, salt, adjectives)} || ' ' || ${pickText(key, salt + 1, nouns)}`;
  return `CASE ${pick(key, salt + 2, 64)}
    WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'tab\\tline\\n"quoted"' WHEN 3 THEN E'\\\\N back\\\\slash, ''comma'''
    WHEN 4 THEN 'Grüße, 東京 😀' WHEN 5 THEN ' spaces ' ELSE left(${words}, ${length}) END`;
}

interface Definition {
  columns: string;
  key: string;
  /** expressions over `i`, from 1 to the table's rows */
  values: string[];
}

function definitions(scale: number): Record<string, Definition> {
  const rows = tpchRows(scale);
  const segments = ["AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY"];
  const priorities = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
  const instructions = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];
  const modes = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
  const containers = ["SM CASE", "LG BOX", "MED BAG", "JUMBO JAR", "WRAP PKG"];
  const metals = ["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"];
  const phone = (salt: number) => `lpad((${pick("i", salt, 1_000_000_000)})::text, 12, '0')`;
  return {
    customer: {
      columns: `c_custkey integer, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL,
        c_nationkey integer NOT NULL, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL,
        c_mktsegment char(10) NOT NULL, c_comment varchar(117)`,
      key: "c_custkey",
      values: [
        "i",
        "'Customer#' || lpad(i::text, 9, '0')",
        "left(md5(i::text), 20)",
        pick("i", 1, 25),
        phone(2),
        money("i", 3, -999, 10_999),
        pickText("i", 4, segments),
        comment("i", 5, 117),
      ],
    },
    lineitem: {
      columns: `l_orderkey bigint, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer,
        l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
        l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
        l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
        l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44)`,
      key: "l_orderkey, l_linenumber",
      values: [
        "1 + (i - 1) / 4",
        `1 + ${pick("i", 10, rows.part)}`,
        `1 + ${pick("i", 11, rows.supplier)}`,
        "1 + (i - 1) % 4",
        `1 + ${pick("i", 12, 50)}`,
        money("i", 13, 900, 100_000),
        `(${pick("i", 14, 11)}) / 100.0`,
        `(${pick("i", 15, 9)}) / 100.0`,
        pickText("i", 16, ["R", "A", "N"]),
        pickText("i", 17, ["O", "F"]),
        day("i", 18),
        day("i", 19),
        day("i", 20),
        pickText("i", 21, instructions),
        pickText("i", 22, modes),
        comment("i", 23, 44),
      ],
    },
    nation: {
      columns: "n_nationkey integer, n_name char(25) NOT NULL, n_regionkey integer NOT NULL, n_comment varchar(152)",
      key: "n_nationkey",
      values: ["i - 1", "'NATION ' || i", "(i - 1) % 5", comment("i", 30, 152)],
    },
    orders: {
      columns: `o_orderkey bigint, o_custkey integer NOT NULL, o_orderstatus char(1) NOT NULL,
        o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL,
        o_clerk char(15) NOT NULL, o_shippriority integer NOT NULL, o_comment varchar(79)`,
      key: "o_orderkey",
      values: [
        "i",
        `1 + ${pick("i", 40, rows.customer)}`,
        pickText("i", 41, ["O", "F", "P"]),
        money("i", 42, 800, 500_000),
        day("i", 43),
        pickText("i", 44, priorities),
        `'Clerk#' || lpad((${pick("i", 45, 1000)})::text, 9, '0')`,
        "0",
        comment("i", 46, 79),
      ],
    },
    part: {
      columns: `p_partkey integer, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL, p_brand char(10) NOT NULL,
        p_type varchar(25) NOT NULL, p_size integer NOT NULL, p_container char(10) NOT NULL,
        p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23)`,
      key: "p_partkey",
      values: [
        "i",
        `${pickText("i", 50, adjectives)} || ' ' || i`,
        `'Manufacturer#' || ${pick("i", 51, 5)}`,
        `'Brand#' || ${pick("i", 52, 50)}`,
        `'STANDARD ' || ${pickText("i", 53, metals)}`,
        `1 + ${pick("i", 54, 50)}`,
        pickText("i", 55, containers),
        money("i", 56, 900, 1_200),
        comment("i", 57, 23),
      ],
    },
    partsupp: {
      columns: `ps_partkey integer, ps_suppkey integer, ps_availqty integer NOT NULL,
        ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199)`,
      key: "ps_partkey, ps_suppkey",
      values: [
        "1 + (i - 1) / 3",
        "1 + (i - 1) % 3",
        `1 + ${pick("i", 60, 9_999)}`,
        money("i", 61, 1, 1_000),
        comment("i", 62, 199),
      ],
    },
    supplier: {
      columns: `s_suppkey integer, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
        s_nationkey integer NOT NULL, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL, s_comment varchar(101)`,
      key: "s_suppkey",
      values: [
        "i",
        "'Supplier#' || lpad(i::text, 9, '0')",
        "left(md5(i::text), 16)",
        pick("i", 70, 25),
        phone(71),
        money("i", 72, -999, 10_999),
        comment("i", 73, 101),
      ],
    },
  };
}

/** Makes and fills all seven tables in the schema `public`; returns the rows of the six that a stack starts with. */
export async function loadTpch(client: Client, scale = 1): Promise<number> {
  const rows = tpchRows(scale);
  for (const [table, { columns, key, values }] of Object.entries(definitions(scale))) {
    await client.query(`CREATE TABLE ${table} (${columns})`);
    const count = rows[table as keyof typeof rows];
    await client.query(`INSERT INTO ${table} SELECT ${values.join(", ")} FROM generate_series(1, ${count}) AS i`);
    await client.query(`ALTER TABLE ${table} ADD PRIMARY KEY (${key})`);
  }
  await client.query("ANALYZE");
  return tpchTables.reduce((sum, table) => sum + rows[table], 0);
}

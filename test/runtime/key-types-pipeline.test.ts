// Contract: a table's key is what PostgreSQL says it is, of one column or many, of any type and size: changes find their
// row among all others also where texts differ by case, form or spaces only, where a collation takes different texts for
// one, and where a key is changed into one that PostgreSQL calls equal (invariants 3 and 4).
import { afterAll, beforeAll, expect, it } from "vitest";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
});

/** Columns of the key with SQL of the n-th row's values, and of values that follow them by a change of the key. */
const keys: Record<string, { types: string[]; values: string[]; moved: string[] }> = {
  composite: {
    types: ["int", "text", "date"],
    values: ["n % 7", "'k' || n", "date '2024-01-01' + n % 3"],
    moved: ["k0 + 1", "k1 || ' '", "k2"],
  },
  text: {
    types: ["text"],
    values: ["CASE n % 4 WHEN 0 THEN 'a' WHEN 1 THEN 'A' WHEN 2 THEN 'ä' ELSE U&'a\\0308' END || n / 4"],
    moved: ["k0 || ' '"],
  },
  caseless: { types: ["text COLLATE caseless"], values: ["'key ' || n"], moved: ["upper(k0)"] },
  padded: { types: ["char(8)"], values: ["'p' || n"], moved: ["'q' || k0"] },
  long: {
    types: ["text", "bytea"],
    values: ["repeat(md5(n || ''), 30) || n", "decode(md5(n || ''), 'hex')"],
    moved: ["k0", "k1 || '\\x00'"],
  },
  uuid: { types: ["uuid"], values: ["md5(n || '')::uuid"], moved: ["md5(k0 || '')::uuid"] },
  numeric: {
    types: ["numeric"],
    values: ["n / 8.0 * (CASE WHEN n % 2 = 0 THEN -1 ELSE 1 END)"],
    moved: ["k0::numeric(30, 9)"],
  },
  decimal: {
    types: ["numeric(38, 10)", "smallint"],
    values: ["n * 12345678901234567.0000000001", "n"],
    moved: ["k0 + 0.0000000001", "k1"],
  },
  double: {
    types: ["double precision"],
    values: ["CASE n WHEN 1 THEN 'NaN' WHEN 2 THEN 0 WHEN 3 THEN 'Infinity' ELSE n / 3.0 END"],
    moved: ["-k0"],
  },
  time: {
    types: ["timestamptz", "boolean"],
    values: ["timestamptz '1969-12-31 23:59:59.999999+02' + n * interval '1 microsecond'", "n % 2 = 0"],
    moved: ["k0", "NOT k1"],
  },
  interval: {
    types: ["interval"],
    values: ["n * interval '1 month'"],
    moved: ["extract(month FROM k0) * interval '30 days' + extract(year FROM k0) * interval '360 days'"],
  },
};

it("finds each row again", { timeout: 90_000 }, async () => {
  const names = Object.keys(keys);
  const listOf = (table: string) => keys[table].types.map((_, at) => `k${at}`).join(", ");
  const insert = (table: string, from: number, to: number) =>
    `INSERT INTO ${table} SELECT ${keys[table].values.join(", ")}, n, 'v' || n FROM generate_series(${from}, ${to}) n`;
  const tables = names.map((table) => {
    const columns = keys[table].types.map((type, at) => `k${at} ${type}`).join(", ");
    return `CREATE TABLE ${table} (${columns}, n int, value text, PRIMARY KEY (${listOf(table)})); ${insert(table, 1, 300)};`;
  });
  const collation = "CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";
  const pipeline = await Pipeline.open(postgres, `${collation} ${tables.join("\n")}`);
  const isEqual = async (what: string) => {
    await pipeline.settled();
    for (const table of names) expect(await pipeline.differences(table), `${table} ${what}`).toEqual([]);
  };
  const run = async (statements: (table: string) => string[]) => {
    for (const table of names) await pipeline.client.query(statements(table).join(";\n"));
  };
  try {
    await pipeline.start().settled();
    await run((table) => [
      insert(table, 301, 400),
      `UPDATE ${table} SET value = 'b' WHERE n % 3 = 0`,
      `DELETE FROM ${table} WHERE n % 5 = 1`,
    ]);
    await isEqual("after changes");
    const moves = (table: string) => keys[table].moved.map((value, at) => `k${at} = ${value}`).join(", ");
    await run((table) => [`UPDATE ${table} SET ${moves(table)}, value = value || '!' WHERE n % 4 = 0`]);
    await isEqual("after moves");
    // A key that is taken again, in the transaction that left it and later; and files enough to choose among.
    await run((table) => [
      `CREATE TEMP TABLE gone AS SELECT * FROM ${table} WHERE n % 6 = 0`,
      `DELETE FROM ${table} WHERE n % 6 = 0`,
      `INSERT INTO ${table} SELECT ${listOf(table)}, n, 'again' FROM gone WHERE n % 12 = 0`,
      "DROP TABLE gone",
    ]);
    for (let round = 0; round < 3; round++) {
      await run((table) => [
        insert(table, 1000 + round * 10, 1009 + round * 10),
        `DELETE FROM ${table} WHERE n % 50 = ${round}`,
      ]);
      await pipeline.settled();
    }
    await run((table) => [`UPDATE ${table} SET value = value || n WHERE n % 7 = 0`]);
    await isEqual("at the end");
    expect(names.map((name) => pipeline.table(name).snapshots)).toEqual(names.map(() => 1));
  } finally {
    await pipeline.close();
  }
});

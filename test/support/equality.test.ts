// Contract: the proof of equality reads every value of every row, by the table of types in docs/tables.md, and finds whatever
// differs: a digit, a space, NULL for empty, a row too few, too many or twice, a column's name or type.
// Invariant 4 (the destination equals the source) rests on it.
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compareTable, compareTables, type Destination, describeDifference } from "./equality";
import { startPostgres, type TestPostgres } from "./postgres-server";

let server: TestPostgres;
let client: Client;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query("SET TimeZone = 'UTC'");
  await client.query(`
    CREATE DOMAIN price AS numeric(10,2);
    CREATE TABLE typed (
      id bigint, half smallint, whole integer, o oid, amount price, free numeric, huge numeric(50,2), f real, d double precision,
      cash money, yes boolean, day date, at timestamp, zoned timestamptz, raw bytea, u uuid, flags bit(3), pad char(4),
      words text, tags text[], PRIMARY KEY (id, half));
    INSERT INTO typed VALUES
      (9007199254740993, 1, -5, 4000000000, -0.05, 1.5, 7, 1.1, '-0', '-$1,234.56', true, '1969-12-31', '1969-12-31 23:59:59.999999',
       '2024-02-29 12:00:00.000001+02', '\\x00ff', '00000000-0000-0000-0000-0000000000ff', B'101', 'ab', E'tab\\t\\\\ "ü" 😀\\n', ARRAY['a b', NULL]),
      (2, 2, NULL, NULL, 'NaN', 1e30, 'NaN', 'NaN', 'Infinity', NULL, false, 'infinity', '12000-01-01', '-infinity', '', NULL, NULL, '', '', '{}');
    CREATE TABLE twins (a int, b text);
    INSERT INTO twins VALUES (1, 'x'), (1, 'x'), (2, NULL);`);
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

const typedColumns = [
  ["id", "long", 9007199254740993n, 2n],
  ["half", "short", 1, 2],
  ["whole", "integer", -5, null],
  ["o", "decimal(10,0)", "4000000000", null],
  ["amount", "decimal(10,2)", "-0.05", null],
  ["free", "decimal(38,18)", "1.500000000000000000", null],
  ["huge", "string", "7.00", "NaN"],
  ["f", "float", Math.fround(1.1), Number.NaN],
  ["d", "double", -0, Number.POSITIVE_INFINITY],
  ["cash", "double", -1234.56, null],
  ["yes", "boolean", true, false],
  ["day", "date", -1, null],
  ["at", "timestamp_ntz", -1n, null],
  ["zoned", "timestamp", 1709200800000001n, null],
  ["raw", "binary", Uint8Array.of(0, 255), Uint8Array.of()],
  ["u", "binary", Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255), null],
  ["flags", "binary", new TextEncoder().encode("101"), null],
  ["pad", "string", "ab  ", "    "],
  ["words", "string", 'tab\t\\ "ü" 😀\n', ""],
  ["tags", "string", '{"a b",NULL}', "{}"],
] as const;

/** Rows as given, each in a batch of its own, with one column changed. */
function destination(columns: readonly (readonly [string, string, ...unknown[]])[]): Destination {
  const rows = columns[0].length - 2;
  return {
    columns: columns.map(([name, type]) => ({ name, type, physicalName: name })),
    batches: async function* () {
      for (let row = 0; row < rows; row++) yield { count: 1, columns: columns.map((column) => [column[row + 2]]) };
    },
  };
}

function changed(name: string, first: unknown, type?: string): Destination {
  return destination(
    typedColumns.map((column) => (column[0] === name ? [name, type ?? column[1], first, column[3]] : column)),
  );
}

const compareTyped = (given: Destination) => compareTable(client, { schema: "public", name: "typed" }, given);

describe("of a table with a key", () => {
  it("holds for every type", async () => {
    const { differences, ...rest } = await compareTyped(destination(typedColumns));
    expect(differences).toEqual([]);
    expect(rest).toEqual({
      table: "public.typed",
      equal: true,
      rows: 2,
      destinationRows: 2,
      differing: 0,
      sourceOnly: 0,
      destinationOnly: 0,
    });
  });

  const wrong: Record<string, unknown> = {
    whole: 5,
    o: null,
    amount: "-0.06",
    free: "1.500000000000000001",
    huge: "7",
    f: 1.1000001,
    d: 0,
    cash: -1234.57,
    yes: false,
    day: 0,
    at: 0n,
    zoned: 1709200800000000n,
    raw: Uint8Array.of(0, 254),
    u: Uint8Array.of(255),
    flags: Uint8Array.of(5),
    pad: "ab",
    words: 'tab\t\\ "ü" 😀',
    tags: "{a b,NULL}",
  };

  it.each(Object.entries(wrong))("finds a wrong %s", async (name, value) => {
    const result = await compareTyped(changed(name, value));
    expect(result).toMatchObject({ equal: false, differing: 2 });
    expect(result.differences).toMatchObject([{ key: "9007199254740993, 1", column: name }]);
    expect(describeDifference(result.differences[0])).toContain(`public.typed (9007199254740993, 1) ${name}: "`);
  });

  it("finds a row under another key, a missing one and one too many", async () => {
    const other = await compareTyped(changed("id", 9007199254740992n));
    expect(other).toMatchObject({ equal: false, differing: 2 });
    expect(other.differences.map(({ key, column }) => `${key} ${column}`)).toEqual([
      "9007199254740993, 1 null",
      "9007199254740992, 1 null",
    ]);
    const fewer = await compareTyped(destination(typedColumns.map(([name, type, first]) => [name, type, first])));
    expect(fewer).toMatchObject({ equal: false, differing: 1, rows: 2, destinationRows: 1 });
    expect(describeDifference(fewer.differences[0])).toBe("public.typed (2, 2): only in the source");
    const more = await compareTyped(destination(typedColumns.map((column) => [...column, column[3]])));
    expect(more).toMatchObject({ equal: false, differing: 1, destinationRows: 3 });
  });

  it("finds another name, order or type of a column, and one that is missing", async () => {
    for (const given of [
      changed("amount", "-0.05", "decimal(12,2)"),
      destination(typedColumns.slice(0, -1)),
      destination([...typedColumns].reverse()),
      destination(typedColumns.map(([name, ...rest]) => [name === "yes" ? "Yes" : name, ...rest])),
    ]) {
      expect(await compareTyped(given)).toMatchObject({ equal: false });
    }
  });

  it("refuses values that the reader didn't give exactly", async () => {
    await expect(compareTyped(changed("amount", -0.05))).rejects.toThrow(/decimal\(10,2\) was read as number/);
    await expect(compareTyped(changed("zoned", 1.5))).rejects.toThrow(/timestamp was read as number/);
  });
});

describe("of a table without a key", () => {
  const compareTwins = (...rows: [number, string | null][]) =>
    compareTable(
      client,
      { schema: "public", name: "twins" },
      destination([
        ["a", "integer", ...rows.map(([a]) => a)],
        ["b", "string", ...rows.map(([, b]) => b)],
      ]),
    );

  it("counts rows that are the same", async () => {
    expect(await compareTwins([2, null], [1, "x"], [1, "x"])).toMatchObject({ equal: true, rows: 3 });
    expect(await compareTwins([2, null], [1, "x"])).toMatchObject({ equal: false, differing: 1 });
    expect(await compareTwins([2, null], [1, "x"], [1, "x"], [1, "x"])).toMatchObject({ equal: false, differing: 1 });
  });

  it("tells NULL from empty and from its escape", async () => {
    for (const text of ["", "\\N", "NULL"]) {
      expect(await compareTwins([2, text], [1, "x"], [1, "x"])).toMatchObject({ equal: false, differing: 2 });
    }
  });
});

describe("of two tables", () => {
  const twins = (...rows: [number, string | null][]) =>
    destination([
      ["a", "integer", ...rows.map(([a]) => a)],
      ["b", "string", ...rows.map(([, b]) => b)],
    ]);
  const wanted = twins([1, "x"], [1, "x"], [2, null]);

  it("holds in any order", async () => {
    expect(await compareTables(twins([2, null], [1, "x"], [1, "x"]), wanted)).toEqual({ rows: 3, problems: [] });
  });

  it("finds what is missing, what is too many, and another column", async () => {
    expect((await compareTables(twins([2, null], [1, "x"]), wanted)).problems).toEqual([
      "1 rows are missing, 0 too many, of 2",
      "lacks 1\tx",
    ]);
    const other = await compareTables(twins([2, ""], [1, "x"], [1, "x"]), wanted);
    expect(other.problems).toEqual(["1 rows are missing, 1 too many, of 3", "lacks 2\t\\N", "has 2\t"]);
    const renamed = await compareTables(destination([["a", "long", 1n]]), wanted);
    expect(renamed.problems).toEqual(["columns are a long, not a integer, b string"]);
  });
});

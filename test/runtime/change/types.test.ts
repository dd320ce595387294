// Contract: a value reads the same by copy and by stream, and is what PostgreSQL says it is (invariant 4), or it is
// NULL and counted. PostgreSQL is the oracle: each type has an expression that gives its value as text on the server and
// one that gives the same from the Parquet file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DuckDBListValue, DuckDBValue } from "@duckdb/node-api";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { copyStatement } from "../../../runtime/change/copy-statement";
import type { SealedRows } from "../../../runtime/change/sealed-rows";
import { hasBinaryForm, typeOf } from "../../../runtime/change/types";
import type { TypeOptions } from "../../../runtime/config";
import { pinnedSessionSettings } from "../../../runtime/postgres/session-settings";
import { copiedRows, readBack, schemaOf, streamedRows } from "../../support/decoded-changes";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import fc, { propertyRuns } from "../../support/property";
import { arrayCase, isArrayCase } from "./array-cases";
import { asText, type TypeCase, typeCases, typeDefinitions } from "./type-cases";

type UnconstrainedNumeric = TypeOptions["unconstrainedNumeric"];
type Choices = Pick<TypeOptions, "unconstrainedNumeric" | "arrays">;

let cases: TypeCase[] = [];
let postgres: TestPostgres;
let client: Client;

beforeAll(async () => {
  postgres = await startPostgres();
  client = await postgres.client();
  const { rows } = await client.query<{ number: number }>(
    "SELECT current_setting('server_version_num')::int AS number",
  );
  cases = typeCases.filter((one) => (one.since ?? 0) <= rows[0].number);
  for (const [name, value] of Object.entries(pinnedSessionSettings)) {
    if (name !== "search_path") await client.query(`SELECT set_config($1, $2, false)`, [name, value]);
  }
  await client.query(typeDefinitions);
  await client.query("CREATE PUBLICATION types FOR ALL TABLES");
  await client.query("SELECT pg_create_logical_replication_slot('types', 'pgoutput')");
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

/** The case as the options keep it. */
function kept(one: TypeCase, choices: Choices): TypeCase {
  if (one.element !== undefined) {
    if (choices.arrays === "nested") return arrayCase(kept(one.element, choices));
    return { ...one, element: undefined, deltaType: "string", server: asText };
  }
  if (one.type !== "numeric" || choices.unconstrainedNumeric === "decimal") return one;
  return { ...one, deltaType: "string", server: asText };
}

/** All paths against the server, for a table of such columns and rows of literals (null is NULL). @returns whether it has a binary form */
async function check(given: TypeCase[], rows: (string | null)[][], choices: Choices) {
  const columns = given.map((one) => kept(one, choices));
  const names = columns.map((_, index) => `v${index}`);
  // Regclass and the like show a name without its schema only when the search path has it.
  await client.query("SET search_path = public");
  const definitions = columns.map((one, index) => `v${index} ${one.type}`);
  await client.query(`CREATE TABLE every_type (id int PRIMARY KEY, gone int, ${definitions.join(", ")})`);
  await client.query("ALTER TABLE every_type DROP gone; SET search_path = pg_catalog");
  try {
    const schema = await schemaOf(client, "types", "every_type", choices);
    expect(schema.columns.slice(1).map((column) => column.deltaType)).toEqual(columns.map((one) => one.deltaType));
    const parameters = columns.map((_, column) => `$${column + 2}`).join(", ");
    for (const [index, row] of rows.entries()) {
      await client.query(`INSERT INTO public.every_type VALUES ($1, ${parameters})`, [index, ...row]);
    }
    const wanted = await serverValues(columns);
    const expressions = columns.map((one, index) => fileExpression(one, schema.columns[index + 1].physicalName));
    const select = `SELECT ${expressions.join(", ")} FROM $file`;
    const [copied] = await copiedRows(client, schema);
    await client.query("DELETE FROM public.every_type");
    const peeked = hasBinaryForm(schema.columns)
      ? await streamedRows(client, "types", "types", schema, { binary: true, peek: true })
      : null;
    const streamed = (await streamedRows(client, "types", "types", schema)) as SealedRows;

    const lost: Record<string, number> = {};
    for (const [row, values] of wanted.entries()) {
      for (const [column, value] of values.entries()) {
        if (value === null && rows[row][column] !== null) lost[names[column]] = (lost[names[column]] ?? 0) + 1;
        if (!Array.isArray(value)) continue;
        for (const [at, [text, isNull]] of value.entries()) {
          if (text === null && !isNull) lost[names[column]] = (lost[names[column]] ?? 0) + 1;
          (value as FileValue[])[at] = text;
        }
      }
    }
    for (const [sealed, filter] of [
      [copied, ""],
      [streamed, "WHERE _op = 0"],
      [peeked, "WHERE _op = 0"],
    ] as const) {
      if (sealed === null) continue;
      const found = await readBack(sealed, `${select} ${filter} ORDER BY c1`);
      expect(found.rows.map((row) => fileValues(columns, row))).toEqual(wanted);
      expect(sealed.unrepresentable).toEqual(lost);
    }
    return peeked !== null;
  } finally {
    await client.query("DROP TABLE public.every_type");
  }
}

/** Of an array, [text, whether it is NULL at the source] of each element. */
async function serverValues(columns: TypeCase[]): Promise<(string | null | [string | null, boolean][])[][]> {
  const values = columns.map((one, index) => `${(one.server ?? asText)(`v${index}`)} AS v${index}`);
  // Of a composite whose fields are all NULL, IS NULL is true, though it is a value.
  const nulls = columns.map((_, index) => `NOT (v${index} IS DISTINCT FROM NULL) AS n${index}`);
  const { rows } = await client.query<Record<string, string | boolean | null>>(
    `SELECT ${[...values, ...nulls].join(", ")} FROM public.every_type ORDER BY id`,
  );
  // format() gives an empty string for NULL.
  return rows.map((row) =>
    columns.map((one, index) => {
      const value = row[`n${index}`] === true ? null : (row[`v${index}`] as string | null);
      return one.element === undefined || value === null ? value : JSON.parse(value);
    }),
  );
}

/** Rows of all edges of such columns. */
function edgesOf(columns: TypeCase[]): (string | null)[][] {
  const count = Math.max(...columns.map((one) => one.edges.length));
  return Array.from({ length: count }, (_, row) => columns.map((one) => one.edges[row] ?? null));
}

const isFloat = (one: TypeCase) => one.deltaType === "float" || one.deltaType === "double";

function fileExpression(one: TypeCase, column: string): string {
  if (one.element !== undefined) return `[${fileExpression(one.element, "x")} for x in ${column}]`;
  return isFloat(one) ? column : `(${one.file?.(column) ?? column})::VARCHAR`;
}

type FileValue = string | null | FileValue[];

function fileValue(one: TypeCase, value: DuckDBValue): FileValue {
  if (value === null) return null;
  const { element } = one;
  if (element !== undefined) return (value as DuckDBListValue).items.map((item) => fileValue(element, item));
  return isFloat(one) ? hexOf(value, one.deltaType === "float" ? 4 : 8) : String(value);
}

function fileValues(columns: TypeCase[], row: DuckDBValue[]): FileValue[] {
  return row.map((value, index) => fileValue(columns[index], value));
}

describe("types", () => {
  it.each(["decimal", "string"] as const)(
    "every edge value reads the same everywhere; numeric as %s",
    async (numeric) => {
      const rows = edgesOf(cases);
      await check(cases, rows, { unconstrainedNumeric: numeric, arrays: "text" });
    },
  );

  it("every edge value that has a binary form reads the same when it is streamed in it", async () => {
    const some: TypeCase[] = [];
    for (const one of cases) {
      const { rows } = await client.query<{ oid: string }>("SELECT to_regtype($1)::oid::text AS oid", [one.type]);
      const type = typeOf(Number(rows[0].oid), -1);
      // A numeric of too many digits is kept, and sent, as text.
      if (type.readBinary !== null && (type.deltaType === "string" || one.deltaType !== "string")) some.push(one);
    }
    expect(some.length).toBeGreaterThan(15);
    expect(await check(some, edgesOf(some), { unconstrainedNumeric: "decimal", arrays: "text" })).toBe(true);
    const lists = some.map(arrayCase);
    expect(await check(lists, edgesOf(lists), { unconstrainedNumeric: "decimal", arrays: "nested" })).toBe(true);
  });

  it("every edge value of every type reads the same as an element of an array", async () => {
    const lists = cases.filter((one) => !isArrayCase(one)).map(arrayCase);
    const tags = lists.find((one) => one.element?.type === "text") as TypeCase;
    expect(lists.length).toBeGreaterThan(90);
    const all = [...lists, { ...tags, type: "tags" }];
    await check(all, edgesOf(all), { unconstrainedNumeric: "decimal", arrays: "nested" });
  });

  it("random values in random tables read the same by copy, by stream and on the server", async () => {
    const elements = cases.filter((one) => !isArrayCase(one));
    const column = fc.record({ pick: fc.nat(), isArray: fc.boolean() }).chain(({ pick, isArray }) => {
      const plain = elements[pick % elements.length];
      // A domain over an array is kept in another way with each option.
      const one = isArray || plain.type === "tags" ? arrayCase(plain) : plain;
      const value = fc.oneof(fc.constantFrom(...one.edges), one.random ?? fc.constantFrom(...one.edges));
      const values = fc.array(fc.option(value, { freq: 8 }), { minLength: 12, maxLength: 12 });
      return fc.record({ one: fc.constant(one), values });
    });
    const table = fc.record({
      columns: fc.array(column, { minLength: 1, maxLength: 40 }),
      count: fc.integer({ min: 1, max: 12 }),
      choices: fc.record({
        unconstrainedNumeric: fc.constantFrom<UnconstrainedNumeric>("decimal", "string"),
        arrays: fc.constantFrom<TypeOptions["arrays"]>("text", "nested"),
      }),
    });
    await fc.assert(
      fc.asyncProperty(table, async ({ columns, count, choices }) => {
        const rows = Array.from({ length: count }, (_, row) => columns.map(({ values }) => values[row]));
        await check(
          columns.map(({ one }) => one),
          rows,
          choices,
        );
      }),
      propertyRuns(25),
    );
  }, 600_000);

  it("every code point of Unicode goes through, in a value of four megabytes", async () => {
    await client.query(`SET search_path = public; CREATE TABLE unicode (id int PRIMARY KEY, body text, raw bytea);
      SET search_path = pg_catalog`);
    await client.query(`INSERT INTO public.unicode SELECT 1, body, convert_to(body, 'UTF8') FROM (
      SELECT string_agg(chr(n), '' ORDER BY n) AS body FROM generate_series(1, 1114111) n
       WHERE n NOT BETWEEN 55296 AND 57343) t`);
    const schema = await schemaOf(client, "types", "unicode");
    const { rows } = await client.query<{ digest: string }>("SELECT md5(raw) AS digest FROM public.unicode");
    const [copied] = await copiedRows(client, schema);
    const streamed = (await streamedRows(client, "types", "types", schema)) as SealedRows;
    for (const sealed of [copied, streamed]) {
      const found = await readBack(sealed, "SELECT md5(c2), md5(c3), length(c2)::INT FROM $file");
      expect(found.rows).toEqual([[rows[0].digest, rows[0].digest, 1_112_063]]);
    }
  });

  it("every type of the server can be a column", async () => {
    const { rows } = await client.query<{ type: string }>(
      `SELECT format_type(t.oid, NULL) AS type FROM pg_type t LEFT JOIN pg_type element ON element.oid = t.typelem
        WHERE t.typtype IN ('b', 'd', 'e', 'r', 'm') AND t.typisdefined AND coalesce(element.typtype, 'b') NOT IN ('c', 'p')
        ORDER BY t.oid`,
    );
    const made: string[] = [];
    for (const [index, { type }] of rows.entries()) {
      // pg_node_tree and its like are for the catalog only.
      if (/^(pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin_)/.test(type)) continue;
      made.push(`c${index} ${type}`);
    }
    expect(made.length).toBeGreaterThan(200);
    await client.query(`CREATE TABLE public.all_types (id int PRIMARY KEY, ${made.join(", ")})`);
    await client.query("INSERT INTO public.all_types (id) VALUES (1)");
    const schema = await schemaOf(client, "types", "all_types");
    expect(copyStatement(schema, { relation: schema, rowFilter: null, blocks: null })).toContain("format('%s'");
    const [copied] = await copiedRows(client, schema);
    const streamed = (await streamedRows(client, "types", "types", schema)) as SealedRows;
    expect([copied.rows, streamed.rows, copied.unrepresentable, streamed.unrepresentable]).toEqual([1, 1, {}, {}]);
  });

  it("are those of docs/tables.md", () => {
    const page = readFileSync(join(process.cwd(), "docs/tables.md"), "utf8");
    const table = page.slice(page.indexOf("| PostgreSQL | Delta |"));
    const promised: [string, string, string][] = [
      ["smallint, integer, bigint", "SMALLINT, INT, BIGINT", "short integer long"],
      ["real, double precision, money", "FLOAT, DOUBLE, DOUBLE", "float double double"],
      ["boolean, date", "BOOLEAN, DATE", "boolean date"],
      ["timestamp, timestamptz", "TIMESTAMP_NTZ, TIMESTAMP", "timestamp_ntz timestamp"],
    ];
    for (const [types, delta, ours] of promised) {
      expect(table).toContain(`| ${types} | ${delta} |`);
      const found = types.split(", ").map((type) => cases.find((one) => one.type === type)?.deltaType);
      expect(found.join(" ")).toBe(ours);
    }
    for (const type of ["bytea", "uuid"]) expect(cases.find((one) => one.type === type)?.deltaType).toBe("binary");
    expect(table).toContain("| bytea, uuid | BINARY |");
  });
});

// Contract: with types.arrays "nested" an array is a Delta array in every mode, by copy and by stream, over updates whose
// large values aren't sent again, changes of columns, in tables without a key and in keys; PostgreSQL is the oracle
// (invariants 3 and 4). The option changed on a living table copies it again; what a list can't hold is NULL and counted,
// or stops its table.
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DeltaTableView, openDelta } from "../support/delta-reader";
import { compareTable, describeDifference } from "../support/equality";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { testSeed } from "../support/test-seed";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

const columns = `numbers int[], names text[], amounts price[], at timestamptz[], floats float8[], areas box[], ids uuid[],
  raw bytea[], moods mood[], pairs pair[], flags bool[], local_at timestamp[], days date[], cash money[], notes tags`;
const setup = `
  CREATE TYPE mood AS ENUM ('sad', 'very happy');
  CREATE TYPE pair AS (a int, b text);
  CREATE DOMAIN price AS numeric(10,2);
  CREATE DOMAIN tags AS varchar(40)[];
  CREATE TABLE scd1 (id int PRIMARY KEY, ${columns});
  CREATE TABLE soft (id int PRIMARY KEY, ${columns});
  CREATE TABLE history (id int PRIMARY KEY, ${columns});
  CREATE TABLE versions (id int PRIMARY KEY, ${columns});
  CREATE TABLE keyless (id int, ${columns});
  ALTER TABLE keyless REPLICA IDENTITY FULL;
  CREATE TABLE keyed (path int[], names text[] NOT NULL, value int[], PRIMARY KEY (path, names));`;
const byId = ["scd1", "soft", "history", "versions"];
const all = [...byId, "keyless"];

const names = columns.split(/,\s*/).map((column) => column.trim().split(" ")[0]);
const nested = { types: { arrays: "nested" } } as const;

/** SQL of a row's arrays: NULL, empty, of other bounds, of two dimensions, with NULL and odd elements. */
function arrays(random: Random): string[] {
  const list = (type: string, elements: string[]) => {
    const choice = random.between(0, 11);
    if (choice === 0) return `NULL::${type}[]`;
    if (choice === 1) return `'{}'::${type}[]`;
    const chosen = Array.from({ length: random.between(1, 5) }, () =>
      random.between(0, 5) === 0 ? "NULL" : random.choose(elements),
    );
    const plain = `ARRAY[${chosen.join(", ")}]::${type}[]`;
    if (choice === 2) return `ARRAY[${plain}, ${plain}]`;
    return choice === 3 ? `array_cat('[0:0]={NULL}'::${type}[], ${plain})` : plain;
  };
  return [
    list("int", ["0", "-7", "2147483647"]),
    list("text", ["''", "'NULL'", `'a "b", {c}'`, "'\\x\\\\'", "'ünï 🎉'"]),
    list("price", ["1.50", "-0.01", "'NaN'::numeric", "12345678.90"]),
    list("timestamptz", ["'2024-02-29 12:00:00.000001+02'", "'infinity'", "'1890-01-01 00:00+00'"]),
    list("float8", ["0", "'-0'::float8", "'NaN'", "1e-300", "'-Infinity'", "0.1"]),
    list("box", ["'(3,4),(1,2)'", "'(0,0),(0,0)'"]),
    list("uuid", ["'00000000-0000-0000-0000-00000000000a'", "'ffffffff-0000-0000-0000-000000000001'"]),
    list("bytea", ["''", "'\\x00ff22'"]),
    list("mood", ["'sad'", "'very happy'"]),
    list("pair", [`ROW(1, 'x "y"')`, "ROW(NULL, NULL)"]),
    list("bool", ["true", "false"]),
    list("timestamp", ["'2024-02-29 12:00:00.000001'", "'0044-03-15 BC'"]),
    list("date", ["'2024-02-29'", "'10000-01-01'"]),
    list("money", ["'-1234.56'", "'0'"]),
    list("varchar", ["'t1'", "'t,2'"]),
  ];
}

/** One transaction of the same changes in every table. */
async function change(client: Client, random: Random, firstId: number): Promise<void> {
  const statements: string[] = [];
  for (let id = firstId; id < firstId + 25; id++) {
    const row = arrays(random).join(", ");
    for (const table of all) statements.push(`INSERT INTO ${table} (id, ${names}) VALUES (${id}, ${row})`);
    // Rows without a key often come twice.
    if (id % 3 === 0) statements.push(`INSERT INTO keyless (id, ${names}) VALUES (${id}, ${row})`);
    const other = random.between(1, id);
    const column = random.between(0, names.length - 1);
    const value = arrays(random)[column];
    for (const table of all) {
      if (id % 2 === 0) statements.push(`UPDATE ${table} SET ${names[column]} = ${value} WHERE id = ${other}`);
      if (id % 7 === 0) statements.push(`DELETE FROM ${table} WHERE id = ${other - 1}`);
      if (id % 5 === 0) statements.push(`UPDATE ${table} SET id = -id WHERE id = ${other}`);
    }
  }
  statements.push("DELETE FROM keyless WHERE ctid IN (SELECT min(ctid) FROM keyless GROUP BY id HAVING count(*) > 1)");
  await client.query(statements.join(";\n"));
}

/** Which rows of a table in a mode are those of the source now, by its columns of ours. */
async function currentRows(delta: DeltaTableView): Promise<(values: unknown[][], row: number) => boolean> {
  const indexOf = (name: string) => delta.columns.findIndex((column) => column.name === name);
  const [id, op, lsn, ordinal] = ["id", "_op", "_commit_lsn", "_ordinal"].map(indexOf);
  if (indexOf("_deleted_at") >= 0) return (values, row) => values[indexOf("_deleted_at")][row] === null;
  if (indexOf("is_current") >= 0) return (values, row) => values[indexOf("is_current")][row] === true;
  if (op < 0) return () => true;
  const placeOf = (values: unknown[][], row: number) =>
    ((values[lsn][row] as bigint) << 64n) + ((values[ordinal][row] as bigint | null) ?? 0n);
  const newest = new Map<unknown, bigint>();
  for await (const { columns: values, count } of delta.batches()) {
    for (let row = 0; row < count; row++) {
      const place = placeOf(values, row);
      if (place > (newest.get(values[id][row]) ?? -1n)) newest.set(values[id][row], place);
    }
  }
  return (values, row) => values[op][row] !== "delete" && newest.get(values[id][row]) === placeOf(values, row);
}

const ours = new Set([
  "_deleted_at",
  "valid_from",
  "valid_to",
  "is_current",
  "_op",
  "_commit_lsn",
  "_ordinal",
  "_commit_time",
]);

/** Differences between the source's rows and those that are current in the destination. */
async function differences(pipeline: Pipeline, name: string): Promise<string[]> {
  const delta = await openDelta(pipeline.lakePath({ name }));
  const isCurrent = await currentRows(delta);
  const kept = delta.columns.flatMap((column, index) => (ours.has(column.name) ? [] : [index]));
  const destination = {
    columns: kept.map((index) => delta.columns[index]),
    batches: async function* () {
      for await (const { columns: values, count } of delta.batches()) {
        const rows = Array.from({ length: count }, (_, row) => row).filter((row) => isCurrent(values, row));
        yield { columns: kept.map((index) => rows.map((row) => values[index][row])), count: rows.length };
      }
    },
  };
  const result = await compareTable(pipeline.client, { schema: "public", name }, destination, "nested");
  if (!result.equal && result.differences.length === 0) return [`${name}: ${result.differing} rows differ`];
  return result.differences.map(describeDifference);
}

describe("arrays as lists", () => {
  it("equal the source in every mode, by copy and by stream, with large values unsent and columns changed", async () => {
    const pipeline = await Pipeline.open(postgres, setup, nested);
    (pipeline.applier.config as { tables?: object[] }).tables = [
      { schema: "public", name: "soft", mode: "softDelete" },
      { schema: "public", name: "history", mode: "append" },
      { schema: "public", name: "versions", mode: "scd2" },
    ];
    const { client } = pipeline;
    const isEqual = async (tables: string[]) => {
      await pipeline.settled();
      for (const table of tables) expect(await differences(pipeline, table), `${table}, seed ${seed}`).toEqual([]);
    };
    const seed = testSeed;
    const random = new Random(seed);
    try {
      await change(client, random, 1);
      await client.query(
        "INSERT INTO keyed VALUES ('{1,2}', '{a,NULL}', '{1}'), ('{1}', '{}', NULL), ('{}', '{a}', '{{1},{2}}')",
      );
      pipeline.start();
      await isEqual([...all, "keyed"]);

      await change(client, random, 100);
      await client.query(`
        UPDATE keyed SET value = '{7,NULL}' WHERE path = '{1,2}'; DELETE FROM keyed WHERE path = '{1}';
        UPDATE keyed SET path = '{9}' WHERE path = '{}'; INSERT INTO keyed VALUES ('{3,NULL}', '{NULL}', '{}')`);
      // Values of 32 kB that don't compress, beside a column that changes.
      for (const table of byId) {
        await client.query(`
          INSERT INTO ${table} (id, names, numbers) SELECT 1000 + n,
            (SELECT array_agg(md5(n * m || '')) FROM generate_series(1, 1000) m), ARRAY[n] FROM generate_series(1, 3) n`);
        await client.query(`UPDATE ${table} SET numbers = numbers || 5 WHERE id > 1000`);
        await client.query(`UPDATE ${table} SET id = id + 1000 WHERE id = 1003`);
      }
      await isEqual([...all, "keyed"]);

      for (const table of byId) {
        await client.query(`
          ALTER TABLE ${table} ADD COLUMN added int[] DEFAULT '{1,NULL,3}', ADD COLUMN words text[] DEFAULT '{"a b",c}';
          ALTER TABLE ${table} RENAME COLUMN numbers TO figures; ALTER TABLE ${table} DROP COLUMN raw;
          UPDATE ${table} SET added = '{}' WHERE id % 2 = 0`);
      }
      await isEqual(byId);
      expect(byId.map((name) => pipeline.table(name).snapshots)).toEqual([1, 1, 1, 1]);

      // A wider element makes another type: the table is copied again.
      await client.query("ALTER TABLE scd1 ALTER COLUMN figures TYPE bigint[]; UPDATE scd1 SET added = NULL");
      await pipeline.gateway.untilStatus("copied again", ({ tables }) =>
        tables.some(({ name, snapshots }) => name === "scd1" && snapshots === 2),
      );
      await isEqual(["scd1"]);
      const types = (await openDelta(pipeline.lakePath({ name: "scd1" }))).columns.map(({ type }) => type);
      expect(types).toContain("array<long>");
    } finally {
      await pipeline.close();
    }
  });

  it("are had for arrays that were text, when the option is changed, by another copy of their tables alone", async () => {
    const pipeline = await Pipeline.open(
      postgres,
      `CREATE DOMAIN tags AS text[]; CREATE TABLE listed (id int PRIMARY KEY, numbers int[], notes tags);
       CREATE TABLE plain (id int PRIMARY KEY, name text); INSERT INTO plain VALUES (1, 'a');
       INSERT INTO listed VALUES (1, '{1,NULL}', '{a}'), (2, '{{1,2},{3,4}}', NULL), (3, '[2:3]={5,6}', '{}')`,
    );
    try {
      await pipeline.start().settled();
      expect(await pipeline.differences("listed")).toEqual([]);
      for (const option of ["nested", "text"] as const) {
        await pipeline.gateway.stop();
        (pipeline.gateway.config as { types?: object }).types = { arrays: option };
        pipeline.gateway.start();
        await pipeline.client.query("INSERT INTO listed SELECT max(id) + 1, '{{7}}', '{NULL}' FROM listed");
        await pipeline.settled();
        expect(await pipeline.differences("listed")).toEqual([]);
        const lost = option === "nested" ? { numbers: 2 } : {};
        expect(pipeline.table("listed").unrepresentable).toEqual(lost);
      }
      expect([pipeline.table("listed").snapshots, pipeline.table("plain").snapshots]).toEqual([3, 1]);
    } finally {
      await pipeline.close();
    }
  });

  it("stop their table where they can't be, by option, and in a key where only bounds tell values apart", async () => {
    const pipeline = await Pipeline.open(
      postgres,
      `CREATE TABLE strict (id int PRIMARY KEY, numbers int[], amounts numeric(6,2)[]);
       CREATE TABLE keyed (path int[] PRIMARY KEY); INSERT INTO keyed VALUES ('{1}'), ('[2:2]={1}')`,
      { types: { arrays: "nested", unrepresentable: "stop" } },
    );
    const failure = async (name: string, holds: string) => {
      await pipeline.gateway.untilStatus(`${name} stops with ${holds}`, ({ tables }) =>
        tables.some(
          (table) => table.name === name && table.state.kind === "failed" && table.state.message.includes(holds),
        ),
      );
      const { state } = pipeline.table(name);
      return state.kind === "failed" ? `${state.message} | ${state.remedy}` : state.kind;
    };
    try {
      await pipeline.start().settled();
      expect(await failure("keyed", "[2:2]={1}")).toBe(
        "public.keyed: column path (integer[]) holds [2:2]={1}, which array<integer> can't, in the row path = [2:2]={1} | " +
          'Correct the value at the source, or leave the table out: a key can\'t be NULL, or set types.arrays to "text". The table is then copied again.',
      );
      await pipeline.client.query("INSERT INTO strict VALUES (1, '[0:1]={1,2}', '{1.5}')");
      await pipeline.settled();
      expect(await pipeline.differences("strict")).toEqual([]);
      await pipeline.client.query("INSERT INTO strict VALUES (2, NULL, '{1.50,NULL,NaN}')");
      expect(await failure("strict", "NaN")).toMatch(
        /column amounts \(numeric\(6,2\)\[\]\) holds \{1\.5,NULL,NaN\}, which array<decimal\(6,2\)> can't, in the row id = 2 \|/,
      );
    } finally {
      await pipeline.close();
    }
  });
});

// Contract: which tables a publication publishes, and with which columns and rows, is what the server says, whatever the
// publication is made of; but it is read without waiting for a lock on any of them.
import { afterAll, beforeAll, expect, it } from "vitest";
import { publishedRelationsSql } from "../../../runtime/postgres/published-relations";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

const tables = `
  CREATE SCHEMA s; CREATE SCHEMA other;
  CREATE TABLE plain (id int PRIMARY KEY, gone int, name text, doubled int GENERATED ALWAYS AS (id * 2) STORED);
  ALTER TABLE plain DROP COLUMN gone;
  CREATE TABLE s.inner (id int PRIMARY KEY, b text);
  CREATE UNLOGGED TABLE s.unlogged (id int);
  CREATE TABLE s.old_parent (id int); CREATE TABLE s.old_child () INHERITS (s.old_parent);
  CREATE VIEW s.seen AS SELECT 1 AS one;
  CREATE TABLE parts (id int, part int, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
  CREATE TABLE s.part_1 PARTITION OF parts FOR VALUES IN (1);
  CREATE TABLE other.part_2 PARTITION OF parts FOR VALUES IN (2) PARTITION BY LIST (id);
  CREATE TABLE s.part_2a PARTITION OF other.part_2 FOR VALUES IN (1);
  CREATE TABLE empty_root (id int) PARTITION BY LIST (id)`;

const since: [number, string[]][] = [
  [
    140_000,
    [
      "ALL TABLES",
      "TABLE plain",
      "TABLE plain, s.inner, ONLY s.old_parent",
      "TABLE s.old_parent",
      "TABLE parts",
      "TABLE s.part_1",
      "TABLE other.part_2, s.part_1",
      "TABLE parts, other.part_2, s.part_2a, plain",
      "TABLE empty_root",
      "",
    ],
  ],
  [
    150_000,
    [
      "TABLE plain (id, name), s.inner WHERE (b <> 'x')",
      "TABLE s.part_1 (part, id) WHERE (id > 3), other.part_2",
      "TABLES IN SCHEMA s",
      "TABLES IN SCHEMA other",
      "TABLES IN SCHEMA public, other, TABLE s.part_2a",
      "TABLES IN SCHEMA s, TABLE s.inner WHERE (b <> 'x'), plain",
    ],
  ],
];

const ownColumns = `CASE WHEN t.columns IS NOT NULL THEN a.attnum = ANY (t.columns)
                          ELSE a.attgenerated = '' OR a.attgenerated = 's' AND t.generated END`;

it("is what the server says, and waits for nobody", { timeout: 60_000 }, async () => {
  const client = await postgres.client();
  const version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  await client.query(tables);
  const options = ["", "publish_via_partition_root = true"];
  if (version >= 180_000) options.push("publish_generated_columns = stored");
  const names: [string, string][] = [];
  for (const what of since.flatMap(([first, list]) => (version >= first ? list : []))) {
    for (const option of options) {
      const name = `p${names.length}`;
      const parts = [what === "" ? "" : `FOR ${what}`, option === "" ? "" : `WITH (${option})`];
      await client.query(`CREATE PUBLICATION ${name} ${parts.join(" ")}`);
      names.push([name, parts.join(" ")]);
    }
  }
  const told = version >= 150_000 ? "t.attrs::int2[], t.qual" : "NULL::int2[], NULL::pg_node_tree";
  const expected: string[] = [];
  for (const [name] of names) {
    const { rows } = await client.query<{ text: string }>(
      `SELECT concat_ws(' ', t.relid::regclass, ARRAY(SELECT a.attnum FROM pg_attribute a
                WHERE a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped
                  AND CASE WHEN columns IS NULL THEN a.attgenerated = '' ELSE a.attnum = ANY (columns) END ORDER BY 1),
              pg_get_expr(filter, t.relid)) AS text
         FROM (SELECT t.relid, ${told} FROM pg_get_publication_tables($1) t) t (relid, columns, filter) ORDER BY 1`,
      [name],
    );
    expected.push(...rows.map(({ text }) => `${name} ${text}`));
  }
  expect(expected.length).toBeGreaterThan(40);
  const own = async (sql: (name: string) => Promise<{ text: string }[]>) => {
    const found: string[] = [];
    for (const [name] of names) found.push(...(await sql(name)).map(({ text }) => `${name} ${text}`));
    return found;
  };
  const relations = publishedRelationsSql(version, "$1");
  const texts = await own(async (name) => {
    const { rows } = await client.query<{ text: string }>(
      `SELECT concat_ws(' ', t.relid::regclass, ARRAY(SELECT a.attnum FROM pg_attribute a
                WHERE a.attrelid = t.relid AND a.attnum > 0 AND NOT a.attisdropped AND ${ownColumns} ORDER BY 1),
              pg_get_expr(t.filter, t.relid)) AS text
         FROM (${relations}) t ORDER BY 1`,
      [name],
    );
    return rows;
  });
  expect(texts).toEqual(expected);

  const altering = await postgres.client();
  await altering.query("BEGIN; LOCK TABLE plain, s.inner, parts, s.old_parent, empty_root");
  await client.query("SET lock_timeout = 50");
  const locked = await own(async (name) => {
    const { rows } = await client.query<{ text: string }>(`SELECT t.relid::text AS text FROM (${relations}) t`, [name]);
    return rows;
  });
  expect(locked.length).toBe(expected.length);
  await altering.query("ROLLBACK");
  await altering.end();
  await client.end();
});

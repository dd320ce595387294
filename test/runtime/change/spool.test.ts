// Contract: each change of the source becomes the staged rows that runtime/staging/staged-commit.ts describes, for every
// replica identity, with what was not sent again marked as unchanged (invariants 3 and 4).
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasShape } from "../../../runtime/change/schema-change";
import { TableSpool } from "../../../runtime/change/spool";
import type { Relation } from "../../../runtime/postgres/pgoutput-handler";
import { pinnedSessionSettings } from "../../../runtime/postgres/session-settings";
import { readBack, schemaOf, streamedRows } from "../../support/decoded-changes";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let client: Client;

beforeAll(async () => {
  postgres = await startPostgres();
  client = await postgres.client();
  for (const [name, value] of Object.entries(pinnedSessionSettings)) {
    if (name !== "search_path") await client.query("SELECT set_config($1, $2, false)", [name, value]);
  }
  await client.query("CREATE PUBLICATION spool FOR ALL TABLES");
  await client.query("SELECT pg_create_logical_replication_slot('spool', 'pgoutput')");
});
afterAll(async () => {
  await client?.end();
  await postgres?.stop();
});

/** Makes the table, drains the slot, runs the statements in one transaction each; gives `op id body? unchanged` rows. */
async function changes(name: string, definition: string, setup: string[], statements: string[], beforeImages = false) {
  await client.query(`CREATE TABLE ${name} (${definition})`);
  for (const sql of setup) await client.query(sql);
  const schema = await schemaOf(client, "spool", name);
  await streamedRows(client, "spool", "spool", schema);
  for (const sql of statements) await client.query(sql);
  const sealed = await streamedRows(client, "spool", "spool", schema, { beforeImages });
  if (sealed === null) throw new Error("nothing was streamed");
  const { rows } = await readBack(
    sealed,
    `SELECT _op, c1, CASE WHEN length(c2) > 10 THEN left(c2, 4) || '…' ELSE c2 END, _unchanged FROM $file
      ORDER BY _commit_lsn, _ordinal`,
  );
  return { sealed, rows };
}

const wide = (letter: string) =>
  `'${letter.repeat(20)}' || (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 500) n)`;

describe("spool", () => {
  it("takes inserts, updates, deletes and changed keys under the default identity", async () => {
    const { sealed, rows } = await changes(
      "plain",
      "id int PRIMARY KEY, body text",
      ["INSERT INTO plain VALUES (1, 'a'), (2, 'b')"],
      [
        "INSERT INTO plain VALUES (3, NULL)",
        "UPDATE plain SET body = 'c' WHERE id = 1",
        "UPDATE plain SET id = 9 WHERE id = 2",
        "DELETE FROM plain WHERE id = 1",
      ],
    );
    expect(rows).toEqual([
      [0, 3, null, null],
      [1, 1, "c", null],
      [3, 2, null, null],
      [1, 9, "b", null],
      [2, 1, null, null],
    ]);
    expect([sealed.inserts, sealed.updates, sealed.deletes]).toEqual([1, 2, 1]);
  });

  it("marks TOAST values that were not sent, and only those", async () => {
    const { rows } = await changes(
      "toasted",
      "id int PRIMARY KEY, body text, n int",
      ["ALTER TABLE toasted ALTER body SET STORAGE EXTERNAL", `INSERT INTO toasted VALUES (1, ${wide("a")}, 0)`],
      [
        "UPDATE toasted SET n = 1",
        `UPDATE toasted SET body = ${wide("b")}`,
        "UPDATE toasted SET id = 2",
        "UPDATE toasted SET body = NULL",
      ],
    );
    expect(rows).toEqual([
      [1, 1, null, ",2,"],
      [1, 1, "bbbb…", null],
      [3, 1, null, null],
      [1, 2, null, ",2,"],
      [1, 2, null, null],
    ]);
  });

  it("takes unchanged values from the old row under FULL", async () => {
    const { rows } = await changes(
      "full_identity",
      "id int PRIMARY KEY, body text, n int",
      [
        "ALTER TABLE full_identity REPLICA IDENTITY FULL, ALTER body SET STORAGE EXTERNAL",
        `INSERT INTO full_identity VALUES (1, ${wide("a")}, 0)`,
      ],
      ["UPDATE full_identity SET n = 1", "UPDATE full_identity SET id = 2", "DELETE FROM full_identity"],
    );
    expect(rows).toEqual([
      [1, 1, "aaaa…", null],
      [3, 1, "aaaa…", null],
      [1, 2, "aaaa…", null],
      [2, 2, "aaaa…", null],
    ]);
  });

  it("takes the row before an update, where it is wanted, sent, and not told by a delete", async () => {
    const setup = (name: string) => [
      `ALTER TABLE ${name} REPLICA IDENTITY FULL, ALTER body SET STORAGE EXTERNAL`,
      `INSERT INTO ${name} VALUES (1, ${wide("a")}, 0)`,
    ];
    const statements = (name: string) => [
      `UPDATE ${name} SET n = 1`,
      `UPDATE ${name} SET body = 'b'`,
      `UPDATE ${name} SET id = 2`,
      `ALTER TABLE ${name} REPLICA IDENTITY DEFAULT; UPDATE ${name} SET n = 2; UPDATE ${name} SET id = 3`,
    ];
    const columns = "body text, n int";
    const { sealed, rows } = await changes(
      "before_images",
      `id int PRIMARY KEY, ${columns}`,
      setup("before_images"),
      statements("before_images"),
      true,
    );
    expect(rows).toEqual([
      [4, 1, "aaaa…", null],
      [1, 1, "aaaa…", null],
      [4, 1, "aaaa…", null],
      [1, 1, "b", null],
      [3, 1, "b", null],
      [1, 2, "b", null],
      [1, 2, "b", null],
      [3, 2, null, null],
      [1, 3, "b", null],
    ]);
    expect([sealed.inserts, sealed.updates, sealed.deletes]).toEqual([0, 5, 0]);
    const keyless = await changes(
      "keyless_images",
      `id int, ${columns}`,
      setup("keyless_images"),
      ["UPDATE keyless_images SET n = 1"],
      true,
    );
    expect(keyless.rows.map(([op]) => op)).toEqual([2, 0]);
  });

  it("makes an update of a table without a key a delete and an insert", async () => {
    const { sealed, rows } = await changes(
      "keyless",
      "id int, body text",
      ["ALTER TABLE keyless REPLICA IDENTITY FULL", "INSERT INTO keyless VALUES (1, 'a'), (1, 'a')"],
      ["UPDATE keyless SET body = 'b' WHERE ctid = '(0,1)'", "DELETE FROM keyless WHERE body = 'a'"],
    );
    expect(rows).toEqual([
      [2, 1, "a", null],
      [0, 1, "b", null],
      [2, 1, "a", null],
    ]);
    expect([sealed.inserts, sealed.updates, sealed.deletes]).toEqual([0, 1, 1]);
  });

  it("numbers the rows of a transaction over its tables and grows beyond its first buffers", async () => {
    await client.query("CREATE TABLE many (id int PRIMARY KEY, body text)");
    const schema = await schemaOf(client, "spool", "many");
    await streamedRows(client, "spool", "spool", schema);
    await client.query("INSERT INTO many SELECT n, repeat('x', n % 50) FROM generate_series(1, 10000) n");
    const sealed = await streamedRows(client, "spool", "spool", schema);
    if (sealed === null) throw new Error("nothing was streamed");
    const { rows } = await readBack(
      sealed,
      `SELECT count(*)::INT, count(DISTINCT _ordinal)::INT, max(_ordinal)::INT, sum(length(c2))::INT, bool_and(_ordinal = c1 - 1),
              count(DISTINCT _commit_lsn)::INT, max(abs(epoch(_commit_time) - epoch(now()::TIMESTAMP))) < 100 FROM $file`,
    );
    expect(rows).toEqual([[10_000, 10_000, 9_999, 245_000, true, 1, true]]);
  });

  it("keeps nothing of a row that was refused in its middle, when its transaction comes again", async () => {
    await client.query("CREATE TABLE refused (id int PRIMARY KEY, body text, n numeric)");
    const spool = new TableSpool(await schemaOf(client, "spool", "refused"), "changes");
    const meta = { commitLsn: 1n, commitTimeMicros: 0n, nextOrdinal: 0, isOpen: false };
    const tuple = (values: [kind: "t" | "b", value: Buffer][]) =>
      Buffer.concat([
        Buffer.from([0, values.length]),
        ...values.map(([kind, value]) => {
          const head = Buffer.alloc(5, kind);
          head.writeInt32BE(value.length, 1);
          return Buffer.concat([head, value]);
        }),
      ]);
    const [id, body] = [Buffer.from("1"), Buffer.from("once")];
    // The last column is no numeric in binary form.
    const refused = tuple([
      ["t", id],
      ["t", body],
      ["b", Buffer.from([1])],
    ]);
    expect(() => spool.appendInsert(refused, 0, refused.length, meta)).toThrow();
    expect(spool.seal()).toBeNull();
    const sound = tuple([
      ["t", id],
      ["t", body],
      ["t", Buffer.from("2.5")],
    ]);
    spool.appendInsert(sound, 0, sound.length, meta);
    const sealed = spool.seal();
    if (sealed === null) throw new Error("nothing was spooled");
    const { rows } = await readBack(sealed, "SELECT c1, c2, c3::VARCHAR FROM $file");
    expect(rows).toEqual([[1, "once", "2.500000000000000000"]]);
  });

  it("tells a relation of another shape", async () => {
    await client.query("CREATE DOMAIN shape_price AS numeric(10,2)");
    await client.query("CREATE TABLE shape (id int PRIMARY KEY, price shape_price, gone int, code varchar(10))");
    await client.query("ALTER TABLE shape DROP gone");
    const schema = await schemaOf(client, "spool", "shape");
    expect(schema.columns.map((column) => [column.physicalName, column.deltaType, column.keyOrdinal])).toEqual([
      ["c1", "integer", 1],
      ["c2", "decimal(10,2)", null],
      ["c4", "string", null],
    ]);
    const relation: Relation = {
      relationId: Number(schema.tableId),
      schema: "public",
      name: "shape",
      replicaIdentity: "d",
      columns: schema.columns.map(({ name, typeOid, typeModifier, keyOrdinal }) => ({
        name,
        typeOid,
        typeModifier,
        isKey: keyOrdinal !== null,
      })),
    };
    expect(hasShape(schema, relation)).toBe(true);
    const changed = (index: number, part: Partial<Relation["columns"][number]>): Relation => ({
      ...relation,
      columns: relation.columns.map((column, at) => (at === index ? { ...column, ...part } : column)),
    });
    expect(hasShape(schema, { ...relation, name: "renamed" })).toBe(true);
    expect(hasShape(schema, { ...relation, columns: relation.columns.slice(1) })).toBe(false);
    expect(hasShape(schema, changed(2, { typeModifier: 24 }))).toBe(false);
    expect(hasShape(schema, changed(1, { typeOid: 1700 }))).toBe(false);
    expect(hasShape(schema, changed(1, { isKey: true }))).toBe(false);
    expect(hasShape(schema, { ...changed(1, { isKey: true }), replicaIdentity: "f" })).toBe(true);
  });
});

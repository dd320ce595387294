// Contract: whatever a row goes through at the source, the destination has it as the source has (invariants 3 and 4):
// values that weren't sent again, changed keys, rows without a key, any legal name. Read by an independent reader.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Pipeline } from "../../support/pipeline";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let pipeline: Pipeline;

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});
beforeEach(() => async () => pipeline?.close());

/** Out of line, whatever compression makes of it. */
const wide = (letter: string) =>
  `'${letter}' || (SELECT string_agg(md5(n::text || '${letter}'), '') FROM generate_series(1, 300) n)`;

describe("an out-of-line value that isn't sent again", () => {
  const identities = {
    toast_default: "REPLICA IDENTITY DEFAULT",
    toast_full: "REPLICA IDENTITY FULL",
    toast_index: "REPLICA IDENTITY USING INDEX toast_index_code",
  };
  /** Each is one transaction; runs of them share a batch. `t` is the table. */
  const steps = [
    "UPDATE t SET n = n + 1; UPDATE t SET n = n + 1 WHERE id = 1; UPDATE t SET n = n + 1 WHERE id = 1",
    `INSERT INTO t VALUES (10, 'k10', ${wide("x")}, 0); UPDATE t SET n = 5 WHERE id = 10`,
    `INSERT INTO t VALUES (11, 'k11', ${wide("y")}, 0)`,
    "UPDATE t SET n = 6 WHERE id = 11",
    "UPDATE t SET id = id + 100, code = code || '+' WHERE id IN (2, 11)",
    "UPDATE t SET n = 7 WHERE id IN (102, 111)",
    `DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3, 'k3', ${wide("z")}, 0); UPDATE t SET n = 8 WHERE id = 3`,
    "BEGIN; DELETE FROM t WHERE id = 4; ROLLBACK; UPDATE t SET n = 9 WHERE id = 4",
    `UPDATE t SET body = ${wide("w")} WHERE id = 5; UPDATE t SET n = 10 WHERE id = 5; UPDATE t SET id = 205 WHERE id = 5`,
    "UPDATE t SET id = 6, code = 'k6b' WHERE id = 205; UPDATE t SET n = 11 WHERE code = 'k6b'",
    "UPDATE t SET body = NULL WHERE id = 1; UPDATE t SET n = 12 WHERE id = 1",
    `BEGIN; SAVEPOINT s; UPDATE t SET body = ${wide("v")} WHERE id = 4; ROLLBACK TO s; UPDATE t SET n = 13 WHERE id = 4; COMMIT`,
  ];
  const setup = Object.entries(identities)
    .map(
      ([name, identity]) => `
    CREATE TABLE ${name} (id int PRIMARY KEY, code text NOT NULL, body text, n int);
    CREATE UNIQUE INDEX ${name}_code ON ${name} (code);
    ALTER TABLE ${name} ALTER body SET STORAGE EXTERNAL, ${identity};
    INSERT INTO ${name} SELECT i, 'k' || i, 'b' || i || ${wide("a")}, 0 FROM generate_series(1, 5) i;`,
    )
    .join("");

  it.each([
    ["in one batch", { ageMsMax: 1_000 }],
    ["in a batch each", { rowsMax: 1 }],
  ])("stays as it was, %s, whatever the replica identity", async (_, batch) => {
    pipeline = await Pipeline.open(postgres, setup, { batch });
    await pipeline.start().settled();
    for (const step of steps) {
      for (const name of Object.keys(identities)) {
        await pipeline.client.query(step.replaceAll(/\bt\b(?= |$)/g, name));
      }
    }
    const status = await pipeline.settled();
    for (const name of Object.keys(identities)) expect(await pipeline.differences(name)).toEqual([]);
    expect(status.tables.map((table) => table.snapshots)).toEqual([1, 1, 1]);
  });
});

describe("a table without a key", () => {
  it("keeps its rows as many times as the source has them, NULLs and odd floats included", async () => {
    pipeline = await Pipeline.open(
      postgres,
      `CREATE TABLE bag (a int, b text, f float8, at timestamptz);
       ALTER TABLE bag REPLICA IDENTITY FULL;
       INSERT INTO bag SELECT 1, 'same', 'NaN', NULL FROM generate_series(1, 5);
       INSERT INTO bag SELECT NULL, NULL, NULL, NULL FROM generate_series(1, 5);
       INSERT INTO bag VALUES (2, 'zero', 0, NULL), (2, 'zero', '-0', NULL), (3, 'late', 0, 'infinity');
       CREATE TABLE shifted (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, body text);
       ALTER TABLE shifted REPLICA IDENTITY FULL;
       INSERT INTO shifted SELECT n, 'row ' || n FROM generate_series(1, 20) n;`,
    );
    await pipeline.start().settled();
    const one = (where: string) => `ctid = (SELECT ctid FROM bag WHERE ${where} LIMIT 1)`;
    await pipeline.client.query(`DELETE FROM bag WHERE ${one("a = 1")}`);
    await pipeline.client.query(`UPDATE bag SET b = 'other' WHERE ${one("a = 1")}`);
    await pipeline.client.query(`DELETE FROM bag WHERE ${one("a IS NULL")}; DELETE FROM bag WHERE ${one("a IS NULL")}`);
    await pipeline.client.query(`BEGIN; INSERT INTO bag VALUES (7, 'once', 1, NULL), (7, 'once', 1, NULL);
      DELETE FROM bag WHERE ${one("a = 7")}; UPDATE bag SET a = 8 WHERE a = 7; COMMIT`);
    await pipeline.client.query("UPDATE bag SET f = '-0' WHERE a = 2 AND b = 'zero'");
    await pipeline.client.query(
      "UPDATE bag SET at = '-infinity' WHERE a = 3; INSERT INTO bag VALUES (3, 'late', 0, NULL)",
    );
    await pipeline.client.query(`DELETE FROM bag WHERE ${one("a = 3 AND at IS NOT NULL")}`);
    // Two rows have one key until the end: a deferrable key tells no row.
    await pipeline.client.query("UPDATE shifted SET id = id + 1");
    await pipeline.client.query(
      "BEGIN; UPDATE shifted SET id = 3 WHERE id = 4; DELETE FROM shifted WHERE body = 'row 2'; COMMIT",
    );
    await pipeline.settled();
    expect(await pipeline.differences("bag")).toEqual([]);
    expect(await pipeline.differences("shifted")).toEqual([]);
  });

  it("whose identity tells no row is refused with the SQL; the others go on", async () => {
    pipeline = await Pipeline.open(
      postgres,
      `CREATE TABLE untold (a int); CREATE TABLE hidden (id int PRIMARY KEY); CREATE TABLE told (id int PRIMARY KEY);
       ALTER TABLE hidden REPLICA IDENTITY NOTHING; INSERT INTO untold VALUES (1); INSERT INTO told VALUES (1)`,
    );
    const status = await pipeline.start().settled();
    const state = (name: string) => pipeline.table(name, status).state as { message?: string; remedy?: string };
    expect(state("hidden").message).toContain("public.hidden: its replica identity is NOTHING");
    expect(state("untold").message).toContain("public.untold: its replica identity is of no use");
    expect(state("untold").remedy).toContain('ALTER TABLE "public"."untold" REPLICA IDENTITY FULL');
    expect(await pipeline.differences("told")).toEqual([]);
    await pipeline.client.query(
      "ALTER TABLE untold REPLICA IDENTITY FULL; ALTER TABLE hidden REPLICA IDENTITY DEFAULT",
    );
    await pipeline.gateway.untilStatus("both are copied", ({ tables }) =>
      tables.every((table) => table.state.kind === "streaming"),
    );
    await pipeline.client.query("UPDATE untold SET a = 2");
    await pipeline.settled();
    expect(await pipeline.differences("untold")).toEqual([]);
  });
});

describe("a large row", () => {
  const table = `CREATE TABLE large (id int PRIMARY KEY, body text, raw bytea, n int);
    ALTER TABLE large ALTER body SET STORAGE EXTERNAL, ALTER raw SET STORAGE EXTERNAL;
    CREATE TABLE small (id int PRIMARY KEY);`;
  const insert = (id: number, megabytes: number) =>
    `INSERT INTO large VALUES (${id}, repeat('${id}23456789abcdef', ${megabytes} * 65536), decode(repeat('${id}0ff', ${megabytes} * 65536), 'hex'), 0)`;

  it("of more than ten megabytes is carried, by copy and by stream, and stays when it isn't sent again", async () => {
    pipeline = await Pipeline.open(postgres, `${table} ${insert(1, 11)}`);
    await pipeline.start().settled();
    await pipeline.client.query(insert(2, 11));
    await pipeline.client.query("UPDATE large SET n = 1");
    await pipeline.settled();
    expect(await pipeline.differences("large")).toEqual([]);
  });

  it.each(["copy", "stream"])("beyond the limit stops its table alone, by %s", async (way) => {
    const setup = way === "copy" ? `${table} ${insert(1, 1)}` : table;
    pipeline = await Pipeline.open(postgres, setup, { batch: { rowBytesMax: 1024 * 1024 } });
    await pipeline.start().settled();
    if (way === "stream") await pipeline.client.query(insert(1, 1));
    await pipeline.client.query("INSERT INTO small VALUES (1)");
    await pipeline.gateway.untilStatus("it stops", ({ tables }) =>
      tables.some(({ name, state }) => name === "large" && state.kind === "failed"),
    );
    const status = await pipeline.settled();
    expect(pipeline.table("large", status).state).toMatchObject({
      message: expect.stringMatching(/^public\.large: a row of \d{7} bytes, more than batch\.rowBytesMax \(1048576\)$/),
      remedy: expect.stringContaining("Raise the gateway's batch.rowBytesMax"),
    });
    expect(await pipeline.differences("small")).toEqual([]);
  });
});

describe("a legal name", () => {
  const names = [
    "plain",
    "Plain",
    'quo"ted',
    "it's",
    "dotted.name",
    "with space ",
    " leading",
    "sla/sh",
    "..",
    ".",
    "per%20cent%",
    "back\\slash",
    "emoji🎉",
    "select",
    "_delta_log",
    "new\nline",
    "*?[x]",
    "€".repeat(21),
    "x".repeat(63),
    "~7E",
    "#hash",
    "$dollar",
  ];
  const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
  const columns = [
    "_op",
    "_ordinal",
    "_unchanged",
    "_commit_lsn",
    "c1",
    "c2",
    "file_row_number",
    "filename",
    ...names.slice(2),
  ];

  it("is carried: of a table, a column, a schema", async () => {
    pipeline = await Pipeline.open(
      postgres,
      names
        .map(
          (name) => `CREATE TABLE ${quote(name)} (id int PRIMARY KEY, ${quote(name)} text);
         INSERT INTO ${quote(name)} VALUES (1, 'a'), (2, 'b');`,
        )
        .join("\n") +
        `CREATE TABLE columns (${columns.map((name) => `${quote(name)} text`).join(", ")}, PRIMARY KEY (_op, "c2"));
         INSERT INTO columns VALUES (${columns.map((_, index) => `'v${index}'`).join(", ")});
         CREATE SCHEMA ${quote('S/ch"em.a')}; CREATE TABLE ${quote('S/ch"em.a')}."T.t" ("A.b" int PRIMARY KEY, "a""B" int);
         CREATE TABLE clash (id int PRIMARY KEY, "Name" text, "name" text);`,
      { snapshot: { workers: 4 } },
    );
    await pipeline.start().settled(60_000);
    for (const name of names) {
      await pipeline.client.query(
        `UPDATE ${quote(name)} SET ${quote(name)} = 'c' WHERE id = 1; DELETE FROM ${quote(name)} WHERE id = 2; INSERT INTO ${quote(name)} VALUES (3, 'd')`,
      );
    }
    await pipeline.client.query(
      `UPDATE columns SET "c1" = 'new', "_op" = 'new'; INSERT INTO ${quote('S/ch"em.a')}."T.t" VALUES (1, 2)`,
    );
    const status = await pipeline.settled(60_000);
    for (const name of [...names, "columns"]) expect(await pipeline.differences(name)).toEqual([]);
    expect(await pipeline.differences("T.t", 'S/ch"em.a')).toEqual([]);
    expect(pipeline.table("clash", status).state).toMatchObject({
      kind: "failed",
      message: 'public.clash: columns "Name" and "name" differ in case only, which Delta can\'t hold',
    });
  });
});

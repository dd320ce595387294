// Contract: a snapshot is younger than its lock on the table, so that no TRUNCATE or rewrite comes between the two;
// whoever holds the lock is named; a joined session sees the same rows and never waits for itself; a range of blocks
// is read by a TID range scan.
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { copyStatement } from "../../../runtime/change/copy-statement";
import { sourceSchema, typeOptionsSchema } from "../../../runtime/config";
import { exportSnapshot, joinSnapshot, openSnapshot, waitForWriters } from "../../../runtime/gateway/snapshot-session";
import { Blocked } from "../../../runtime/gateway/snapshot-wait";
import { connectSource } from "../../../runtime/postgres/client";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let other: Client;
let sessions: Client[] = [];
let tableId = "";
const published = { publication: "p", types: typeOptionsSchema.parse({}) };
const place = { schema: "public", name: "item", partitioned: false };

beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

beforeEach(async () => {
  other = await postgres.client();
  await other.query(`
    DROP PUBLICATION IF EXISTS p; DROP TABLE IF EXISTS item;
    CREATE TABLE item (id int PRIMARY KEY, note text);
    INSERT INTO item SELECT n, repeat('x', 100) FROM generate_series(1, 1000) n;
    CREATE PUBLICATION p FOR TABLE item`);
  const { rows } = await other.query<{ oid: string }>("SELECT 'item'::regclass::oid::text AS oid");
  tableId = rows[0].oid;
  return async () => {
    for (const session of [other, ...sessions]) await session.end();
    sessions = [];
  };
});

async function session(): Promise<Client> {
  const client = await connectSource(sourceSchema.parse(postgres.source()));
  sessions.push(client);
  return client;
}

async function open(client: Client, waits: (string | undefined)[] = [], waitMsMax = 10_000) {
  const { signal } = new AbortController();
  return openSnapshot(client, tableId, published, {
    signal,
    waitMsMax,
    onWait: (waitingFor) => waits.push(waitingFor),
  });
}

const count = async (client: Client) =>
  Number((await client.query<{ n: string }>("SELECT count(*) AS n FROM public.item")).rows[0].n);

describe("a snapshot's session", () => {
  it.each([
    ["TRUNCATE with new rows", "TRUNCATE item; INSERT INTO item SELECT n, 'new' FROM generate_series(1, 7) n", 7],
    ["a rewrite", "ALTER TABLE item ALTER COLUMN id TYPE bigint", 1000],
  ])("sees what %s has left, whose transaction was there first", async (_, sql, rows) => {
    await other.query("BEGIN");
    await other.query(sql);
    const { rows: own } = await other.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    const waits: (string | undefined)[] = [];
    const client = await session();
    const opening = open(client, waits);
    await until("it waits", () => waits.length > 0);
    expect(waits[0]).toBe(`a lock on it: pid ${own[0].pid} holds AccessExclusiveLock`);
    await other.query("COMMIT");
    expect(await opening).not.toBeNull();
    expect(await count(client)).toBe(rows);
    expect(waits.at(-1)).toBeUndefined();
  });

  it("keeps TRUNCATE and rewrites out from its snapshot to its end", async () => {
    const client = await session();
    await open(client);
    const truncated = other.query("TRUNCATE item");
    const watching = await session();
    await until("TRUNCATE waits", async () => {
      const { rows } = await watching.query(
        "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'",
      );
      return rows.length > 0;
    });
    expect(await count(client)).toBe(1000);
    // Others may not join now: they would wait for TRUNCATE, which waits for us.
    const joined = await session();
    expect(await joinSnapshot(joined, await exportSnapshot(client), place)).toBe(false);
    await client.query("COMMIT");
    await truncated;
  });

  it("gives up after a while and says what it waited for", async () => {
    await other.query("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE");
    await expect(open(await session(), [], 200)).rejects.toBeInstanceOf(Blocked);
    const client = await session();
    const { signal } = new AbortController();
    await expect(waitForWriters(client, tableId, { signal, waitMsMax: 100, onWait() {} })).rejects.toThrow(/pid \d+/);
  });

  it("finds the table by its oid when it is renamed while the lock is waited for", async () => {
    await other.query("BEGIN; ALTER TABLE item RENAME TO renamed; CREATE TABLE item (id int)");
    const waits: (string | undefined)[] = [];
    const opening = open(await session(), waits);
    await until("it waits", () => waits.length > 0);
    await other.query("COMMIT");
    expect((await opening)?.table.schema.name).toBe("renamed");
    await sessions[0].query("ROLLBACK");
    await other.query("DROP TABLE renamed");
  });

  it("is null for a table that is gone or isn't published", async () => {
    await other.query("ALTER PUBLICATION p DROP TABLE item");
    expect(await open(await session())).toBeNull();
    await other.query("DROP TABLE item");
    expect(await open(await session())).toBeNull();
  });

  it("is shared: who joins sees the same rows, however late", async () => {
    const client = await session();
    await open(client);
    const exported = await exportSnapshot(client);
    await other.query("DELETE FROM item WHERE id > 10");
    const joined = await session();
    expect(await joinSnapshot(joined, exported, place)).toBe(true);
    expect(await count(joined)).toBe(1000);
  });

  it("reads a range of blocks by a TID range scan, and ranges give every row once", async () => {
    const client = await session();
    const opened = await open(client);
    if (opened === null) throw new Error("no table");
    const schema = { ...opened.table.schema, schemaId: 1 };
    const ids: number[] = [];
    for (const blocks of [
      { first: 0, end: 3 },
      { first: 3, end: 9 },
      { first: 9, end: null },
    ]) {
      const statement = copyStatement(schema, { relation: place, rowFilter: "id <> 5", blocks });
      const query = /^COPY \((.*)\) TO STDOUT/.exec(statement)?.[1] as string;
      const plan = await client.query<{ "QUERY PLAN": string }>(`EXPLAIN ${query}`);
      expect(plan.rows[0]["QUERY PLAN"]).toMatch(/^Tid Range Scan/);
      ids.push(...(await client.query<{ id: number }>(query)).rows.map((row) => row.id));
    }
    expect(ids.sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, index) => index + 1).filter((id) => id !== 5),
    );
  });
});

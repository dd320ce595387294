// Contract: the source of demo and tests is the same at every load, and a workload does what its counts say: every kind
// of change, bounded in rate, over before `stop` resolves.
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startPostgres, type TestPostgres } from "./postgres-server";
import { extraTable, loadTpch, tpchRows, tpchTables } from "./tpch";
import { startWorkload } from "./workload";

let server: TestPostgres;
let client: Client;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await loadTpch(client, 0.02);
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

async function rowCounts(): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const table of [...tpchTables, extraTable]) {
    counts[table] = (await client.query<{ rows: number }>(`SELECT count(*)::int AS rows FROM ${table}`)).rows[0].rows;
  }
  return counts;
}

it("loads what its scale says, with every key", async () => {
  expect(await rowCounts()).toEqual(tpchRows(0.02));
  const { rows } = await client.query(
    "SELECT count(*)::int AS keys FROM pg_constraint WHERE contype = 'p' AND connamespace = 'public'::regnamespace",
  );
  expect(rows[0].keys).toBe(7);
  const hash = await client.query("SELECT md5(string_agg(p::text, '' ORDER BY p_partkey)) AS hash FROM part p");
  await client.query("CREATE SCHEMA again; SET search_path TO again");
  await loadTpch(client, 0.02);
  const again = await client.query("SELECT md5(string_agg(p::text, '' ORDER BY p_partkey)) AS hash FROM part p");
  expect(again.rows).toEqual(hash.rows);
  await client.query("RESET search_path");
});

it("the six tables have 600,000 rows and more at scale 1", () => {
  const rows = tpchRows(1);
  expect(tpchTables.reduce((sum, table) => sum + rows[table], 0)).toBeGreaterThanOrEqual(600_000);
});

it("counts what it commits, of every kind, and starts again where it ended", async () => {
  const before = await rowCounts();
  const sum = (counts: Record<string, number>) => Object.values(counts).reduce((total, rows) => total + rows, 0);
  let change = 0;
  for (const seed of [1, 2]) {
    const options = { seed, connections: 3, transactionsPerSecondMax: 400, transactionsMax: 60 };
    const workload = await startWorkload(connection(), options);
    await workload.done;
    const counts = await workload.stop();
    for (const [kind, count] of Object.entries(counts)) {
      if (kind !== "conflicts") expect(count, kind).toBeGreaterThan(0);
    }
    expect(counts.transactions + counts.conflicts).toBe(180);
    change += counts.inserts - counts.deletes;
  }
  expect(sum(await rowCounts())).toBe(sum(before) + change);
});

it("keeps its rate, and stops at once and for good", async () => {
  const workload = await startWorkload(connection(), { connections: 2, transactionsPerSecondMax: 10 });
  await delay(500);
  const counts = await workload.stop();
  expect(await workload.stop()).toBe(counts);
  expect(counts.transactions + counts.conflicts).toBeLessThanOrEqual(14);
  const left = () => client.query("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'workload %'");
  await expect.poll(async () => (await left()).rows, { timeout: 5_000 }).toEqual([]);
});

function connection() {
  const { host, port, user, password, database } = server;
  return { host, port, user, password, database };
}

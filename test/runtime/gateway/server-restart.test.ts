// Contract: a shutdown of the server doesn't hang on the gateway: what the walsender sends at its end is confirmed, idle or
// under load, and the gateway goes on by itself when the server is back.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { GatewayStatus } from "../../../runtime/status";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { RuntimeProcess } from "../../support/runtime-process";

let postgres: TestPostgres;
let folder: string;
let gateway: RuntimeProcess<GatewayStatus>;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
  const client = await postgres.client();
  await client.query(`
    CREATE TABLE item (id int PRIMARY KEY, name text);
    INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 1000) n;
    CREATE PUBLICATION p FOR TABLE item;`);
  await client.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
  await client.end();
  folder = mkdtempSync(join(tmpdir(), "sluice-restart-"));
  gateway = new RuntimeProcess<GatewayStatus>(folder, {
    version: 1,
    role: "gateway",
    id: "restart",
    source: postgres.source(),
    publication: "p",
    slot: "s",
    stagingPath: join(folder, "staging"),
    statusPath: join(folder, "status.json"),
    pollMs: 200,
  });
  gateway.start();
});
afterAll(async () => {
  await gateway?.kill();
  await postgres?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const streams = (reconnects: number) =>
  gateway.untilStatus(
    "it streams",
    (status) =>
      status.state.kind === "running" &&
      status.reconnects >= reconnects &&
      status.tables.some((table) => table.state.kind === "streaming"),
  );

async function restart(): Promise<number> {
  const startedMs = Date.now();
  await postgres.restart("fast");
  return Date.now() - startedMs;
}

it.each([
  ["idle", 1, async () => {}],
  [
    "after a change",
    2,
    async () => {
      const client = await postgres.client();
      await client.query("UPDATE item SET name = 'changed'");
      await client.end();
    },
  ],
  [
    "in a transaction that the server has begun to stream",
    3,
    async () => {
      const client = await postgres.client();
      await client.query("BEGIN; UPDATE item SET name = repeat('x', 500)");
    },
  ],
])("%s", async (_name, reconnects, before) => {
  await streams(reconnects - 1);
  await before();
  // A server that waits for us is killed after 20 s (postgres-server.ts).
  expect(await restart()).toBeLessThan(15_000);
  await streams(reconnects);
});

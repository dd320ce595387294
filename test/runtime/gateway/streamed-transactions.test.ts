// Contract: transactions that the server streams before their end come out as if they had come at their commit: whole,
// in the order of commits, without what was rolled back, beside snapshots, truncates and kills (invariants 1 to 4, 7).
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let gateway: GatewayUnderTest;
let client: Client;
let other: Client;

beforeAll(async () => {
  // The smallest there is: some hundred rows are streamed before their transaction's end.
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

beforeEach(async () => {
  gateway = await GatewayUnderTest.create(postgres, { config: { batch: { ageMsMax: 50, rowsMax: 1_000 } } });
  ({ client } = gateway);
  other = await gateway.session();
  await client.query("INSERT INTO item SELECT n, 'before' FROM generate_series(1, 100) n");
  return async () => {
    await other.end();
    await gateway.close();
  };
});

const insert = (session: Client, from: number, to: number, name = "x") =>
  session.query("INSERT INTO item SELECT n, $3 || n FROM generate_series($1::int, $2::int) n", [from, to, name]);

const dataFiles = () => readdirSync(join(gateway.stagingPath, "data")).filter((name) => name.endsWith(".parquet"));

const streamedEvents = () =>
  gateway
    .records()
    .flatMap(({ events }) => events)
    .filter((event) => event.kind === "changes")
    .filter((event) => event.transaction !== undefined);

/** Until blocks of an open transaction lie in files. */
const untilSpooled = (files: number) => until(`${files} files`, () => dataFiles().length >= files);

async function expectEqual(): Promise<void> {
  await gateway.caughtUp();
  const { staged, source } = await gateway.rows("item");
  expect(staged).toEqual(source);
}

describe("a transaction that is streamed before its end", () => {
  it("is staged whole at its commit, behind what committed before it", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("BEGIN");
    await insert(client, 1_000, 5_000);
    await client.query("UPDATE item SET name = 'long' WHERE id <= 50");
    await untilSpooled(4);
    await other.query("UPDATE item SET name = 'short' WHERE id > 50");
    await until("the short one is staged", () => gateway.records().length > 1);
    expect(streamedEvents()).toEqual([]);
    await client.query("DELETE FROM item WHERE id BETWEEN 2000 AND 2999; UPDATE item SET id = -id WHERE id > 4900");
    await client.query("COMMIT");
    await other.query("UPDATE item SET name = name || '!' WHERE id % 7 = 0");
    await expectEqual();
    expect(streamedEvents().length).toBeGreaterThan(0);
    const status = await gateway.caughtUp();
    expect(status.tables[0]).toMatchObject({ inserts: 4_001, deletes: 1_000, snapshots: 1 });
  });

  it("leaves nothing when it is rolled back", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    const files = dataFiles().length;
    await client.query("BEGIN");
    await insert(client, 1_000, 5_000);
    await untilSpooled(files + 3);
    await client.query("ROLLBACK");
    await until("its files are gone", () => dataFiles().length === files);
    await insert(client, 1_000, 1_010);
    await expectEqual();
    expect(streamedEvents()).toEqual([]);
  });

  it("leaves out what was rolled back to a savepoint, in buffers, in files and across them", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("BEGIN");
    await insert(client, 1_000, 1_700, "kept");
    await client.query("SAVEPOINT a");
    await insert(client, 2_000, 2_900, "gone");
    await client.query("SAVEPOINT b");
    await client.query("UPDATE item SET name = 'gone' WHERE id < 1500; DELETE FROM item WHERE id > 1600");
    await client.query("RELEASE b");
    await insert(client, 3_000, 3_900, "gone");
    await untilSpooled(2);
    await client.query("ROLLBACK TO a");
    await insert(client, 2_500, 3_200, "kept");
    await client.query("SAVEPOINT c");
    await insert(client, 4_000, 4_400, "kept");
    await client.query("SAVEPOINT d");
    await insert(client, 5_000, 5_400, "gone");
    await client.query("ROLLBACK TO d");
    await client.query("RELEASE c");
    await insert(client, 6_000, 6_400, "kept");
    await client.query("COMMIT");
    await expectEqual();
    expect(
      streamedEvents()
        .flatMap(({ files }) => files)
        .some(({ ordinalEnd }) => ordinalEnd !== undefined),
    ).toBe(true);
  });

  it("keeps a truncate at its place, also one that is rolled back", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("BEGIN");
    await insert(client, 1_000, 1_900);
    await client.query("SAVEPOINT a; TRUNCATE item");
    await insert(client, 1_000, 1_500, "gone");
    await client.query("ROLLBACK TO a");
    await insert(client, 2_000, 2_900);
    await client.query("COMMIT");
    await expectEqual();
    await client.query("BEGIN");
    await insert(client, 3_000, 3_900);
    await client.query("TRUNCATE item");
    await insert(client, 1_000, 2_000, "anew");
    await client.query("COMMIT");
    await insert(client, 1, 10, "after");
    await expectEqual();
  });

  it("may be open while its table is copied: the copy waits for it and says so", async () => {
    await client.query("BEGIN");
    await insert(client, 1_000, 3_000);
    gateway.process.start();
    await gateway.process.untilStatus("it waits", ({ tables }) =>
      tables.some(({ state }) => state.kind === "pending" && state.waitingFor !== undefined),
    );
    await insert(client, 3_001, 4_000);
    await client.query("COMMIT");
    await expectEqual();
  });

  it("comes again from its beginning after a kill, and files that no record names are removed", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("BEGIN");
    await insert(client, 1_000, 5_000);
    await untilSpooled(4);
    await gateway.process.kill();
    const orphans = dataFiles();
    gateway.process.start();
    await gateway.process.untilStatus("it streams", ({ state }) => state.kind === "running");
    await other.query("UPDATE item SET name = 'other' WHERE id <= 50");
    await client.query("SAVEPOINT a");
    await insert(client, 6_000, 7_000);
    await client.query("ROLLBACK TO a");
    await client.query("COMMIT");
    await expectEqual();
    const named = new Set(
      gateway
        .records()
        .flatMap(({ events }) => events.flatMap((event) => ("files" in event ? event.files : [])))
        .map(({ path }) => path),
    );
    await until("no orphans", () => dataFiles().every((name) => named.has(`data/${name}`)));
    expect(orphans.some((name) => !named.has(`data/${name}`))).toBe(true);
  });

  it("that changes a table's columns sends that table back to be copied, once it has committed", async () => {
    gateway.process.start();
    await gateway.caughtUp();
    await client.query("BEGIN");
    await insert(client, 1_000, 2_000);
    await client.query("SAVEPOINT a; ALTER TABLE item ADD rolled_back int");
    await insert(client, 3_000, 4_000);
    await client.query("ROLLBACK TO a");
    await insert(client, 5_000, 6_000);
    await client.query("COMMIT");
    await expectEqual();
    expect((await gateway.caughtUp()).tables[0].snapshots).toBe(1);
    await client.query("BEGIN");
    await insert(client, 7_000, 8_000);
    await client.query("ALTER TABLE item ADD more int DEFAULT 7");
    await insert(client, 9_000, 9_900);
    await client.query("COMMIT");
    await gateway.process.untilStatus("copied again", ({ tables }) => tables[0].snapshots === 2);
    await expectEqual();
  });
});

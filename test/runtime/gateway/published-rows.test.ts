// Contract: what a publication made by hand leaves out is left out by the copy as by the stream (row filters, column
// lists); a partitioned table published by its root is one table with the rows of all its partitions, whatever is
// attached, detached or truncated by itself; published by its leaves, each is a table (invariants 3, 4).
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { compareLeaves } from "../../../runtime/gateway/published-rows";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let version = 0;
beforeAll(async () => {
  postgres = await startPostgres();
  const client = await postgres.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  await client.end();
});
afterAll(async () => {
  await postgres?.stop();
});

async function make(setup: string): Promise<GatewayUnderTest> {
  const config = { snapshot: { rangeBytes: 4 * 8192 } };
  const gateway = await GatewayUnderTest.create(postgres, { setup, config });
  onTestFinished(() => gateway.close());
  return gateway;
}

async function expectEqual(gateway: GatewayUnderTest, table: string, query?: string): Promise<void> {
  const { staged, source } = await gateway.rows(table, { query });
  expect(staged).toEqual(source);
}

/** Waits until the gateway has looked at the leaf, as its newest record says. */
async function untilLeafKnown(gateway: GatewayUnderTest, name: string): Promise<void> {
  const { rows } = await gateway.client.query<{ oid: string }>("SELECT $1::regclass::oid::text AS oid", [name]);
  await until(`the gateway knows ${name}`, () =>
    Object.values(gateway.records().at(-1)?.tables ?? {}).some(({ leaves }) => leaves?.[rows[0].oid] !== undefined),
  );
}

/** Writes all over the table until it is stopped. */
function writing(gateway: GatewayUnderTest, statements: ((step: number) => string)[]): { stop(): Promise<void> } {
  let running = true;
  const done = (async () => {
    const session = await gateway.session();
    for (let step = 0; running; step++) {
      await session.query(statements[step % statements.length](step));
      await pause(5);
    }
    await session.end();
  })();
  return {
    stop() {
      running = false;
      return done;
    },
  };
}

describe("a row filter and a column list", () => {
  it("hold for copy and stream alike, also for rows that pass in and out", async ({ skip }) => {
    skip(version < 150_000, "row filters and column lists came with PostgreSQL 15");
    const gateway = await make(`
      CREATE TABLE account (id int PRIMARY KEY, region text NOT NULL, balance numeric(12,2), secret text);
      INSERT INTO account SELECT n, CASE WHEN n % 3 = 0 THEN 'eu' ELSE 'us' END, n, repeat('s', 60) FROM generate_series(1, 3000) n;
      ALTER TABLE account REPLICA IDENTITY FULL;
      CREATE TABLE narrow (a int, id int PRIMARY KEY, "Odd ""name" text, hidden text);
      INSERT INTO narrow SELECT n, n + 1, 'x' || n, 'secret' FROM generate_series(1, 1000) n;
      CREATE PUBLICATION p FOR TABLE account WHERE (region = 'eu' AND id <> 9), TABLE narrow (id, "Odd ""name")`);
    const load = writing(gateway, [
      (step) => `UPDATE account SET region = 'us' WHERE id = ${3 + 3 * (step % 900)}`,
      (step) => `UPDATE account SET region = 'eu' WHERE id = ${1 + 3 * (step % 900)}`,
      (step) => `UPDATE account SET balance = balance + 1 WHERE id = ${1 + (step % 3000)}`,
      (step) => `UPDATE narrow SET "Odd ""name" = 'y', hidden = 'z' WHERE id = ${2 + (step % 1000)}`,
      (step) => `DELETE FROM account WHERE id = ${1 + ((step * 7) % 3000)}`,
      (step) => `INSERT INTO account VALUES (${10_000 + step}, 'eu', 1, 'new')`,
    ]);
    gateway.process.start();
    await gateway.process.untilStatus(
      "both stream",
      ({ tables }) => tables.length === 2 && tables.every(({ state }) => state.kind === "streaming"),
    );
    await load.stop();
    await gateway.caughtUp({ tables: 2 });
    await expectEqual(gateway, "account", "SELECT * FROM account WHERE region = 'eu' AND id <> 9");
    await expectEqual(gateway, "narrow", `SELECT id, "Odd ""name" FROM narrow`);
    // Another filter shows other rows: the table is copied again.
    await gateway.client.query(
      'ALTER PUBLICATION p SET TABLE account WHERE (region = \'us\'), narrow (id, "Odd ""name")',
    );
    await gateway.process.untilStatus("copied again", ({ tables }) =>
      tables.some(({ name, snapshots, state }) => name === "account" && snapshots === 2 && state.kind === "streaming"),
    );
    await gateway.caughtUp({ tables: 2 });
    await expectEqual(gateway, "account", "SELECT * FROM account WHERE region = 'us'");
  });

  it("without the whole key is refused, and says which table", async ({ skip }) => {
    skip(version < 150_000, "column lists came with PostgreSQL 15");
    const gateway = await make(`
      CREATE TABLE item (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE item (name)`);
    gateway.process.start();
    await gateway.process.untilStatus(
      "it is refused",
      ({ tables: [table] }) =>
        table?.state.kind === "failed" && /public\.item: .*leaves out columns of its key/.test(table.state.message),
    );
  });
});

/** Columns of the second leaf have other numbers than the root's; the third is partitioned itself. */
const partitioned = `
  CREATE TABLE event (id int, part int, note text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
  CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
  CREATE TABLE event_2 (gone int, note text, part int NOT NULL, id int NOT NULL);
  ALTER TABLE event_2 DROP COLUMN gone;
  ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES IN (2);
  CREATE TABLE event_3 PARTITION OF event FOR VALUES IN (3, 4) PARTITION BY LIST (part);
  CREATE TABLE event_3a PARTITION OF event_3 FOR VALUES IN (3);
  INSERT INTO event SELECT n, 1 + n % 3, repeat('n', 50) FROM generate_series(1, 4000) n`;

const partitionWrites = [
  (step: number) => `INSERT INTO event VALUES (${100_000 + step}, ${1 + (step % 3)}, 'new')`,
  (step: number) => `UPDATE event SET note = note || 'u' WHERE id = ${1 + (step % 4000)}`,
  (step: number) => `UPDATE event SET part = 1 + part % 3 WHERE id = ${1 + ((step * 13) % 4000)}`,
  (step: number) => `DELETE FROM event_2 WHERE id = ${1 + ((step * 7) % 4000)}`,
];

describe("a partitioned table", () => {
  it("published by its root is one table; its partitions may come and go", async () => {
    const gateway = await make(`${partitioned};
      CREATE PUBLICATION p FOR TABLE event WITH (publish_via_partition_root = true)`);
    const load = writing(gateway, partitionWrites);
    gateway.process.start();
    const streams = (snapshots: number) =>
      gateway.process.untilStatus(
        `it streams, copied ${snapshots} times`,
        ({ tables: [table] }) => table?.state.kind === "streaming" && table.snapshots === snapshots,
      );
    await streams(1);
    // Made as a partition, or attached empty: nothing to copy.
    await gateway.client.query("CREATE TABLE event_5 PARTITION OF event FOR VALUES IN (5)");
    await gateway.client.query("INSERT INTO event SELECT n, 5, 'five' FROM generate_series(50001, 50100) n");
    await gateway.client.query("CREATE TABLE event_6 (LIKE event INCLUDING ALL)");
    await gateway.client.query("ALTER TABLE event ATTACH PARTITION event_6 FOR VALUES IN (6)");
    await untilLeafKnown(gateway, "event_6");
    await gateway.client.query("INSERT INTO event SELECT n, 6, 'six' FROM generate_series(60001, 60100) n");
    await load.stop();
    const status = await gateway.caughtUp();
    expect(status.tables.map(({ name, snapshots }) => [name, snapshots])).toEqual([["event", 1]]);
    await expectEqual(gateway, "event");
    // Attached with rows: they are nowhere in the stream.
    await gateway.client.query("CREATE TABLE event_7 (LIKE event INCLUDING ALL)");
    await gateway.client.query("INSERT INTO event_7 SELECT n, 7, 'seven' FROM generate_series(70001, 70100) n");
    await gateway.client.query("ALTER TABLE event ATTACH PARTITION event_7 FOR VALUES IN (7)");
    await streams(2);
    await gateway.caughtUp();
    await expectEqual(gateway, "event");
    // A partition truncated by itself isn't in the stream either.
    await gateway.client.query("TRUNCATE event_1");
    await streams(3);
    await gateway.caughtUp();
    await expectEqual(gateway, "event");
    // A column with a default: what rows had in it before is followed.
    await gateway.client.query("ALTER TABLE event ADD COLUMN more int DEFAULT 7");
    await gateway.client.query("INSERT INTO event VALUES (1000000, 1, 'more', 8)");
    await gateway.caughtUp();
    await expectEqual(gateway, "event");
    // Detached: its rows stay in the destination, and it is no reason to copy.
    await gateway.client.query("ALTER TABLE event DETACH PARTITION event_6");
    await until("it is noticed", () => gateway.process.output.includes("partition-detached"));
    await gateway.client.query("INSERT INTO event VALUES (1000001, 1, 'last', 8)");
    await gateway.caughtUp();
    await expectEqual(gateway, "event", "SELECT * FROM event UNION ALL SELECT * FROM event_6");
  });

  it("published by its leaves is a table each", async () => {
    const gateway = await make(`${partitioned};
      CREATE PUBLICATION p FOR TABLE event WITH (publish_via_partition_root = false)`);
    const load = writing(gateway, partitionWrites);
    gateway.process.start();
    await gateway.process.untilStatus(
      "three stream",
      ({ tables }) => tables.length === 3 && tables.every(({ state }) => state.kind === "streaming"),
    );
    await gateway.client.query("CREATE TABLE event_9 (LIKE event INCLUDING ALL)");
    await gateway.client.query("INSERT INTO event_9 SELECT n, 9, 'nine' FROM generate_series(90001, 90100) n");
    await gateway.client.query("ALTER TABLE event ATTACH PARTITION event_9 FOR VALUES IN (9)");
    await gateway.process.untilStatus(
      "four stream",
      ({ tables }) => tables.length === 4 && tables.every(({ state }) => state.kind === "streaming"),
    );
    await load.stop();
    const status = await gateway.caughtUp({ tables: 4 });
    expect(status.tables.map(({ snapshots }) => snapshots)).toEqual([1, 1, 1, 1]);
    for (const leaf of ["event_1", "event_2", "event_3a", "event_9"]) await expectEqual(gateway, leaf);
  });

  it("goes on after kill -9 without reading staged ranges of its leaves again, if nothing was attached", async () => {
    const setup = `${partitioned};
      ALTER TABLE event REPLICA IDENTITY FULL; ALTER TABLE event_1 REPLICA IDENTITY FULL;
      ALTER TABLE event_2 REPLICA IDENTITY FULL; ALTER TABLE event_3a REPLICA IDENTITY FULL;
      CREATE PUBLICATION p FOR TABLE event WITH (publish_via_partition_root = true)`;
    const gateway = await make(setup);
    gateway.process.start({ SLUICE_FAILPOINT: "gateway.after-range-done:8" });
    await gateway.process.exited();
    await gateway.releaseSlot();
    await gateway.client.query("UPDATE event SET part = 1 + part % 3 WHERE id % 5 = 0");
    gateway.process.start();
    const status = await gateway.caughtUp();
    expect(status.tables[0].snapshots, gateway.process.output).toBe(1);
    await expectEqual(gateway, "event");
  });

  it("tells what of its partitions has changed", () => {
    const leaf = (relationId: string, fileNode: string, isBorn = false) => ({
      relationId,
      name: relationId,
      fileNode,
      isBorn,
    });
    const known = new Map([
      ["1", "11"],
      ["2", "22"],
    ]);
    expect(compareLeaves(known, [leaf("1", "11"), leaf("2", "22")])).toEqual({
      reason: null,
      attached: [],
      detached: [],
    });
    expect(compareLeaves(known, [leaf("1", "11"), leaf("3", "33", true)])).toEqual({
      reason: null,
      attached: [],
      detached: ["2"],
    });
    expect(compareLeaves(known, [leaf("1", "11"), leaf("2", "22"), leaf("3", "33")]).attached).toHaveLength(1);
    expect(compareLeaves(known, [leaf("1", "12"), leaf("2", "22")]).reason).toMatch(/truncated or rewritten/);
  });
});

// Contract: a table copied in ranges over several sessions, while it is written to, is the source's table; after kill -9
// the ranges that are staged aren't read again, and the result is still exact (invariants 2, 3, 4).
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import type { StagedEvent } from "../../../runtime/staging/staged-commit";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
});

const rows = 12_000;
/** About 190 blocks; its rows move when they are updated, as its blocks are full. */
const wide = `
  CREATE TABLE item (id bigint PRIMARY KEY, amount numeric(12,2), note text);
  INSERT INTO item SELECT n, n * 1.25, repeat('x', 100) FROM generate_series(1, ${rows}) n;
  VACUUM ANALYZE item;
  ALTER TABLE item REPLICA IDENTITY FULL;
  CREATE PUBLICATION p FOR TABLE item`;
const inRanges = { rangeBytes: 4 * 8192, workers: 3 };

async function make(setup: string, snapshot: object = inRanges): Promise<GatewayUnderTest> {
  const gateway = await GatewayUnderTest.create(postgres, {
    // VACUUM runs in no transaction.
    setup: setup.split(";"),
    config: { snapshot, batch: { ageMsMax: 10 } },
  });
  onTestFinished(() => gateway.close());
  return gateway;
}

/** Updates, deletes, inserts and changed keys all over the table, until it is stopped. */
function writing(gateway: GatewayUnderTest): { stop(): Promise<void> } {
  let running = true;
  const done = (async () => {
    const session = await gateway.session();
    for (let step = 0; running; step++) {
      const id = 1 + ((step * 7919) % rows);
      // One row at a time, in no transaction: it never waits for another's row while it holds one.
      await session.query("UPDATE item SET amount = amount + 1 WHERE id = $1", [id + 1]);
      await pause(10);
      if (step % 3 === 0) await session.query("DELETE FROM item WHERE id = $1", [id]);
      if (step % 3 === 1) await session.query("INSERT INTO item VALUES ($1, 0, 'new')", [1_000_000 + step]);
      if (step % 3 === 2) await session.query("UPDATE item SET id = $2 WHERE id = $1", [id, 2_000_000 + step]);
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

const eventsOf = (gateway: GatewayUnderTest): StagedEvent[] => gateway.records().flatMap((record) => record.events);
const count = (events: StagedEvent[], kind: StagedEvent["kind"]) =>
  events.filter((event) => event.kind === kind).length;

async function expectEqual(gateway: GatewayUnderTest): Promise<void> {
  const { staged, source } = await gateway.rows("item");
  expect(staged.length).toBe(source.length);
  expect(staged).toEqual(source);
}

describe("a table in ranges", () => {
  it("is copied by several sessions under one snapshot, while it is written to", async () => {
    const gateway = await make(wide);
    const load = writing(gateway);
    gateway.process.start();
    const sessions = new Set<string>();
    const watching = until("it streams", async () => {
      const { rows: found } = await gateway.client.query<{ name: string }>(
        "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'sluice %snapshot%'",
      );
      for (const { name } of found) sessions.add(name);
      return gateway.process.status()?.tables[0]?.state.kind === "streaming";
    });
    await watching;
    await load.stop();
    const status = await gateway.caughtUp();
    expect(status.tables[0].snapshots).toBe(1);
    expect([...sessions].sort()).toEqual(["sluice test snapshot", "sluice test snapshot helper"]);
    const events = eventsOf(gateway);
    expect(count(events, "snapshot-rows")).toBeGreaterThan(5);
    expect(count(events, "snapshot-begin")).toBe(1);
    await expectEqual(gateway);
  });

  it("goes on after each kill -9 without reading a staged range again", async () => {
    const gateway = await make(wide, { ...inRanges, workers: 2 });
    const load = writing(gateway);
    for (const failpoint of [
      "gateway.after-snapshot-file:6",
      "gateway.after-range-files:6",
      "gateway.after-range-done:6",
      "gateway.before-snapshot-end",
      "gateway.after-snapshot-end",
    ]) {
      gateway.process.start({ SLUICE_FAILPOINT: failpoint });
      expect((await gateway.process.exited()).signal, failpoint).toBe("SIGKILL");
      await gateway.releaseSlot();
      await gateway.client.query("UPDATE item SET amount = amount + 1000 WHERE id % 7 = 0");
    }
    expect(count(eventsOf(gateway), "snapshot-rows")).toBeGreaterThan(0);
    gateway.process.start();
    await gateway.process.untilStatus("it streams", ({ tables }) => tables[0]?.state.kind === "streaming");
    await load.stop();
    const status = await gateway.caughtUp();
    const events = eventsOf(gateway);
    expect(count(events, "snapshot-begin")).toBe(1);
    expect(status.tables[0].snapshots).toBe(1);
    const last = gateway.records().find((record) => record.tables[Object.keys(record.tables)[0]].snapshot);
    const ranges = Object.values(last?.tables ?? {})[0].snapshot?.parts[0].ranges ?? 0;
    expect(count(events, "snapshot-rows")).toBeLessThanOrEqual(ranges);
    expect(ranges).toBeGreaterThan(5);
    await expectEqual(gateway);
  });

  it("may end behind a TRUNCATE of its rows, which the stream has before the snapshot's horizon", async () => {
    const gateway = await make(`CREATE TABLE other AS SELECT n AS id FROM generate_series(1, 30000) n;
      ALTER TABLE other ADD PRIMARY KEY (id); CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE unpublished (id int);
      INSERT INTO item VALUES (1), (2); CREATE PUBLICATION p FOR TABLE other`);
    const { client } = gateway;
    gateway.process.start();
    await gateway.caughtUp();
    const { rows: walsenders } = await client.query<{ pid: number }>(
      "SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1",
      [gateway.slot],
    );
    const writer = await gateway.session();
    process.kill(walsenders[0].pid, "SIGSTOP");
    try {
      await writer.query("BEGIN; LOCK item IN ROW EXCLUSIVE MODE");
      await client.query("ALTER PUBLICATION p ADD TABLE item");
      // The snapshot waits for it, so that its horizon is behind every commit that the stream has before.
      await writer.query("INSERT INTO unpublished SELECT generate_series(1, 100); ROLLBACK");
      await until("it is copied", () => gateway.logged("snapshot-copied").some(({ table }) => table === "public.item"));
      // So long that its batch is cut at its commit.
      await client.query("BEGIN; UPDATE other SET id = id + 1000000; TRUNCATE item; COMMIT");
      await client.query("INSERT INTO item VALUES (3)");
    } finally {
      process.kill(walsenders[0].pid, "SIGCONT");
      await writer.end();
    }
    await gateway.caughtUp({ tables: 2 });
    const { tableId } = gateway.process.status()?.tables.find(({ name }) => name === "item") ?? {};
    const kinds = eventsOf(gateway).flatMap((event) => (event.tableId === tableId ? [event.kind] : []));
    expect(kinds.indexOf("snapshot-rows")).toBeLessThan(kinds.indexOf("truncate"));
    expect(kinds.indexOf("truncate")).toBeLessThan(kinds.indexOf("snapshot-end"));
    expect(kinds.filter((kind) => kind === "truncate" || kind === "snapshot-end")).toHaveLength(2);
    await expectEqual(gateway);
  });

  it("goes on in the same process when its session is lost", async () => {
    const gateway = await make(wide, { ...inRanges, workers: 1 });
    gateway.process.start();
    await until("a range is staged", () => {
      try {
        return count(eventsOf(gateway), "snapshot-rows") > 0;
      } catch {
        return null;
      }
    });
    await gateway.client.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice test snapshot' AND datname = current_database()",
    );
    const status = await gateway.caughtUp();
    expect(status.tables[0].snapshots, gateway.process.output).toBe(1);
    await expectEqual(gateway);
  });

  it.each([
    ["it was rewritten meanwhile", wide, "VACUUM FULL item"],
    ["it was truncated meanwhile", wide, "TRUNCATE item"],
    ["its columns changed meanwhile", wide, "ALTER TABLE item ADD COLUMN more int DEFAULT 7"],
    ["updates may leave values unsent", wide.replace("REPLICA IDENTITY FULL", "REPLICA IDENTITY DEFAULT"), "SELECT 1"],
    ["it has no key", wide.replace(" PRIMARY KEY", ""), "SELECT 1"],
  ])("starts over after kill -9 when %s", async (_, setup, sql) => {
    const gateway = await make(setup, { ...inRanges, workers: 1 });
    gateway.process.start({ SLUICE_FAILPOINT: "gateway.after-range-done:40" });
    expect((await gateway.process.exited()).signal).toBe("SIGKILL");
    await gateway.releaseSlot();
    expect(count(eventsOf(gateway), "snapshot-rows")).toBeGreaterThan(0);
    await gateway.client.query(sql);
    await gateway.client.query("UPDATE item SET amount = amount + 1000 WHERE id % 7 = 0");
    gateway.process.start();
    const status = await gateway.caughtUp();
    expect(status.tables[0].snapshots).toBe(2);
    await expectEqual(gateway);
  });

  it("lets a waiting ALTER TABLE pass, and doesn't wait for itself behind it", async () => {
    const gateway = await make(wide, { ...inRanges, workers: 3 });
    gateway.process.start();
    await gateway.process.untilStatus("it is being copied", ({ tables }) => tables[0]?.state.kind !== undefined);
    await gateway.client.query("ALTER TABLE item ADD COLUMN more int DEFAULT 7");
    await gateway.client.query("UPDATE item SET amount = amount + 1000 WHERE id % 7 = 0");
    await gateway.process.untilStatus("it streams", ({ tables }) => tables[0]?.state.kind === "streaming");
    await gateway.caughtUp();
    await expectEqual(gateway);
  });
});

// Contract: a gateway that reads from a standby loses and doubles nothing (invariants 1 to 4): tables are copied again
// and again under load on the primary, while the gateway is killed, and through the standby's promotion. Older servers
// are refused with the reason. SLUICE_STANDBY_ROUNDS and SLUICE_SEED choose more, or again.
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "pg";
import { afterEach, describe, expect, it } from "vitest";
import { openFolderStore } from "../../../runtime/staging/folder-store";
import { requestResync } from "../../../runtime/staging/resync-request";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startStandby, type TestStandby } from "../../support/postgres-standby";
import { Random } from "../../support/random";
import { testSeed } from "../../support/test-seed";

const rounds = Number(process.env.SLUICE_STANDBY_ROUNDS ?? 1);
const seed = testSeed;
const writersMax = 3;
const waitMsMax = 120_000;
/** keyed, with values that updates leave unsent, without a key, and of several ranges */
const tables = ["item", "note", "bag", "wide"];
const setUp = `
  CREATE TABLE item (id int PRIMARY KEY, name text);
  CREATE TABLE note (id int PRIMARY KEY, n int, body text);
  ALTER TABLE note ALTER COLUMN body SET STORAGE EXTERNAL;
  CREATE TABLE bag (id int, name text);
  ALTER TABLE bag REPLICA IDENTITY FULL;
  CREATE TABLE wide (id int PRIMARY KEY, name text);
  INSERT INTO item SELECT n, 'first' FROM generate_series(-2000, -1) n;
  INSERT INTO note SELECT n, 0, repeat('v', 3000) FROM generate_series(-50, -1) n;
  INSERT INTO bag SELECT n, 'first' FROM generate_series(-500, -1) n;
  INSERT INTO wide SELECT n, repeat('w', 500) FROM generate_series(-3000, -1) n;
  CREATE PUBLICATION p FOR TABLE item, note, bag, wide`;
const settings = {
  batch: { ageMsMax: 50, rowsMax: 3_000 },
  snapshot: { workers: 2, rangeBytes: 256 * 1024 },
};

let primary: TestPostgres;
let standby: TestStandby;
let source: GatewayUnderTest | null = null;
let version = 0;

async function startPair(more: Record<string, string> = {}): Promise<void> {
  primary = await startPostgres();
  const client = await primary.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  await client.end();
  // Decoded there, large transactions are streamed before their end.
  standby = await startStandby(primary, { settings: { logical_decoding_work_mem: "64kB", ...more } });
}

afterEach(async () => {
  await source?.process.kill();
  await source?.client.end().catch(() => {});
  source = null;
  await standby?.stop();
  await primary?.stop();
});

/** Transactions of every kind, each writer of its own keys, until it is stopped or the server is gone. */
class Load {
  private running = true;
  private readonly done: Promise<unknown>;
  transactions = 0;

  constructor(open: () => Promise<Client>, random: Random, first = 0) {
    this.done = Promise.all(
      Array.from({ length: writersMax }, (_, writer) =>
        this.write(open, new Random(random.between(0, 1e9)), first + writer * 10_000_000),
      ),
    );
  }

  async stop(): Promise<void> {
    this.running = false;
    await this.done;
  }

  private async write(open: () => Promise<Client>, random: Random, from: number): Promise<void> {
    const client = await open();
    let next = from;
    const own = () => `id BETWEEN ${from} AND ${next} AND id % ${random.between(3, 17)} = 0`;
    const change = async () => {
      const rows = random.choose([1, 1, 1, 2, 5, 40]);
      const id = next;
      next += rows;
      const series = `generate_series(${id}, ${next - 1}) n`;
      switch (random.between(0, 8)) {
        case 0:
        case 1:
          return client.query(`INSERT INTO item SELECT n, 'new' FROM ${series}`);
        case 2:
          return client.query(`INSERT INTO bag SELECT n, 'new' FROM ${series}`);
        case 3:
          return client.query(`INSERT INTO note SELECT n, 0, repeat('b', 2500) || n FROM ${series}`);
        case 4:
          return client.query(`UPDATE item SET name = left(name, 20) || ${random.between(0, 9)} WHERE ${own()}`);
        case 5:
          return client.query(`UPDATE bag SET name = left(name, 20) || ${random.between(0, 9)} WHERE ${own()}`);
        case 6:
          return client.query(
            `UPDATE note SET n = n + 1, id = id + ${from === id ? 0 : 5_000_000} WHERE id = ${id - 1}`,
          );
        case 7:
          return client.query(`DELETE FROM ${random.choose(["item", "bag", "note"])} WHERE ${own()}`);
        default:
          return client.query(`INSERT INTO wide SELECT n, repeat('x', 300) FROM ${series}`);
      }
    };
    try {
      while (this.running) {
        this.transactions++;
        const kind = random.between(0, 19);
        if (kind < 11) {
          await change();
          continue;
        }
        await client.query("BEGIN");
        await change();
        if (kind < 14) {
          await client.query("SAVEPOINT a");
          await change();
          await client.query(random.choose(["ROLLBACK TO a", "RELEASE a"]));
          await change();
        } else if (kind === 14) {
          // Large: it is streamed before its end.
          const id = next;
          next += 1_500;
          await client.query(
            `INSERT INTO ${random.choose(["item", "bag"])} SELECT n, repeat('l', 60) FROM generate_series(${id}, ${next - 1}) n`,
          );
        } else if (kind === 15) await delay(random.between(20, 600));
        await client.query(random.between(0, 5) === 0 ? "ROLLBACK" : "COMMIT");
      }
    } catch (error) {
      if (this.running && (error as { code?: string }).code !== undefined) {
        if (!String((error as { code: string }).code).startsWith("57")) throw error;
      }
    } finally {
      await client.end().catch(() => {});
    }
  }
}

const snapshotsOf = (of: GatewayUnderTest) => of.process.status()?.tables.map(({ snapshots }) => snapshots) ?? [];

/** New snapshots of all tables, or of some. */
async function copyAgain(of: GatewayUnderTest, names = tables): Promise<void> {
  const store = await openFolderStore(of.stagingPath);
  for (const name of names) await requestResync(store, `public.${name}`);
}

describe("a standby as source", () => {
  it("loses and doubles nothing: snapshots under load, kills, then its promotion", async ({ skip }) => {
    await startPair();
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    const random = new Random(seed);
    const of = await GatewayUnderTest.create(primary, { setup: setUp, config: settings, standby });
    source = of;
    let load = new Load(() => of.session(), random);
    of.process.start();
    await of.process.untilStatus("it streams", ({ tables: all }) => all.length === tables.length);
    for (let round = 0; round < rounds; round++) {
      await of.process.untilStatus(
        "every table streams",
        ({ tables: all }) => all.every((table) => table.state.kind === "streaming"),
        waitMsMax,
      );
      const before = snapshotsOf(of);
      await copyAgain(of);
      await of.process.untilStatus("snapshots are begun", ({ tables: all }) =>
        all.some((table, index) => table.snapshots > before[index]),
      );
      if (round % 3 === 0) {
        await delay(random.between(0, 300));
        await of.process.kill();
        await of.releaseSlot();
        of.process.start();
      }
      await of.process.untilStatus(
        "snapshots are taken",
        ({ tables: all }) => all.every((table, index) => table.snapshots > before[index]),
        waitMsMax,
      );
      await load.stop();
      await of.caughtUp({ tables: tables.length, timeoutMs: waitMsMax });
      const differences = await of.differences().catch((error: unknown) => [String(error)]);
      expect(differences, `seed ${seed}, round ${round}`).toEqual([]);
      load = new Load(() => of.session(), random, (round + 1) * 50_000_000);
    }

    // Snapshots under way go on through the promotion, and so does the stream, beyond where the timeline was left.
    const before = snapshotsOf(of);
    await copyAgain(of);
    await of.process.untilStatus("snapshots are begun", ({ tables: all }) =>
      all.some((table, index) => table.snapshots > before[index]),
    );
    await load.stop();
    process.kill(primary.pid, "SIGQUIT");
    await standby.promote();
    load = new Load(() => standby.client(of.database), random, 900_000_000);
    await until("the promotion is found", () => of.logged("failover-followed").length === 1);
    expect(of.logged("failover-followed")[0]).toMatchObject({ fromTimeline: 1, timeline: 2 });
    expect(of.process.status()?.heartbeats).toBe(0);
    await of.process.untilStatus(
      "snapshots are taken",
      ({ tables: all }) => all.every((table, index) => table.snapshots > before[index]),
      waitMsMax,
    );
    await load.stop();
    const client = await standby.client(of.database);
    await of.caughtUp({ client, tables: tables.length, timeoutMs: waitMsMax });
    expect(await of.differences(client), `seed ${seed}, after the promotion`).toEqual([]);
    expect(of.process.status()?.standby).toBeNull();
    // It knows the timeline now: a restart of the server finds nothing amiss.
    expect(await of.process.stop()).toEqual({ code: 0, signal: null });
    await client.end();
    await standby.restart("fast");
    of.process.start();
    const again = await standby.client(of.database);
    await again.query("INSERT INTO bag VALUES (-1000, 'last')");
    await of.caughtUp({ client: again, tables: tables.length });
    expect(await of.differences(again)).toEqual([]);
    await again.end();
    console.log(`seed ${seed}: ${rounds} rounds, snapshots ${JSON.stringify(of.snapshots())}`);
  }, 600_000);

  it("goes on when replay ends its sessions, follows DDL and publications of the primary, and a lost slot by policy", async ({
    skip,
  }) => {
    await startPair({ max_standby_streaming_delay: "0" });
    if (version < 160_000) skip("PostgreSQL 16 decodes on a standby");
    const of = await GatewayUnderTest.create(primary, {
      setup: `${setUp}; CREATE TABLE late (id int PRIMARY KEY)`,
      config: { ...settings, onSlotLost: "resnapshot" },
      standby,
    });
    source = of;
    // While it copies, in small ranges, VACUUM FULL and TRUNCATE want a lock that its session has.
    await of.client.query("INSERT INTO wide SELECT n, repeat('w', 500) FROM generate_series(1, 40000) n");
    of.process.start();
    await until("wide is copied", () => of.logged("snapshot-started").some(({ table }) => table === "public.wide"));
    await of.client.query("VACUUM FULL wide");
    await of.client.query("TRUNCATE bag; INSERT INTO bag VALUES (1, 'new')");
    await of.client.query("ALTER TABLE item ADD COLUMN more int DEFAULT 7; INSERT INTO item VALUES (1, 'added', 8)");
    await of.client.query(
      "INSERT INTO late VALUES (1); ALTER PUBLICATION p ADD TABLE late; INSERT INTO late VALUES (2)",
    );
    await of.caughtUp({ tables: tables.length + 1, timeoutMs: waitMsMax });
    expect(await of.differences()).toEqual([]);

    // Which of the two is first depends on the machine; replay says why it ended a session.
    for (const { error } of of.logged("snapshot-failed")) expect(error).toContain("max_standby_streaming_delay");

    await of.process.kill();
    await of.releaseSlot();
    const reader = await standby.client(of.database);
    await reader.query("SELECT pg_drop_replication_slot($1)", [of.slot]);
    of.process.start();
    const recording = setInterval(() => void of.client.query("SELECT pg_log_standby_snapshot()"), 300);
    await of.client.query("INSERT INTO item VALUES (2, 'missed', 9)");
    await until("the slot is made anew", () => of.logged("slot-recovered").length > 0, waitMsMax);
    clearInterval(recording);
    await of.caughtUp({ tables: tables.length + 1, timeoutMs: waitMsMax });
    expect(await of.differences()).toEqual([]);
    await reader.end();
  }, 300_000);

  it("is refused before PostgreSQL 16, with the reason", async ({ skip }) => {
    await startPair();
    if (version >= 160_000) skip("it is of PostgreSQL 14 or 15");
    const of = await GatewayUnderTest.create(primary);
    source = of;
    await of.client.query("SELECT pg_drop_replication_slot($1)", [of.slot]);
    await until("the database is replayed", () =>
      standby.client(of.database).then(
        (client) => client.end().then(() => true),
        () => false,
      ),
    );
    Object.assign(of.process.config, { source: { ...standby.source(of.database), standby: "allow" } });
    of.process.start();
    expect((await of.process.exited()).code).toBe(78);
    expect(of.process.status()?.state).toMatchObject({
      errorKind: "unsupported",
      message: expect.stringContaining("decodes on a primary only"),
      remedy: expect.stringContaining("PostgreSQL 16"),
    });
  });
});

// Contract: after a failover to a promoted standby no row is lost or doubled (invariants 1 and 3); where that can't be,
// because the slot wasn't kept or the standby lacked what is staged, the gateway stops and says so, or takes new
// snapshots by policy; another cluster is never taken for the source. Failover slots need PostgreSQL 17.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startStandby, type TestStandby } from "../../support/postgres-standby";

let primary: TestPostgres;
let standby: TestStandby;
let gateway: GatewayUnderTest;
let version = 0;
const servers: TestPostgres[] = [];

async function startPair(): Promise<void> {
  primary = await startPostgres();
  servers.push(primary);
  const client = await primary.client();
  version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
  await client.end();
  if (version < 170_000) return;
  standby = await startStandby(primary);
  servers.push(standby);
  gateway = await GatewayUnderTest.create(primary, {
    config: (database) => ({
      source: {
        ...primary.source(database),
        connectTimeoutMs: 2_000,
        failoverHosts: [{ host: standby.host, port: standby.port }],
      },
    }),
    slotArguments: ", failover => true",
  });
  await gateway.client.query("INSERT INTO item SELECT n, 'first' FROM generate_series(1, 1000) n");
}

afterEach(async () => {
  await gateway?.process.kill();
  await gateway?.client.end().catch(() => {});
  for (const server of servers.splice(0).reverse()) await server.stop();
});

/**
 * The synced slot on the standby has come as far as the primary's is now. What sync_replication_slots = on does by
 * itself, up to 30 s apart, is done here at once.
 */
async function synced(): Promise<void> {
  const target = (await gateway.slotRow()).confirmed_flush_lsn as string;
  const client = await standby.client();
  await until("the slot is synced", async () => {
    await gateway.client.query("SELECT pg_log_standby_snapshot()");
    await client.query("SELECT pg_sync_replication_slots()");
    const { rows } = await client.query<{ lsn: string }>(
      `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots
        WHERE slot_name = $1 AND synced AND NOT temporary AND invalidation_reason IS NULL`,
      [gateway.slot],
    );
    return rows.length > 0 && parseLsn(rows[0].lsn) >= parseLsn(target);
  });
  await client.end();
}

/** Transactions one after the other until the server is gone or it is stopped; what isn't answered may be there or not. */
function load(server: TestPostgres, firstId: number): { done: Promise<number>; stop(): void } {
  let running = true;
  const work = async () => {
    const client = await server.client(gateway.database);
    let id = firstId;
    try {
      while (running) {
        await client.query("INSERT INTO item VALUES ($1, 'load')", [id]);
        if (id % 3 === 0) await client.query("UPDATE item SET name = name || '!' WHERE id = $1", [id - 2]);
        if (id % 5 === 0) await client.query("DELETE FROM item WHERE id = $1", [id - 4]);
        id++;
      }
      return id - firstId;
    } catch {
      return id - firstId;
    } finally {
      await client.end().catch(() => {});
    }
  };
  return {
    done: work(),
    stop: () => {
      running = false;
    },
  };
}

async function crashPrimary(): Promise<void> {
  await gateway.client.end();
  process.kill(primary.pid, "SIGQUIT");
}

async function expectWhole(client: Awaited<ReturnType<TestPostgres["client"]>>): Promise<void> {
  await client.query("INSERT INTO item VALUES (900000, 'after')");
  await gateway.caughtUp({ client });
  const { staged, source } = await gateway.rows("item", { client });
  expect(staged).toEqual(source);
}

describe("failover", () => {
  it("to a promoted standby loses and doubles nothing", async ({ skip }) => {
    await startPair();
    if (version < 170_000) skip("failover slots need PostgreSQL 17");
    const admin = await primary.client();
    await admin.query(`ALTER SYSTEM SET synchronized_standby_slots = '${standby.physicalSlot}'`);
    await admin.query("SELECT pg_reload_conf()");
    await admin.end();
    gateway.process.start();
    await gateway.caughtUp();
    await synced();
    const working = load(primary, 10_000);
    await gateway.process.untilStatus("load arrives", ({ transactions }) => transactions > 200);
    await crashPrimary();
    expect(await working.done).toBeGreaterThan(100);
    await standby.promote();
    const client = await standby.client(gateway.database);
    const more = load(standby, 500_000);
    const status = await gateway.process.untilStatus(
      "it streams from the new primary",
      ({ state, transactions }) => state.kind === "running" && transactions > 300,
    );
    expect(status.reconnects).toBeGreaterThan(0);
    expect(gateway.logged("failover-followed")[0]).toMatchObject({ fromTimeline: 1, timeline: 2 });
    expect(status.tables[0].snapshots).toBe(1);
    more.stop();
    await more.done;
    // The former primary comes back as one, first in the list: it is passed over, by the stream and all else.
    await primary.restart("fast");
    await client.query("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", [
      gateway.slot,
    ]);
    await gateway.process.untilStatus("it streams again", ({ reconnects }) => reconnects > status.reconnects);
    await expectWhole(client);
    await gateway.process.stop();
    gateway.process.start();
    await gateway.caughtUp({ client });
    expect(gateway.logged("server-passed-over").at(-1)).toMatchObject({
      reasons: expect.stringMatching(/is a former primary \(timeline 1; timeline 2 is followed\)/),
      server: `${standby.host}:${standby.port}`,
    });
    expect(await gateway.process.stop()).toEqual({ code: 0, signal: null });
    await client.end();
  });

  it("without a synced slot stops the gateway, or by policy takes new snapshots", async ({ skip }) => {
    await startPair();
    if (version < 170_000) skip("failover slots need PostgreSQL 17");
    gateway.process.start();
    await gateway.caughtUp();
    await crashPrimary();
    await standby.promote();
    expect((await gateway.process.exited()).code).toBe(78);
    expect(gateway.process.status()?.state).toMatchObject({
      errorKind: "slot-lost",
      message: expect.stringContaining("does not exist"),
      remedy: expect.stringContaining("failover"),
    });
    Object.assign(gateway.process.config, { onSlotLost: "resnapshot" });
    gateway.process.start();
    const client = await standby.client(gateway.database);
    await expectWhole(client);
    const { rows } = await client.query("SELECT failover FROM pg_replication_slots WHERE slot_name = $1", [
      gateway.slot,
    ]);
    expect(rows).toEqual([{ failover: true }]);
    await client.end();
  });

  it("to a standby that lacks what is staged is never passed in silence", async ({ skip }) => {
    await startPair();
    if (version < 170_000) skip("failover slots need PostgreSQL 17");
    gateway.process.start();
    await gateway.caughtUp();
    await synced();
    // The standby receives nothing more, and nobody waits for it.
    const client = await standby.client();
    await client.query("ALTER SYSTEM SET primary_conninfo = ''");
    await client.query("SELECT pg_reload_conf()");
    await until("the standby has stopped receiving", async () => {
      const { rowCount } = await client.query("SELECT 1 FROM pg_stat_wal_receiver");
      return rowCount === 0;
    });
    await client.end();
    await gateway.client.query("INSERT INTO item SELECT n, 'only here' FROM generate_series(20000, 20100) n");
    await gateway.caughtUp();
    await crashPrimary();
    await standby.promote();
    const promoted = await standby.client(gateway.database);
    // The new primary's LSNs pass those that are staged.
    await promoted.query("INSERT INTO item SELECT n, 'only there' FROM generate_series(30000, 33000) n");
    expect((await gateway.process.exited()).code).toBe(78);
    expect(gateway.process.status()?.state).toMatchObject({
      errorKind: "slot-lost",
      message: expect.stringContaining("timeline 1"),
      remedy: expect.stringContaining("synchronized_standby_slots"),
    });
    Object.assign(gateway.process.config, { onSlotLost: "resnapshot" });
    for (const failpoint of ["gateway.after-slot-created", "gateway.before-record:2", undefined]) {
      gateway.process.start(failpoint === undefined ? {} : { SLUICE_FAILPOINT: failpoint });
      if (failpoint !== undefined) expect((await gateway.process.exited()).signal).toBe("SIGKILL");
    }
    await expectWhole(promoted);
    await promoted.end();
  });
});

describe("a standby", () => {
  it("is waited with until it is promoted, unless it is allowed; its snapshots don't tell what runs", async ({
    skip,
  }) => {
    await startPair();
    if (version < 170_000) skip("the pair is made for PostgreSQL 17");
    await gateway.client.query("SELECT pg_drop_replication_slot($1)", [gateway.slot]);
    const client = await until("the database is replayed", () => standby.client(gateway.database).catch(() => null));
    // The trap: a transaction that runs is between xmin and xmax, and not in the list.
    const running = await primary.client(gateway.database);
    await running.query("BEGIN; INSERT INTO item VALUES (5000, 'running')");
    const { rows } = await running.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid");
    await gateway.client.query("INSERT INTO item VALUES (5001, 'later')");
    await until("the later one is replayed", async () => {
      const { rowCount } = await client.query("SELECT FROM item WHERE id = 5001");
      return rowCount === 1;
    });
    const seen = (await client.query<{ text: string }>("SELECT pg_current_snapshot()::text AS text")).rows[0].text;
    const [xmin, xmax, list] = seen.split(":");
    expect(Number(xmin)).toBeLessThanOrEqual(Number(rows[0].xid));
    expect(Number(xmax)).toBeGreaterThan(Number(rows[0].xid));
    expect(list).toBe("");
    await running.query("COMMIT");
    await running.end();

    Object.assign(gateway.process.config, { source: standby.source(gateway.database) });
    gateway.process.start();
    const waiting = await gateway.process.untilStatus("it waits", ({ state }) => state.kind === "waiting");
    expect(waiting.state).toMatchObject({ reason: expect.stringContaining("standby") });
    await standby.promote();
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [gateway.slot]).catch(() => {});
    await client.end();
  });
});

describe("another cluster", () => {
  let other: TestPostgres;
  beforeAll(async () => {
    other = await startPostgres({ ownIdentity: true });
  });
  afterAll(() => other?.stop());

  it("with a slot of the same name is refused, whatever the policy", async () => {
    primary = await startPostgres();
    servers.push(primary);
    gateway = await GatewayUnderTest.create(primary, { config: { onSlotLost: "resnapshot" } });
    gateway.process.start();
    await gateway.caughtUp();
    await gateway.process.stop();
    const admin = await other.client();
    await admin.query(`CREATE DATABASE ${gateway.database}`);
    await admin.end();
    const client = await other.client(gateway.database);
    await client.query("CREATE TABLE item (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE item");
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [gateway.slot]);
    const records = gateway.records().length;
    Object.assign(gateway.process.config, { source: other.source(gateway.database) });
    gateway.process.start();
    expect((await gateway.process.exited()).code).toBe(78);
    expect(gateway.process.status()?.state).toMatchObject({
      errorKind: "config",
      message: expect.stringContaining("another cluster"),
    });
    expect(gateway.records()).toHaveLength(records);
    await client.query("SELECT pg_drop_replication_slot($1)", [gateway.slot]);
    await client.end();
  });
});

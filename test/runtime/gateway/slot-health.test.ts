// Contract: a slot never holds more WAL than the gateway needs, on an idle database and on one with unpublished writes
// only, and its health is told: by status, metrics and log.
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let gateway: GatewayUnderTest;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
});
afterAll(async () => {
  await postgres?.stop();
});
afterEach(async () => {
  await gateway?.close();
});

/** What the server does by itself every 15 s when something was written: it notes which transactions run. */
const noteRunningTransactions = () => gateway.client.query("CHECKPOINT");

describe("slot health", () => {
  it("lets the slot advance when only unpublished tables, or other databases, are written to", async () => {
    gateway = await GatewayUnderTest.create(postgres, { config: { heartbeatMs: 0 } });
    await gateway.client.query("CREATE TABLE unpublished (body text)");
    gateway.process.start();
    await gateway.caughtUp();
    for (const write of [
      "INSERT INTO unpublished SELECT repeat(md5(n::text), 30) FROM generate_series(1, 30000) n",
      "CREATE TABLE other AS SELECT repeat(md5(n::text), 30) FROM generate_series(1, 30000) n",
    ]) {
      const before = await gateway.slotRow();
      const other = write.startsWith("CREATE TABLE other") ? await postgres.client() : gateway.client;
      await other.query(write);
      if (other !== gateway.client) await other.end();
      await until("both positions moved past the write", async () => {
        await noteRunningTransactions();
        const after = await gateway.slotRow();
        const moved = (column: string) =>
          Number(parseLsn(after[column] as string) - parseLsn(before[column] as string)) > 20_000_000;
        return moved("restart_lsn") && moved("confirmed_flush_lsn") ? after : null;
      });
      expect(Number((await gateway.slotRow()).retained)).toBeLessThan(4_000_000);
    }
    expect(
      gateway
        .records()
        .flatMap(({ events }) => events)
        .filter(({ kind }) => kind === "changes"),
    ).toEqual([]);
  });

  it("writes heartbeats on an idle database, by which the slot advances, and none when it is off", async () => {
    gateway = await GatewayUnderTest.create(postgres, { config: { heartbeatMs: 1_000 } });
    gateway.process.start();
    await gateway.caughtUp();
    const before = await gateway.slotRow();
    const status = await gateway.process.untilStatus("two heartbeats", ({ heartbeats }) => heartbeats >= 2);
    expect(status.lag.ms).toBeLessThan(5_000);
    await until("the slot moved", async () => {
      const after = await gateway.slotRow();
      return parseLsn(after.confirmed_flush_lsn as string) > parseLsn(before.confirmed_flush_lsn as string);
    });
  });

  it("tells slot, lag and loss in status and metrics", async () => {
    gateway = await GatewayUnderTest.create(postgres);
    gateway.process.start();
    const status = await gateway.caughtUp();
    expect(status.slot).toMatchObject({ active: true, walStatus: "reserved", invalidationReason: null, lossMs: null });
    expect(status.slot?.safeWalBytes).toBeGreaterThan(500_000_000);
    expect(status.lag.bytes).toBeLessThan(1_000_000);
    expect(status.alerts).toEqual([]);
    const metrics = await (await fetch(`http://127.0.0.1:${status.httpPort}/metrics`)).text();
    expect(metrics).toMatch(/^sluice_lag_bytes \d+$/m);
    expect(metrics).toMatch(/^sluice_lag_seconds [\d.]+$/m);
    expect(metrics).toMatch(/^sluice_slot_safe_wal_bytes \d+$/m);
    expect(metrics).toMatch(/^sluice_slot_wal_status\{wal_status="reserved"\} 1$/m);
    expect(metrics).toMatch(/^sluice_alert\{kind="lag"\} 0$/m);
  });

  it("names the transaction that holds the slot back, alerts, and says when it is over", async () => {
    gateway = await GatewayUnderTest.create(postgres, { config: { health: { transactionMs: { warning: 5_000 } } } });
    const holder = await gateway.session();
    await holder.query("BEGIN; CREATE TABLE half_made ()");
    const { rows } = await holder.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
    gateway.process.start();
    const status = await gateway.process.untilStatus("an alert", ({ alerts }) => alerts.length > 0);
    expect(status.holdingTransactions[0]).toMatchObject({ pid: rows[0].pid, user: "postgres" });
    expect(status.alerts[0]).toMatchObject({ kind: "holding-transaction", level: "warning" });
    expect(status.alerts[0].remedy).toContain(`pg_terminate_backend(${rows[0].pid})`);
    await holder.query("ROLLBACK");
    await holder.end();
    await gateway.process.untilStatus("over", ({ alerts }) => alerts.length === 0);
    expect(gateway.logged("alert-holding-transaction")).toHaveLength(1);
    expect(gateway.logged("alert-holding-transaction-over")).toHaveLength(1);
  });
});

// Contract: a full spool stops the reading and says so, a held slot is waited for and its holder named; nothing is lost
// by either (invariants 1, 3 and 7).
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reconnectDelayMs } from "../../../runtime/gateway/stream-loop";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import { startTcpProxy } from "../../support/tcp-proxy";

let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres({ settings: { logical_decoding_work_mem: "64kB" } });
});
afterAll(async () => {
  await postgres?.stop();
});

const noise = (from: number, to: number) =>
  `INSERT INTO item SELECT n, md5(n::text) || md5((n + 0.5)::text) || md5((n + 0.7)::text) FROM generate_series(${from}, ${to}) n`;

describe("a full spool", () => {
  it("gives open transactions up, then waits with one that is too large, and goes on with more room", async () => {
    const spool = { bytesMax: 1024 * 1024 };
    const gateway = await GatewayUnderTest.create(postgres, {
      config: { batch: { ageMsMax: 50, rowsMax: 2_000 }, spool },
    });
    const { client, process } = gateway;
    try {
      process.start();
      await gateway.caughtUp();
      await client.query("BEGIN");
      await client.query(noise(1, 40_000));
      await until("open transactions are given up", () => gateway.logged("spool-full").length > 0);
      expect(gateway.logged("spool-full")[0]).toMatchObject({ openTransactions: 1 });
      await process.untilStatus("it streams", ({ state, reconnects }) => state.kind === "running" && reconnects === 1);
      await client.query("COMMIT");
      const { state } = await process.untilStatus("it waits", ({ state }) => state.kind === "waiting");
      expect(state).toMatchObject({ reason: expect.stringContaining("spool.bytesMax, 1048576 bytes") });
      expect(gateway.records().flatMap(({ events }) => events.filter(({ kind }) => kind === "changes"))).toEqual([]);
      await process.kill();
      spool.bytesMax *= 100;
      process.start();
      await gateway.caughtUp();
      const { staged, source } = await gateway.rows("item");
      expect(staged).toEqual(source);
    } finally {
      await gateway.close();
    }
  });
});

describe("a way to the server on which nothing passes, though nobody says so", () => {
  it("is found by its silence; the stream is made again, and everything arrives", async () => {
    const proxy = await startTcpProxy(postgres);
    const gateway = await GatewayUnderTest.create(postgres, {
      config: (database) => ({
        source: { ...postgres.source(database), port: proxy.port, connectTimeoutMs: 1_000 },
        silenceMsMax: 1_500,
      }),
    });
    const { client, process } = gateway;
    try {
      process.start();
      await gateway.caughtUp();
      proxy.stall();
      await client.query("INSERT INTO item VALUES (1, 'unheard')");
      const { state } = await process.untilStatus("it waits", (status) => status.state.kind === "waiting");
      expect(state).toMatchObject({ reason: expect.stringContaining("no message from the server") });
      proxy.restore();
      await client.query("INSERT INTO item VALUES (2, 'heard')");
      await gateway.caughtUp();
      const { staged, source } = await gateway.rows("item");
      expect(staged).toEqual(source);
    } finally {
      await gateway.close();
      await proxy.close();
    }
  });
});

describe("a slot that another session holds", () => {
  it("is waited for, with the holder's name in status and log, and streamed from once it is free", async () => {
    const gateway = await GatewayUnderTest.create(postgres);
    const holder = new Client({
      host: postgres.host,
      port: postgres.port,
      user: postgres.user,
      password: postgres.password,
      database: gateway.database,
      application_name: "intruder",
      replication: "database",
    } as ConstructorParameters<typeof Client>[0]);
    try {
      holder.on("error", () => {});
      await holder.connect();
      const { rows } = await holder.query("SELECT pg_backend_pid() AS pid");
      holder
        .query(`START_REPLICATION SLOT ${gateway.slot} LOGICAL 0/0 (proto_version '1', publication_names 'p')`)
        .catch(() => {});
      await until("it is held", async () => (await gateway.slotRow()).active);
      gateway.process.start();
      const { state } = await gateway.process.untilStatus("it waits", ({ state }) => state.kind === "waiting");
      for (const part of [
        `pid ${rows[0].pid}`,
        'application "intruder"',
        "user postgres",
        "from 127.0.0.1",
        "since 2",
      ]) {
        expect(state).toMatchObject({ reason: expect.stringContaining(part) });
      }
      await until("it is logged", () => gateway.logged("stream-lost").length > 0);
      expect(gateway.logged("stream-lost")[0].error).toContain('application "intruder"');
      await gateway.client.query("SELECT pg_terminate_backend($1)", [rows[0].pid]);
      await gateway.client.query("INSERT INTO item VALUES (1, 'a')");
      await gateway.caughtUp();
      const { staged, source } = await gateway.rows("item");
      expect(staged).toEqual(source);
    } finally {
      await holder.end().catch(() => {});
      await gateway.close();
    }
  });

  it("is looked at often enough, and not by all at the same moment", () => {
    expect([1, 2, 3, 10].map((failures) => reconnectDelayMs(failures, "unreachable", 0))).toEqual([
      500, 1_000, 2_000, 15_000,
    ]);
    expect(reconnectDelayMs(10, "slot-in-use", 0)).toBe(5_000);
    expect(reconnectDelayMs(10, "unreachable", 1)).toBe(7_500);
  });
});

// Contract: a gap is never passed in silence. A slot that is gone, invalidated or moved on stops the gateway with the
// remedy, or by policy every table is copied again; the log goes on, and a crash between any two steps converges
// (invariants 1, 3 and 4).
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { sourceSchema } from "../../../runtime/config";
import { SluiceError } from "../../../runtime/errors";
import { startFailure } from "../../../runtime/gateway/start-position";
import { lsnZero } from "../../../runtime/postgres/lsn";
import { ReplicationStream } from "../../../runtime/postgres/replication-stream";
import { until } from "../../support/conditions";
import { GatewayUnderTest } from "../../support/gateway-under-test";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let postgres: TestPostgres;
let gateway: GatewayUnderTest;

beforeAll(async () => {
  postgres = await startPostgres({
    settings: { max_slot_wal_keep_size: "32MB", min_wal_size: "32MB", max_wal_size: "64MB" },
  });
});
afterAll(async () => {
  await postgres?.stop();
});
afterEach(() => gateway?.close());

/** Writes WAL until the server gives the slot up. */
async function invalidate(): Promise<void> {
  await gateway.client.query("CREATE TABLE IF NOT EXISTS unpublished (body text)");
  await until("the slot is invalidated", async () => {
    for (let segment = 0; segment < 4; segment++) {
      await gateway.client.query("INSERT INTO unpublished VALUES ('x'); SELECT pg_switch_wal()");
    }
    await gateway.client.query("CHECKPOINT");
    return (await gateway.slotRow()).wal_status === "lost";
  });
}

const dropSlot = () => gateway.client.query("SELECT pg_drop_replication_slot($1)", [gateway.slot]);

/** Another consumer moves the slot past what is staged. */
const moveSlot = () =>
  gateway.client.query("SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", [gateway.slot]);

async function begin(onSlotLost?: "resnapshot"): Promise<void> {
  gateway = await GatewayUnderTest.create(postgres, { config: { onSlotLost } });
  await gateway.client.query("INSERT INTO item SELECT n, 'first' FROM generate_series(1, 1000) n");
  gateway.process.start();
  await gateway.caughtUp();
  await gateway.process.stop();
}

/** What the gap holds: rows that come, change and go. */
const change = (word: string) =>
  gateway.client.query(
    `UPDATE item SET name = '${word}' WHERE id % 3 = 0; DELETE FROM item WHERE id % 7 = 0;
     INSERT INTO item SELECT max(id) + 1, '${word}' FROM item`,
  );

async function expectWhole(): Promise<void> {
  await change("after");
  await gateway.caughtUp();
  const { staged, source } = await gateway.rows("item");
  expect(staged).toEqual(source);
}

describe("a slot that is dropped between the look at it and the start of the stream", () => {
  it("is lost too, so that the policy decides; another failure of the start stays what it is", async () => {
    gateway = await GatewayUnderTest.create(postgres);
    const started = (slot: string) => {
      const stream = new ReplicationStream({
        source: sourceSchema.parse(postgres.source(gateway.database)),
        applicationName: "sluice test",
        slot,
        publication: "p",
        startLsn: lsnZero,
        serverVersion: 160_000,
        binary: false,
        early: false,
        onMessage: () => true,
        onKeepalive: () => {},
        durableLsn: () => lsnZero,
      });
      return stream.started.then(
        () => null,
        (error: unknown) => startFailure(error, slot),
      );
    };
    expect(await started("no_such_slot")).toMatchObject({
      kind: "slot-lost",
      message: "the replication slot no_such_slot does not exist",
      remedy: expect.stringContaining("onSlotLost"),
    });
    expect(startFailure(new SluiceError("unreachable", "gone", { remedy: "Wait." }), "s")).toMatchObject({
      kind: "unreachable",
    });
  });
});

describe("a lost slot", () => {
  it("that is moved on or dropped stops the gateway for good, with the remedy", async () => {
    await begin();
    await change("in the gap");
    for (const [lose, message] of [
      [moveSlot, "after the last staged position"],
      [dropSlot, "does not exist"],
    ] as const) {
      await lose();
      gateway.process.start();
      expect((await gateway.process.exited()).code).toBe(78);
      expect(gateway.process.status()?.state).toMatchObject({
        kind: "failed",
        errorKind: "slot-lost",
        message: expect.stringContaining(message),
        remedy: expect.stringContaining("--replace"),
      });
    }
  });

  it.each([
    ["invalidated", invalidate],
    ["dropped", dropSlot],
    ["moved on", moveSlot],
  ])("that is %s is made anew by policy; all tables are copied again and the log goes on", async (_name, lose) => {
    await begin("resnapshot");
    const before = gateway.records().length;
    await change("in the gap");
    await lose();
    await change("after the loss");
    gateway.process.start();
    await gateway.process.untilStatus("a second snapshot", ({ tables }) => tables[0]?.snapshots === 2);
    await expectWhole();
    const records = gateway.records();
    const pending = records.findIndex(
      ({ tables }, index) => index >= before && !Object.values(tables)[0].snapshotComplete,
    );
    expect(pending).toBe(before);
    expect(gateway.logged("slot-lost-resnapshot")).toHaveLength(1);
    expect((await gateway.slotRow()).plugin).toBe("pgoutput");
    expect(await gateway.process.stop()).toEqual({ code: 0, signal: null });
  });

  it("is recovered though the gateway is killed at each step of it", async () => {
    await begin("resnapshot");
    await change("in the gap");
    await invalidate();
    for (const failpoint of [
      "gateway.after-slot-loss-recorded",
      "gateway.after-slot-dropped",
      "gateway.after-slot-created",
      "gateway.before-record:2",
    ]) {
      gateway.process.start({ SLUICE_FAILPOINT: failpoint });
      expect((await gateway.process.exited()).signal, failpoint).toBe("SIGKILL");
      await change(`after ${failpoint}`);
    }
    gateway.process.start();
    await expectWhole();
  });

  it("that another now holds under its name is left alone", async () => {
    await begin("resnapshot");
    await dropSlot();
    await gateway.client
      .query("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [gateway.slot])
      .catch(async () => {
        await gateway.client.query("SELECT pg_create_physical_replication_slot($1)", [gateway.slot]);
      });
    gateway.process.start();
    expect((await gateway.process.exited()).code).toBe(78);
    expect(gateway.process.status()?.state).toMatchObject({ kind: "failed", errorKind: "name-taken" });
    expect((await gateway.slotRow()).plugin).not.toBe("pgoutput");
  });

  it.each(["fail", "resnapshot"] as const)("is found while a snapshot is under way (%s)", async (onSlotLost) => {
    gateway = await GatewayUnderTest.create(postgres, { config: { onSlotLost } });
    await gateway.client.query("INSERT INTO item SELECT n, 'first' FROM generate_series(1, 1000) n");
    // Its id holds the slot's position, its lock the snapshot.
    const holder = await gateway.session();
    await holder.query("BEGIN; INSERT INTO item VALUES (0, 'held')");
    gateway.process.start();
    await gateway.process.untilStatus("the snapshot waits", ({ tables }) => {
      const state = tables[0]?.state;
      return state?.kind === "pending" && state.waitingFor !== undefined;
    });
    await invalidate();
    if (onSlotLost === "fail") {
      expect((await gateway.process.exited(10_000)).code).toBe(78);
      expect(gateway.process.status()?.state).toMatchObject({
        errorKind: "slot-lost",
        message: expect.stringContaining("invalidated"),
      });
      await holder.query("ROLLBACK");
    } else {
      await until("recovery has begun", () => gateway.logged("slot-lost-resnapshot").length > 0);
      await holder.query("COMMIT");
      await expectWhole();
    }
    await holder.end();
  });
});

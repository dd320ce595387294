// Contract: a table that can't be applied is told with its reason and holds up no other; the snapshot that `sluice resync`
// asks for heals it, in every mode, whatever was wrong before it (invariants 3 and 4).
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { maintenanceSchema } from "../../../runtime/config";
import { readResyncRequests, requestResync } from "../../../runtime/staging/resync-request";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type TableMode } from "../../../runtime/table-options";
import { until } from "../../support/conditions";
import { readDeltaRows } from "../../support/delta-reader";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string" });
const items = tableSchema("200", "items", { id: "long*" });
let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const version = "0.0.0";
const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
const tableOf = (name: string) =>
  existsSync(log.config().statusPath) ? status().tables.find((table) => table.name === name) : undefined;
const idsOf = async (name: string) =>
  (await readDeltaRows(join(log.destination, "public", name))).map(({ id }) => Number(id)).sort();
const optionsOf = (mode: TableMode) => [{ ...defaultTableOptions, schema: "public", name: "orders", mode }];

/** Changes whose file is no Parquet. */
async function damagedChanges(): Promise<void> {
  const before = new Set((await log.store.list("data")).map(String));
  await log.changes(orders, [{ op: 0, row: { id: "2" } }]);
  const [added] = (await log.store.list("data")).filter((key) => !before.has(key));
  writeFileSync(join(log.folder, "staging", added), "damaged");
  await log.commit();
}

describe("a table that can't be applied", () => {
  // Those that keep history are tried with all of their changes for a while first.
  it.each(["scd1", "scd2"] as const)("of the mode %s waits alone, and is healed by a new snapshot", async (mode) => {
    const stop = new AbortController();
    const config = log.config({ tables: optionsOf(mode), trigger: { kind: "continuous", intervalMs: 20 } });
    await log.snapshot(orders, [{ id: "1", name: "'a'" }]);
    await log.snapshot(items, [{ id: "1" }]);
    const running = runApplier(config, { signal: stop.signal, version });
    try {
      await until("both are there", () => tableOf("items")?.rows === 1 && tableOf("orders")?.rows === 1);
      await damagedChanges();
      await log.changes(items, [{ op: 0, row: { id: "2" } }]);
      await log.commit();
      await until("the other goes on", () => tableOf("items")?.rows === 2);
      await until("it is told", () => tableOf("orders")?.state.kind === "quarantined");
      expect(await idsOf("orders")).toEqual([1]);
      const { tableId } = await requestResync(log.store, "public.orders");
      expect((await readResyncRequests(log.store)).map((request) => request.tableId)).toEqual([tableId]);
      await log.snapshot(orders, [{ id: "2", name: "'b'" }], "again");
      await log.changes(orders, [{ op: 0, row: { id: "3" } }]);
      await log.commit();
      await until("it is healed", () => tableOf("orders")?.state.kind === "idle");
      const rows = await readDeltaRows(join(log.destination, "public", "orders"));
      const current = rows.filter((row) => row.is_current !== false && (row._deleted_at ?? null) === null);
      expect(current.map(({ id }) => Number(id)).sort()).toEqual([2, 3]);
      // What the mode keeps of before is still there.
      expect(rows.some(({ id }) => id === 1n)).toBe(mode !== "scd1");
    } finally {
      stop.abort();
      await running;
    }
  });

  it("because staging no longer has what it lacks says so, until a new snapshot comes", async () => {
    const maintenance = maintenanceSchema.parse({ stagingRetentionMs: 0 });
    const apply = () => runApplier(log.config({ maintenance }), { signal: new AbortController().signal, version });
    await log.snapshot(orders, [{ id: "1" }]);
    await log.changes(orders, [{ op: 0, row: { id: "2" } }]);
    await log.commit();
    await log.snapshot(items, [{ id: "1" }]);
    await apply();
    rmSync(join(log.destination, "public", "orders"), { recursive: true });
    await expect(apply()).rejects.toMatchObject({
      remedy: expect.stringContaining("sluice resync --config FILE --table public.orders"),
    });
    await log.snapshot(orders, [{ id: "7" }], "again");
    await apply();
    expect(await idsOf("orders")).toEqual([7]);
  });
});

describe("a table whose destination is damaged", () => {
  const apply = () => runApplier(log.config(), { signal: new AbortController().signal, version });
  const folder = () => join(log.destination, "public", "orders");

  async function applied(): Promise<void> {
    await log.snapshot(orders, [{ id: "1" }, { id: "2" }]);
    await log.snapshot(items, [{ id: "1" }]);
    await log.changes(orders, [{ op: 1, row: { id: "2", name: "'b'" } }]);
    await log.commit();
    await apply();
  }

  async function goOn(): Promise<void> {
    await log.changes(orders, [{ op: 2, row: { id: "2" } }]);
    await log.changes(items, [{ op: 0, row: { id: "2" } }]);
    await log.commit();
    await expect(apply()).rejects.toMatchObject({ kind: "destination" });
    expect(tableOf("orders")?.state.kind).toBe("quarantined");
    expect(tableOf("items")).toMatchObject({ rows: 2, state: { kind: "idle" } });
    expect(tableOf("orders")?.runs[0]).toMatchObject({ status: "quarantined", failPercent: 100 });
  }

  /** @param dropped changes that the table never got */
  async function healed(dropped: number): Promise<void> {
    await log.snapshot(orders, [{ id: "5" }], "again");
    await log.changes(orders, [{ op: 0, row: { id: "6" } }]);
    await log.commit();
    await apply();
    expect(await idsOf("orders")).toEqual([5, 6]);
    expect(tableOf("orders")).toMatchObject({ state: { kind: "idle" }, dropped });
    expect(tableOf("orders")?.runs[0]).toMatchObject({ status: "succeeded", dropped });
    await apply();
    expect(await idsOf("orders")).toEqual([5, 6]);
  }

  it("in its log stays as it is until a new snapshot comes, and is kept aside then", async () => {
    await applied();
    const commit = join(folder(), "_delta_log", `${"0".repeat(19)}1.json`);
    writeFileSync(commit, "damaged");
    await goOn();
    expect(readFileSync(commit, "utf8")).toBe("damaged");
    // One of them was in the table that is kept aside.
    await healed(2);
    const [aside] = readdirSync(join(log.destination, ".sluice", "damaged"));
    expect(readdirSync(join(log.destination, ".sluice", "damaged", aside))).toContain("_delta_log");
  });

  it("in its data is replaced by a new snapshot", async () => {
    await applied();
    for (const file of readdirSync(folder()).filter((name) => name.endsWith(".parquet"))) {
      writeFileSync(join(folder(), file), "damaged");
    }
    await goOn();
    await healed(1);
  });

  it("and was moved when the applier was killed is made anew", async () => {
    await applied();
    await log.snapshot(orders, [{ id: "5" }], "again");
    rmSync(folder(), { recursive: true });
    await apply();
    expect(await idsOf("orders")).toEqual([5]);
  });

  it("and isn't known as ours is never moved", async () => {
    await applied();
    writeFileSync(join(folder(), "_delta_log", `${"0".repeat(19)}1.json`), "damaged");
    rmSync(join(log.folder, "staging", "progress"), { recursive: true });
    await log.snapshot(orders, [{ id: "5" }], "again");
    await expect(apply()).rejects.toMatchObject({ kind: "destination", remedy: expect.stringContaining("Move") });
    expect(existsSync(join(folder(), "_delta_log"))).toBe(true);
    expect(existsSync(join(log.destination, ".sluice", "damaged"))).toBe(false);
  });

  it("holds back the purge of what it needs", async () => {
    await applied();
    writeFileSync(join(folder(), "_delta_log", `${"0".repeat(19)}1.json`), "damaged");
    await log.changes(orders, [{ op: 0, row: { id: "3" } }]);
    const needed = await log.commit();
    for (let at = 10; at < 13; at++) {
      await log.changes(items, [{ op: 0, row: { id: String(at) } }]);
      await log.commit();
    }
    const maintenance = maintenanceSchema.parse({ stagingRetentionMs: 0 });
    const stop = new AbortController();
    const config = log.config({ maintenance, trigger: { kind: "continuous", intervalMs: 20 } });
    const running = runApplier(config, { signal: stop.signal, version });
    await until("what is applied is purged", () => status().purge.tail === needed).finally(() => {
      stop.abort();
      return running;
    });
    expect(tableOf("items")?.rows).toBe(4);
    expect(status().purge.heldBy).toMatch(/orders/);
  });
});

describe("requestResync", () => {
  it("refuses a table that staging doesn't have, with those that it has", async () => {
    await log.snapshot(orders, []);
    await expect(requestResync(log.store, "public.order")).rejects.toMatchObject({
      kind: "missing-object",
      remedy: "Name one of: public.orders.",
    });
  });
});

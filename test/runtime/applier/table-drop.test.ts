// Contract: a table that leaves the publication stays in the destination, or by option goes from it, whole or not at all,
// whatever is killed when; nothing goes that isn't this table; one that comes back is a new copy (invariant 3).
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type NamedTableOptions, onRemoveOf } from "../../../runtime/table-options";
import { readDeltaRows } from "../../support/delta-reader";
import { RuntimeProcess } from "../../support/runtime-process";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*" });
const items = tableSchema("200", "items", { id: "long*" });
let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const named = (given: Partial<NamedTableOptions>): NamedTableOptions => {
  return { ...defaultTableOptions, schema: "public", name: "orders", ...given };
};
const apply = (config: Partial<ApplierConfig> = { onRemove: "drop" }) =>
  runApplier(log.config(config), { signal: new AbortController().signal, version: "0.0.0" });
const pathOf = (name: string) => join(log.destination, "public", name);
const idsOf = async (name: string) => (await readDeltaRows(pathOf(name))).map(({ id }) => Number(id)).sort();

async function remove(schema = orders): Promise<void> {
  log.event("removed", schema);
  await log.commit();
}

describe("a table that leaves the publication", () => {
  it("is dropped with what it still lacked, alone, and is copied again when it comes back", async () => {
    const append = { onRemove: "drop" as const, tables: [named({ mode: "append" })] };
    await log.snapshot(items, [{ id: "1" }]);
    await log.snapshot(orders, [{ id: "1" }]);
    await apply(append);
    await log.changes(orders, [{ op: 0, row: { id: "2" } }]);
    await remove();
    await apply(append);
    expect(existsSync(pathOf("orders"))).toBe(false);
    expect(readdirSync(join(log.destination, ".sluice", "dropped"))).toEqual([]);
    await log.snapshot(orders, [{ id: "3" }], "back");
    await apply(append);
    expect(await idsOf("orders")).toEqual([3]);
    // It leaves and comes back between two runs: the same.
    await remove();
    await log.snapshot(orders, [{ id: "4" }], "again");
    await apply(append);
    expect(await idsOf("orders")).toEqual([4]);
    // It comes back and leaves again between two runs.
    await remove();
    await log.snapshot(orders, [{ id: "5" }], "once more");
    await remove();
    await apply(append);
    expect(existsSync(pathOf("orders"))).toBe(false);
    expect(await idsOf("items")).toEqual([1]);
  });

  it("stays where that was the word when it left, whatever is said later", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    await remove();
    await apply({ onRemove: "keep" });
    await log.snapshot(items, [{ id: "1" }]);
    await apply();
    expect(await idsOf("orders")).toEqual([1]);
  });

  it("is dropped by the option that its rows were made by, should that have left with it", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply({ onRemove: "keep", tables: [named({ onRemove: "drop" })] });
    await remove();
    await apply({ onRemove: "keep" });
    expect(existsSync(pathOf("orders"))).toBe(false);
  });

  it("isn't dropped where another table has its name, or another pipeline has its place", async () => {
    const again = tableSchema("101", "orders", { id: "long*" });
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    log.event("removed", orders);
    await log.schema(again);
    log.begin(again, "new");
    await log.commit();
    await apply();
    expect(await idsOf("orders")).toEqual([1]);
    await log.rows(again, "new", [{ id: "2" }]);
    log.end(again, "new", 1);
    await log.commit();
    await apply();
    expect(await idsOf("orders")).toEqual([2]);

    const other = await StagedLog.open();
    try {
      await other.snapshot(orders, [{ id: "5" }]);
      const destination = { kind: "local", path: log.destination } as const;
      await runApplier(other.config({ destination }), { signal: new AbortController().signal, version: "0.0.0" });
    } finally {
      other.close();
    }
    await remove(again);
    await apply();
    expect(await idsOf("orders")).toEqual([5]);
  });

  it("that was never written leaves alone what has its place", async () => {
    mkdirSync(pathOf("orders"), { recursive: true });
    writeFileSync(join(pathOf("orders"), "theirs.txt"), "theirs");
    await log.schema(orders);
    log.begin(orders, "s");
    await log.commit();
    await remove();
    await apply();
    expect(readdirSync(pathOf("orders"))).toEqual(["theirs.txt"]);
  });

  it.each(["applier.before-drop", "applier.after-drop"])(
    "is gone although the drop was killed at %s",
    async (place) => {
      const config = log.config({ onRemove: "drop", maintenance: { ...eagerMaintenance, stagingRetentionMs: 0 } });
      const once = new RuntimeProcess<ApplierStatus>(log.folder, config);
      await log.snapshot(orders, [{ id: "1" }]);
      await log.snapshot(items, [{ id: "1" }]);
      expect(await once.start().exited()).toEqual({ code: 0, signal: null });
      await remove();
      expect((await once.start({ SLUICE_FAILPOINT: place }).exited()).signal).toBe("SIGKILL");
      await log.snapshot(items, [{ id: "2" }], "more");
      expect(await once.start().exited()).toEqual({ code: 0, signal: null });
      expect(existsSync(pathOf("orders"))).toBe(false);
      expect(readdirSync(join(log.destination, ".sluice")).filter((name) => name === "dropped")).toHaveLength(
        place === "applier.before-drop" ? 1 : 0,
      );
      expect(once.status()?.tables.find(({ name }) => name === "orders")).toMatchObject({
        state: { kind: "removed" },
        rows: 0,
      });
      await log.snapshot(orders, [{ id: "7" }], "back");
      expect(await once.start().exited()).toEqual({ code: 0, signal: null });
      expect([await idsOf("orders"), await idsOf("items")]).toEqual([[7], [2]]);
    },
  );
});

describe("what becomes of a table", () => {
  it.each([
    [[], null, "keep", "keep"],
    [[], null, "drop", "drop"],
    [[], { onRemove: "drop" }, "keep", "drop"],
    [[{ onRemove: "keep" }], { onRemove: "drop" }, "drop", "keep"],
    [[{}], { onRemove: "drop" }, "keep", "keep"],
    [[{ name: "other", onRemove: "drop" }], null, "keep", "keep"],
  ] as const)("by its options %j, its rows' options %j and the pipeline's %s: %s", (given, stored, pipelines, what) =>
    expect(onRemoveOf(given.map(named), orders, stored, pipelines)).toBe(what),
  );
});

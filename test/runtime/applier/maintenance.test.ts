// Contract: between batches tables and staging are kept small: few files, few deleted rows, nothing that no reader within
// the retention needs; no row changes by it, and nothing unapplied is ever purged (invariant 3).
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { TableMaintenance } from "../../../runtime/applier/table-maintenance";
import { type MaintenanceConfig, maintenanceSchema } from "../../../runtime/config";
import { DeltaTable } from "../../../runtime/destination/delta/delta-table";
import { unneededFiles } from "../../../runtime/destination/delta/vacuum";
import { DuckDbSession } from "../../../runtime/destination/duckdb-session";
import { neededAfter } from "../../../runtime/staging/applier-progress";
import type { ApplierStatus } from "../../../runtime/status";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string" });
let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
const path = () => join(log.destination, "public", "orders");
const names = (folder: string) => readdirSync(folder).filter((name) => !name.startsWith("_"));
const apply = (maintenance: Partial<MaintenanceConfig> = {}, id = "test") =>
  runApplier(log.config({ id, maintenance: maintenanceSchema.parse(maintenance) }), {
    signal: new AbortController().signal,
    version: "0.0.0",
  });

async function insert(from: number, count: number): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => String(from + index));
  await log.changes(
    orders,
    ids.map((id) => ({ op: 0, row: { id, name: `'n${id}'` } })),
  );
  await log.commit();
}

describe("compaction", () => {
  it("makes one file of many small ones, without a change to any row", async () => {
    await log.snapshot(orders, []);
    for (let batch = 0; batch < 9; batch++) {
      await insert(batch * 10, 10);
      await apply({ compaction: false });
    }
    await log.changes(orders, [{ op: 2, row: { id: "5" } }]);
    await log.commit();
    await apply({ compaction: false });
    const before = await openDelta(path());
    expect(before.files).toHaveLength(9);
    const rows = (await readDeltaRows(path())).map(({ id, name }) => `${id} ${name}`).sort();
    await apply();
    const after = await openDelta(path());
    expect(after.files.map(({ deleted }) => deleted)).toEqual([0]);
    expect(after.txns).toEqual(before.txns);
    expect((await readDeltaRows(path())).map(({ id, name }) => `${id} ${name}`).sort()).toEqual(rows);
    const commit = readFileSync(join(path(), "_delta_log", `${String(after.version).padStart(20, "0")}.json`), "utf8");
    expect(commit).not.toContain('"dataChange":true');
    expect(status().tables[0]).toMatchObject({
      rows: 89,
      upserted: 90,
      files: 1,
      maintenance: { compactions: 1, filesCompacted: 9 },
    });
    // Readers of the version before still find its files; later batches go on.
    expect(await readDeltaRows(path(), before.version)).toHaveLength(89);
    await insert(200, 1);
    await apply();
    expect(await readDeltaRows(path())).toHaveLength(90);
  });
});

describe("vacuum", () => {
  it("keeps what versions within the retention have, and removes the rest", async () => {
    await log.snapshot(orders, [{ id: "1" }, { id: "2" }]);
    await apply();
    const first = names(path());
    await log.snapshot(orders, [{ id: "3" }], "second");
    await apply();
    expect(names(path())).toEqual(expect.arrayContaining(first));
    expect(await readDeltaRows(path(), 0)).toHaveLength(2);
    await apply({ fileRetentionMs: 0 });
    const { files } = await openDelta(path());
    expect(names(path())).toEqual(files.map((each) => each.path));
    expect(status().tables[0].maintenance.filesVacuumed).toBe(1);
    expect(await readDeltaRows(path())).toHaveLength(1);
  });

  it("leaves a table alone whose rows another table's place still holds", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply({ fileRetentionMs: 0 });
    // Its name is taken before its own new name is staged.
    const rival = tableSchema("200", "orders", { id: "long*" });
    await log.snapshot(rival, [{ id: "7" }]);
    await apply({ fileRetentionMs: 0 });
    await apply({ fileRetentionMs: 0 });
    const renamed = { ...orders, schemaId: 2, name: "renamed" };
    await log.schemaChange(renamed);
    await log.commit();
    await apply({ fileRetentionMs: 0 });
    expect((await readDeltaRows(join(log.destination, "public", "renamed"))).map(({ id }) => id)).toEqual([1n]);
    expect((await readDeltaRows(path())).map(({ id }) => id)).toEqual([7n]);
  });

  it("keeps what another writer has added since", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply();
    const session = await DuckDbSession.open({
      memoryBytesMax: 64 * 1024 * 1024,
      temporaryPath: join(log.folder, "s"),
    });
    const home = { place: orders, delta: await DeltaTable.open(path(), session), isDisplaced: false };
    await insert(2, 1);
    await apply({}, "rival");
    const config = maintenanceSchema.parse({ fileRetentionMs: 0 });
    await new TableMaintenance(session, config, "test").run(home, "orders", {
      bytesMax: 1e9,
      mayVacuum: true,
      keyNames: async () => [],
      clusterNames: [],
    });
    await session.close();
    expect(await readDeltaRows(path())).toHaveLength(2);
  });

  it("removes only what is old and in no version", () => {
    const files = ["active", "young", "old"].map((each) => ({
      path: each,
      bytes: 1,
      modifiedMs: each === "young" ? 100 : 10,
    }));
    expect(unneededFiles(files, new Set(["active"]), 50).map(({ path: each }) => each)).toEqual(["old"]);
  });
});

describe("a table that rests", () => {
  it("loses its deletion vectors after the time that is given, and not sooner", async () => {
    await log.snapshot(orders, [{ id: "1" }, ...Array.from({ length: 50 }, (_, at) => ({ id: `${at + 10}` }))]);
    await apply();
    await log.changes(orders, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    await apply();
    const session = await DuckDbSession.open({
      memoryBytesMax: 64 * 1024 * 1024,
      temporaryPath: join(log.folder, "s"),
    });
    try {
      const run = async (changes: object) => {
        const home = { place: orders, delta: await DeltaTable.open(path(), session), isDisplaced: false };
        const maintenance = new TableMaintenance(
          session,
          maintenanceSchema.parse({ vacuum: false, ...changes }),
          "test",
        );
        const options = { bytesMax: 1e9, mayVacuum: false, keyNames: async () => [], clusterNames: [] };
        const bytes = await maintenance.run(home, "orders", options);
        const vectors = [...home.delta.snapshot.files.values()].filter(({ deletionVector }) => deletionVector).length;
        return { isTended: bytes !== null, vectors };
      };
      expect(await run({})).toEqual({ isTended: false, vectors: 1 });
      expect(await run({ purgeAfterIdleMs: 3_600_000 })).toEqual({ isTended: false, vectors: 1 });
      expect(await run({ purgeAfterIdleMs: 0 })).toEqual({ isTended: true, vectors: 0 });
      expect(await run({ purgeAfterIdleMs: 0 })).toEqual({ isTended: false, vectors: 0 });
    } finally {
      await session.close();
    }
    expect(await readDeltaRows(path())).toHaveLength(50);
  });
});

describe("the staging purge", () => {
  const data = () => readdirSync(join(log.folder, "staging", "data"));
  const records = () => readdirSync(join(log.folder, "staging", "log")).length;

  it("removes what is applied and older than the retention, and applying goes on", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    for (let id = 2; id < 6; id++) await insert(id, 1);
    await apply();
    expect(records()).toBe(5);
    await apply({ stagingRetentionMs: 0 });
    expect({ records: records(), data: data().length }).toEqual({ records: 1, data: 1 });
    expect(status().purge).toMatchObject({ records: 4, files: 4, tail: 5, heldBy: null });
    await insert(6, 1);
    await log.store.delete("progress/test.json");
    await apply({ stagingRetentionMs: 0 });
    expect(await readDeltaRows(path())).toHaveLength(6);
    // A table that is lost with what staging no longer has is told, not made anew with holes.
    rmSync(path(), { recursive: true });
    await insert(7, 1);
    await expect(apply()).rejects.toMatchObject({
      remedy: expect.stringContaining("sluice resync --config FILE --table public.orders"),
    });
    expect(existsSync(path())).toBe(false);
  });

  it("lets no other applier begin with what is left of the log", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    for (let id = 2; id < 6; id++) await insert(id, 1);
    await apply({ stagingRetentionMs: 0 });
    const lake = join(log.folder, "other-lake");
    const other = () =>
      runApplier(log.config({ id: "other", destination: { kind: "local", path: lake } }), {
        signal: new AbortController().signal,
        version: "0.0.0",
      });
    await expect(other()).rejects.toMatchObject({ kind: "staging", remedy: expect.stringContaining("sluice resync") });
    await insert(6, 1);
    await expect(other()).rejects.toMatchObject({ kind: "staging" });
    expect(existsSync(join(lake, "public", "orders"))).toBe(false);
    // A table that has come since is none of these.
    await log.snapshot(tableSchema("200", "later", { id: "long*" }), [{ id: "1" }]);
    await expect(other()).rejects.toMatchObject({ kind: "staging" });
    expect(await readDeltaRows(join(lake, "public", "later"))).toHaveLength(1);
    // A new snapshot is all that it needs.
    await log.snapshot(orders, [{ id: "1" }, { id: "6" }], "again");
    await other();
    expect(await readDeltaRows(join(lake, "public", "orders"))).toHaveLength(2);
  });

  it("keeps what an unfinished snapshot, a failed table or another applier needs", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await apply({ stagingRetentionMs: 86_400_000 }, "other");
    await log.schema(tableSchema("200", "slow", { id: "long*" }));
    log.begin(tableSchema("200", "slow", { id: "long*" }), "s");
    await log.commit();
    await insert(2, 1);
    await insert(3, 1);
    await apply({ stagingRetentionMs: 0 });
    expect(records()).toBe(3);
    expect(status().purge.heldBy).toBe("applier other");
    await apply({ stagingRetentionMs: 0 }, "other");
    expect(records()).toBe(3);
    expect(status().purge).toMatchObject({ tail: 2, heldBy: "table public.slow of applier other" });
    await log.store.put("progress/unreadable.json", "{");
    log.end(tableSchema("200", "slow", { id: "long*" }), "s");
    await log.commit();
    await apply({ stagingRetentionMs: 0 });
    expect(records()).toBe(4);
  });

  it("knows nothing where an applier's progress can't be read", () => {
    expect(neededAfter(null).sequence).toBe(0);
    expect(neededAfter(new Map()).sequence).toBe(0);
  });
});

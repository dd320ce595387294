// Contract: a table that is tended holds the same rows (invariants 3 and 4) in few files, its former versions stay readable
// for the retention, and what no version needs goes.
import { readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { type MaintenanceConfig, maintenanceSchema } from "../../../runtime/config";
import { DeltaTable } from "../../../runtime/destination/delta/delta-table";
import { vacuumTable } from "../../../runtime/destination/delta/vacuum";
import { DuckDbSession } from "../../../runtime/destination/duckdb-session";
import { compactTable, fileStates, firstGap, nextCompaction } from "../../../runtime/destination/table-compaction";
import type { ApplierStatus } from "../../../runtime/status";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText } from "./staged-model";

const numbers = tableSchema("7", "numbers", { id: "long*", amount: "double", note: "string" });
const untended = maintenanceSchema.parse({ compaction: false, vacuum: false });
let log: StagedLog;
let session: DuckDbSession;

beforeEach(async () => {
  log = await StagedLog.open();
  session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: join(log.folder, "spill") });
});
afterEach(async () => {
  await session.close();
  log.close();
});

const path = () => join(log.destination, "public", "numbers");
const rowsOf = async (version?: number) => (await readDeltaRows(path(), version)).map(deltaRowText).sort();
const row = (id: number, amount: string) => ({ id: String(id), amount, note: `'n${id}'` });

async function apply(maintenance: MaintenanceConfig): Promise<ApplierStatus> {
  await runApplier(log.config({ maintenance }), { signal: new AbortController().signal, version: "0.0.0" });
  return JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
}

/** A snapshot of 100 rows, then batches that change, delete and insert some; none is tended. */
async function work(batches: number): Promise<void> {
  const all = Array.from({ length: 100 }, (_, id) => row(id, id % 2 === 0 ? "-0.0" : "0.0"));
  await log.snapshot(numbers, all);
  await apply(untended);
  for (let batch = 0; batch < batches; batch++) {
    await log.changes(numbers, [
      { op: 1, row: row(batch, String(batch)) },
      { op: 1, row: row(99 - batch, "-0.0") },
      { op: 2, row: { id: String(50 + batch) } },
      { op: 0, row: row(200 + batch, "-0.0") },
    ]);
    await log.commit();
    await apply(untended);
  }
}

const commit = (version: number): Record<string, Record<string, unknown>>[] =>
  readFileSync(join(path(), "_delta_log", `${String(version).padStart(20, "0")}.json`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("compaction", () => {
  it("merges small files into one commit that changes no row", async () => {
    await work(9);
    const rows = await rowsOf();
    const { tables } = await apply(eagerMaintenance);
    expect(tables[0].maintenance).toMatchObject({ compactions: 1, conflicts: 0, filesCompacted: 10, error: null });
    expect(tables[0]).toMatchObject({ rows: 100, upserted: 127, deleted: 9, files: 1, smallFiles: 1, deletedShare: 0 });
    const { version, files } = await openDelta(path());
    expect(files).toHaveLength(1);
    expect(await rowsOf()).toEqual(rows);
    const [info, ...actions] = commit(version);
    expect(info.commitInfo).toMatchObject({ operation: "OPTIMIZE", operationParameters: { reason: "small-files" } });
    expect(actions.map((action) => Object.values(action)[0].dataChange)).toEqual(new Array(11).fill(false));
    // The next batch goes on from it, and a table at rest is left alone.
    await log.changes(numbers, [{ op: 2, row: { id: "0" } }]);
    await log.commit();
    expect((await apply(maintenanceSchema.parse({}))).tables[0].maintenance.compactions).toBe(0);
    expect(await rowsOf()).toHaveLength(99);
  });

  it("orders rows by key where that is wanted", async () => {
    await work(3);
    await apply(eagerMaintenance);
    const ids = (await readDeltaRows(path())).map(({ id }) => Number(id));
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
  });

  it("writes a file that is too large for a run anew in parts, each a commit", async () => {
    await work(6);
    const rows = await rowsOf();
    const table = await DeltaTable.open(path(), session);
    const large = fileStates(table).find(({ records }) => records === 100)?.path as string;
    const before = table.snapshot.version;
    for (let part = 0; part < 4; part++) {
      const step = { kind: "part", file: large, rows: 25, reason: "deleted-rows" } as const;
      expect(await compactTable(table, step, { session, engineInfo: "test", orderBy: [] })).toMatchObject({
        filesAdded: 1,
        filesRemoved: part === 3 ? 1 : 0,
      });
      expect(await rowsOf()).toEqual(rows);
    }
    expect(table.snapshot.files.has(large)).toBe(false);
    for (let version = before; version <= table.snapshot.version; version++) {
      expect(await rowsOf(version)).toEqual(rows);
    }
  });

  it("gives way to a rival writer's commit, and leaves no file", async () => {
    await work(8);
    const table = await DeltaTable.open(path(), session);
    const step = nextCompaction(table, eagerMaintenance, 1e9);
    if (step === null) throw new Error("nothing to compact");
    await log.changes(numbers, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    await apply(untended);
    const rows = await rowsOf();
    const names = readdirSync(path());
    const context = { session, engineInfo: "test", orderBy: [] };
    expect(await compactTable(table, step, context)).toBeNull();
    expect(readdirSync(path())).toEqual(names);
    expect(await rowsOf()).toEqual(rows);
    await table.refresh();
    const again = nextCompaction(table, eagerMaintenance, 1e9);
    expect(await compactTable(table, again as typeof step, context)).not.toBeNull();
    expect(await rowsOf()).toEqual(rows);
  });
});

describe("vacuum", () => {
  const hourMs = 3_600_000;
  const versionsOf = async () => Array.from({ length: (await openDelta(path())).version + 1 }, (_, version) => version);

  it("keeps every version within the retention readable, and deletes the rest", async () => {
    await work(6);
    await apply({ ...eagerMaintenance, vacuum: false });
    const table = await DeltaTable.open(path(), session);
    const vacuum = (retentionMs: number, later = 0) => vacuumTable(table, retentionMs, Date.now() + later);
    const versions = await versionsOf();
    const before = await Promise.all(versions.map(rowsOf));
    expect(await vacuum(hourMs)).toEqual({ files: 0, bytes: 0 });
    expect(await vacuum(2 * hourMs, hourMs)).toEqual({ files: 0, bytes: 0 });
    expect(await Promise.all(versions.map(rowsOf))).toEqual(before);
    expect((await vacuum(hourMs, 2 * hourMs)).files).toBeGreaterThan(5);
    expect(readdirSync(path()).filter((name) => name !== "_delta_log")).toHaveLength(table.snapshot.files.size);
    expect(await rowsOf()).toEqual(before.at(-1));
    await expect(rowsOf(1)).rejects.toThrow(/ENOENT/);
  });

  it("keeps what a version of within the retention has that a later one removed, file by file", async () => {
    await work(2);
    await pause(1_500);
    const inBetween = Date.now();
    const { version } = await openDelta(path());
    const rows = await rowsOf(version);
    await apply({ ...eagerMaintenance, vacuum: false });
    const table = await DeltaTable.open(path(), session);
    // Seen from a time at which versions before `version` are out of the retention, and it isn't.
    const nowMs = Date.now() + hourMs;
    const { files } = await vacuumTable(table, nowMs - inBetween + 500, nowMs);
    expect(files).toBe(0);
    expect(await rowsOf(version)).toEqual(rows);
  });

  it("never deletes a file of deletion vectors that one file still needs", async () => {
    // Vectors of more than 512 bytes lie in files.
    const ids = Array.from({ length: 6_000 }, (_, id) => id);
    await log.snapshot(
      numbers,
      ids.map((id) => row(id, "1")),
    );
    await apply(untended);
    for (const rest of [0, 1]) {
      const deleted = ids.filter((id) => id % 7 === rest);
      await log.changes(
        numbers,
        deleted.map((id) => ({ op: 2 as const, row: { id: String(id) } })),
      );
      await log.commit();
      await apply(untended);
    }
    const before = await rowsOf();
    const vectors = () => readdirSync(path()).filter((name) => name.startsWith("deletion_vector"));
    expect(vectors()).toHaveLength(2);
    const table = await DeltaTable.open(path(), session);
    expect(await vacuumTable(table, hourMs, Date.now() + 2 * hourMs)).toMatchObject({ files: 1 });
    expect(vectors()).toHaveLength(1);
    expect(await rowsOf()).toEqual(before);
  });

  it("deletes what a crashed batch has left when it is old enough, and nothing of other engines", async () => {
    await work(1);
    const names = [
      "part-crashed.parquet",
      "deletion_vector_crashed.bin",
      "_change",
      "part-joined.parquet",
      "notes.txt",
    ];
    for (const name of names) writeFileSync(join(path(), name), "");
    // A file that joined the table is as young as its name there, whatever its content's time.
    utimesSync(join(path(), "part-joined.parquet"), 0, 0);
    const table = await DeltaTable.open(path(), session);
    expect(await vacuumTable(table, hourMs)).toMatchObject({ files: 0 });
    const left = await vacuumTable(table, hourMs, Date.now() + 2 * hourMs);
    expect(left.files).toBeGreaterThanOrEqual(3);
    expect(readdirSync(path())).toEqual(expect.arrayContaining(["_change", "notes.txt"]));
    expect(await rowsOf()).toHaveLength(100);
  });
});

it.each([
  [[], 0],
  [[1, 2], 0],
  [[0, 1, 2], 3],
  [[0, 1, 3], 2],
  [[0, 2, 3, 4, 5], 1],
])("the first row of %j that isn't deleted is %d", (rows, first) => {
  expect(firstGap(Uint32Array.from(rows))).toBe(first);
});

// Contract: the log is what the Delta protocol says: put-if-absent commits, gaps and damage refused, unknown features
// refused, a snapshot from a checkpoint equal to one from the whole log.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Action } from "../../../../runtime/destination/delta/actions";
import { commitName, putDeltaCommit, readDeltaCommit } from "../../../../runtime/destination/delta/delta-log";
import { DeltaTable } from "../../../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../../../runtime/destination/duckdb-session";

const root = mkdtempSync(join(tmpdir(), "sluice-delta-"));
let session: DuckDbSession;
let path: string;
let tables = 0;

beforeAll(async () => {
  session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: join(root, "spill") });
});
afterAll(async () => {
  await session.close();
  rmSync(root, { recursive: true });
});
beforeEach(() => {
  path = join(root, `t${tables++}`);
});

const features = ["columnMapping", "deletionVectors"];
const start: Action[] = [
  { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: features, writerFeatures: features } },
  {
    metaData: {
      id: "1",
      format: { provider: "parquet", options: {} },
      schemaString: '{"type":"struct","fields":[]}',
      partitionColumns: [],
      configuration: { "delta.columnMapping.mode": "name" },
      createdTime: 1,
    },
  },
];
const vector = { storageType: "i", pathOrInlineDv: "abcde", sizeInBytes: 4, cardinality: 1 } as const;

function add(name: string, deleted = false): Action {
  const common = { path: name, partitionValues: {}, size: 10, modificationTime: 1, dataChange: true };
  return { add: { ...common, stats: '{"numRecords":5}', ...(deleted ? { deletionVector: vector } : {}) } };
}

function remove(name: string, deleted = false): Action {
  const deletionTimestamp = Date.now();
  return {
    remove: { path: name, deletionTimestamp, dataChange: true, ...(deleted ? { deletionVector: vector } : {}) },
  };
}

describe("DeltaTable", () => {
  it("is absent before its first commit", async () => {
    const table = await DeltaTable.open(path, session);
    expect(table.exists).toBe(false);
    expect(await table.commit(start)).toBe(true);
    expect(table.snapshot.version).toBe(0);
  });

  it("says so when a rival was first, and reads what the rival wrote", async () => {
    const [ours, rival] = [await DeltaTable.open(path, session), await DeltaTable.open(path, session)];
    await ours.commit(start);
    expect(await rival.commit(start)).toBe(false);
    await rival.refresh();
    expect(await rival.commit([add("r")])).toBe(true);
    expect(await ours.commit([add("o")])).toBe(false);
    expect([...ours.snapshot.files.keys()]).toEqual([]);
    await ours.refresh();
    expect(await ours.commit([add("o")])).toBe(true);
    expect([...ours.snapshot.files.keys()]).toEqual(["r", "o"]);
    expect(readdirSync(join(path, "_delta_log")).sort()).toEqual([0, 1, 2].map(commitName));
  });

  it("puts each version once among many writers", async () => {
    const won = await Promise.all(Array.from({ length: 20 }, () => putDeltaCommit(path, 0, start)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(await readDeltaCommit(path, 0)).toEqual(start);
  });

  it("reads the same from a checkpoint as from the log", async () => {
    const table = await DeltaTable.open(path, session);
    await table.commit([...start, add("a"), add("b"), { txn: { appId: "x", version: 3 } }]);
    await table.commit([remove("a"), add("a", true), remove("b"), { txn: { appId: "x", version: 4, lastUpdated: 7 } }]);
    await table.commit([{ commitInfo: { sluice: { sequence: 4, upserted: 1, deleted: 2, durationMs: 3 } } }, add("c")]);
    await table.writeCheckpoint();
    await table.commit([remove("a", true)]);
    for (const version of [0, 1]) rmSync(join(path, "_delta_log", commitName(version)));
    const read = await DeltaTable.open(path, session);
    expect([...read.snapshot.files.keys()]).toEqual(["c"]);
    expect(read.snapshot.txns.get("x")).toEqual({ appId: "x", version: 4, lastUpdated: 7 });
    expect(read.snapshot.tombstones.size).toBe(table.snapshot.tombstones.size);
    expect(read.snapshot.metaData).toMatchObject({ id: "1", configuration: { "delta.columnMapping.mode": "name" } });
    expect(read.snapshot.protocol).toEqual(start[0].protocol);
    expect(read.snapshot.newestOwn).toMatchObject({ upserted: 1, deleted: 2 });
  });

  it("refuses a log with a gap", async () => {
    const table = await DeltaTable.open(path, session);
    for (const actions of [start, [add("a")], [add("b")]]) await table.commit(actions);
    rmSync(join(path, "_delta_log", commitName(1)));
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({ kind: "destination" });
  });

  it("refuses damaged commits", async () => {
    mkdirSync(join(path, "_delta_log"), { recursive: true });
    writeFileSync(join(path, "_delta_log", commitName(0)), '{"add":{"path":');
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({ kind: "destination" });
  });

  it("refuses features that it doesn't know", async () => {
    const protocol = { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: ["v2Checkpoint"], writerFeatures: [] };
    await putDeltaCommit(path, 0, [{ protocol }, start[1]]);
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("v2Checkpoint"),
    });
  });
});

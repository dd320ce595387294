// Contract: the log is what the Delta protocol says: put-if-absent commits, gaps and damage refused, unknown features
// refused, a snapshot from a checkpoint equal to one from the whole log.
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Action } from "../../../../runtime/destination/delta/actions";
import { encodeUuid } from "../../../../runtime/destination/delta/base85";
import { writeCheckpoint } from "../../../../runtime/destination/delta/checkpoint";
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
    const paths = async (of: DeltaTable) => (await of.tombstones(0)).map((each) => each.path).sort();
    expect(await paths(read)).toEqual(await paths(table));
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

  it("reads a checkpoint of several files, and none of an unfinished one", async () => {
    const table = await DeltaTable.open(path, session);
    await table.commit([...start, ...Array.from({ length: 9 }, (_, index) => add(`f${index}`))]);
    await writeCheckpoint(path, table.snapshot, session, Date.now(), 4);
    const folder = join(path, "_delta_log");
    const parts = readdirSync(folder).filter((name) => name.includes(".checkpoint."));
    expect(parts.sort()).toEqual(
      [1, 2, 3].map((part) => `${"0".repeat(20)}.checkpoint.000000000${part}.0000000003.parquet`),
    );
    expect(JSON.parse(readFileSync(join(folder, "_last_checkpoint"), "utf8"))).toMatchObject({
      version: 0,
      size: 11,
      parts: 3,
    });
    await table.commit([add("last")]);
    copyFileSync(join(folder, parts[0]), join(folder, `${"0".repeat(19)}1.checkpoint.0000000001.0000000002.parquet`));
    rmSync(join(folder, commitName(0)));
    expect([...(await DeltaTable.open(path, session)).snapshot.files.keys()]).toHaveLength(10);
  });

  it("takes tombstones over from checkpoint to checkpoint until they are over, and keeps few in memory", async () => {
    const table = await DeltaTable.open(path, session);
    const configuration = { "delta.deletedFileRetentionDuration": "interval 1 hour" };
    const nowMs = Date.now();
    const removed = (name: string, deletionTimestamp = nowMs): Action => ({
      remove: { ...(remove(name).remove as NonNullable<Action["remove"]>), deletionTimestamp },
    });
    const left = async (of = table) => (await of.tombstones(nowMs - 3_600_000)).map((each) => each.path).sort();
    await table.commit([
      start[0],
      { metaData: { ...(start[1].metaData as NonNullable<Action["metaData"]>), configuration } },
    ]);
    await table.commit(["a", "b", "c", "d", "e"].map((name) => add(name)));
    await table.commit([removed("a", nowMs - 7_200_000), removed("b"), removed("c")]);
    await table.writeCheckpoint();
    expect(table.snapshot.tombstones.size).toBe(0);
    expect(await left()).toEqual(["b", "c"]);
    await table.commit([add("b"), removed("d")]);
    await table.writeCheckpoint();
    expect(await left()).toEqual(["c", "d"]);
    const again = await DeltaTable.open(path, session);
    await again.commit([removed("e")]);
    await writeCheckpoint(path, again.snapshot, session, nowMs, 3);
    expect(await left(again)).toEqual(["c", "d", "e"]);
    expect([...again.snapshot.files.keys()]).toEqual(["b"]);
    // Those of before are over by then.
    await again.commit([add("f")]);
    await writeCheckpoint(path, again.snapshot, session, nowMs + 3_700_000);
    expect(await left(await DeltaTable.open(path, session))).toEqual([]);
    for (const name of readdirSync(join(path, "_delta_log")))
      if (name.includes(".checkpoint")) rmSync(join(path, "_delta_log", name));
    await expect(again.tombstones(0)).rejects.toThrow("the checkpoint of version 5 is missing");
  });

  it("keeps one tombstone for a file of vectors that files had which are still there", async () => {
    const table = await DeltaTable.open(path, session);
    const vector = (storageType: "u" | "i", pathOrInlineDv: string, offset?: number) => ({
      deletionVector: { storageType, pathOrInlineDv, offset, sizeInBytes: 40, cardinality: 1 },
    });
    const change = (name: string, before: object, after: object): Action[] => [
      { remove: { ...(remove(name).remove as NonNullable<Action["remove"]>), ...before } },
      { add: { ...(add(name).add as NonNullable<Action["add"]>), ...after } },
    ];
    const [first, second] = [encodeUuid(crypto.randomUUID()), encodeUuid(crypto.randomUUID())];
    await table.commit([...start, ...["a", "b", "c"].map((name) => add(name))]);
    await table.commit([
      ...change("a", {}, vector("u", first, 1)),
      ...change("b", {}, vector("u", first, 50)),
      ...change("c", {}, vector("i", "inline")),
    ]);
    expect(table.snapshot.tombstones.size).toBe(0);
    await table.commit([
      ...change("a", vector("u", first, 1), vector("u", second, 1)),
      ...change("b", vector("u", first, 50), vector("u", second, 50)),
      ...change("c", vector("i", "inline"), vector("u", second, 99)),
    ]);
    expect([...table.snapshot.tombstones.values()].map(({ deletionVector }) => deletionVector?.pathOrInlineDv)).toEqual(
      [first],
    );
    await table.commit([
      { remove: { ...(remove("c").remove as NonNullable<Action["remove"]>), ...vector("u", second, 99) } },
    ]);
    expect(table.snapshot.tombstones.size).toBe(2);
  });

  it("refuses a damaged checkpoint, and one of a kind that it doesn't know", async () => {
    const table = await DeltaTable.open(path, session);
    for (const actions of [start, [add("a")], [add("b")]]) await table.commit(actions);
    const folder = join(path, "_delta_log");
    rmSync(join(folder, commitName(0)));
    writeFileSync(join(folder, `${"0".repeat(19)}1.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json`), "{}");
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({ kind: "unsupported" });
    writeFileSync(join(folder, `${"0".repeat(19)}1.checkpoint.parquet`), "PAR1");
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({
      kind: "destination",
      message: expect.stringContaining("checkpoint.parquet is damaged"),
    });
  });

  it("keeps of its log what versions within the retention need", async () => {
    const table = await DeltaTable.open(path, session);
    const configuration = { "delta.logRetentionDuration": "interval 2 days" };
    const metaData = { ...(start[1].metaData as NonNullable<Action["metaData"]>), configuration };
    await table.commit([start[0], { metaData }]);
    const age = (version: number, days: number) => {
      const at = new Date(Date.now() - days * 86_400_000);
      utimesSync(join(path, "_delta_log", commitName(version)), at, at);
    };
    for (let version = 1; version <= 6; version++) {
      await table.commit([add(`f${version}`)]);
      if (version % 2 === 0) await table.writeCheckpoint();
      age(version, [9, 8, 7, 6, 1, 1][version - 1]);
    }
    age(0, 10);
    await (await DeltaTable.open(path, session)).writeCheckpoint();
    const names = readdirSync(join(path, "_delta_log")).filter((name) => name.endsWith(".json"));
    expect(names.sort()).toEqual([4, 5, 6].map(commitName));
    expect((await DeltaTable.open(path, session)).snapshot.files.size).toBe(6);
    expect((await DeltaTable.openVersion(path, 5, session)).snapshot.files.size).toBe(5);
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

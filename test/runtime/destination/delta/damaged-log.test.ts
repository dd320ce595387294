// Contract: a damaged Delta log is refused with the file that is wrong, or read from what is whole, never as another table:
// missing versions, cut or empty commits, damaged checkpoints, checkpoints of unknown features, a hint that is wrong.
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Action } from "../../../../runtime/destination/delta/actions";
import { writeCheckpoint } from "../../../../runtime/destination/delta/checkpoint";
import { commitName, DamagedLogError } from "../../../../runtime/destination/delta/delta-log";
import { DeltaTable } from "../../../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../../../runtime/destination/duckdb-session";

const root = mkdtempSync(join(tmpdir(), "sluice-damaged-"));
const whole = join(root, "whole");
const newest = 12;
const checkpointName = (version: number) => `${String(version).padStart(20, "0")}.checkpoint.parquet`;
let session: DuckDbSession;
let path: string;
let tables = 0;

const inLog = (name: string) => join(path, "_delta_log", name);
const contentOf = async (table: DeltaTable, { snapshot } = table) => ({
  version: snapshot.version,
  files: [...snapshot.files.values()].map(({ path: name, size, stats }) => [name, size, stats]).sort(),
  tombstones: (await table.tombstones(0)).map((each) => `${each.path} ${each.deletionVector?.pathOrInlineDv}`).sort(),
  txns: [...snapshot.txns.values()].map(({ appId, version }) => [appId, version]).sort(),
  metaData: snapshot.metaData?.id,
  protocol: snapshot.protocol,
});

function protocol(...features: string[]): Action {
  return { protocol: { minReaderVersion: 3, minWriterVersion: 7, readerFeatures: features, writerFeatures: features } };
}

beforeAll(async () => {
  session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: join(root, "spill") });
  const table = await DeltaTable.open(whole, session);
  const schemaString = '{"type":"struct","fields":[]}';
  const metaData = { id: "1", format: { provider: "parquet" }, schemaString, partitionColumns: [], configuration: {} };
  await table.commit([protocol("columnMapping", "deletionVectors"), { metaData }]);
  for (let version = 1; version <= newest; version++) {
    const common = { partitionValues: {}, size: version, dataChange: true };
    const stats = `{"numRecords":${version}}`;
    await table.commit([
      { commitInfo: { sluice: { sequence: version, upserted: version, deleted: 0, durationMs: 1 } } },
      { txn: { appId: "a", version } },
      ...(version % 3 === 0
        ? [{ remove: { path: `f${version - 1}`, deletionTimestamp: Date.now(), dataChange: true } }]
        : []),
      { add: { ...common, path: `f${version}`, modificationTime: 1, stats } },
    ]);
    if (version % 5 === 0) await table.writeCheckpoint();
  }
});
afterAll(async () => {
  await session.close();
  rmSync(root, { recursive: true });
});
beforeEach(() => {
  path = join(root, `t${tables++}`);
  cpSync(whole, path, { recursive: true });
});

const withoutCommitsBefore = (version: number) => {
  for (let old = 0; old < version; old++) rmSync(inLog(commitName(old)));
};
const refused = async (what: string) => {
  const error: unknown = await DeltaTable.open(path, session).then(
    () => null,
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(DamagedLogError);
  expect(error).toMatchObject({ kind: "destination", message: expect.stringContaining(what) });
  expect((error as DamagedLogError).remedy).toContain("sluice resync");
};

describe("a version that is missing", () => {
  it.each([11, 12])("is told: %i", async (version) => {
    rmSync(inLog(commitName(version)));
    if (version < newest) await refused("version 11 is missing");
    else expect((await DeltaTable.open(path, session)).snapshot.version).toBe(11);
  });

  it("is told when the log has no start", async () => {
    for (const version of [5, 10]) rmSync(inLog(checkpointName(version)));
    rmSync(inLog(commitName(0)));
    await refused("version 0 is missing");
  });
});

describe("a commit", () => {
  it("that is cut anywhere within a line is refused", async () => {
    const text = readFileSync(inLog(commitName(newest)));
    for (let length = 0; length < text.length; length += 7) {
      if (text[length] === 10 || text[length - 1] === 10) continue;
      writeFileSync(inLog(commitName(newest)), text.subarray(0, length));
      await refused(commitName(newest));
    }
  });

  it.each([
    ["zeros", Buffer.alloc(300)],
    ["another format", Buffer.from("PAR1\u0015\u0004")],
    ["a list", Buffer.from("[1]\n")],
    ["a field of another type", Buffer.from('{"add":{"path":7}}\n')],
    ["blank lines", Buffer.from("\n \n")],
  ])("of %s is refused", async (_, content) => {
    writeFileSync(inLog(commitName(newest)), content);
    await refused(commitName(newest));
  });

  it("with actions that no known feature has is read", async () => {
    const text = readFileSync(inLog(commitName(newest)), "utf8");
    writeFileSync(inLog(commitName(newest)), `${text}{"future":{"a":1}}\n`);
    expect((await DeltaTable.open(path, session)).snapshot.version).toBe(newest);
  });
});

const damages: [string, (content: Buffer) => Buffer | string][] = [
  ["empty", () => ""],
  ["cut", (content) => content.subarray(0, content.length / 2)],
  ["zeros where its data was", (content) => Buffer.from(content).fill(0, 4, Math.floor(content.length / 2))],
  ["text", () => "{}"],
];

describe("a checkpoint that is damaged", () => {
  it.each(damages)("%s: the commits since the one before it are read", async (_, damage) => {
    const expected = await contentOf(await DeltaTable.open(path, session));
    writeFileSync(inLog(checkpointName(10)), damage(readFileSync(inLog(checkpointName(10)))));
    withoutCommitsBefore(6);
    const table = await DeltaTable.open(path, session);
    expect(await contentOf(table)).toEqual(expected);
    expect(table.damage).toEqual([expect.stringContaining(checkpointName(10))]);
    expect((await DeltaTable.openVersion(path, 11, session)).snapshot.version).toBe(11);
    // The next one takes its place, as others would build on it.
    expect(table.checkpointIsDue).toBe(true);
    await table.writeCheckpoint();
    expect(readdirSync(join(path, "_delta_log"))).not.toContain(checkpointName(10));
    const read = await DeltaTable.open(path, session);
    expect([await contentOf(read), read.damage]).toEqual([expected, []]);
  });

  it.each(damages)("%s: it is refused when commits before it are gone", async (_, damage) => {
    for (const version of [5, 10]) writeFileSync(inLog(checkpointName(version)), damage(Buffer.alloc(1000, 1)));
    withoutCommitsBefore(1);
    await refused(checkpointName(10));
  });

  it("all of them: the whole log is read", async () => {
    const expected = await contentOf(await DeltaTable.open(path, session));
    for (const version of [5, 10]) writeFileSync(inLog(checkpointName(version)), "");
    const table = await DeltaTable.open(path, session);
    expect(await contentOf(table)).toEqual(expected);
    expect(table.damage).toHaveLength(2);
  });

  it("another Parquet file: it isn't an empty table", async () => {
    await session.run(`COPY (SELECT 1 AS add_me) TO '${inLog(checkpointName(10))}' (FORMAT parquet)`);
    withoutCommitsBefore(11);
    await refused("has no protocol");
  });
});

describe("a checkpoint", () => {
  it("of a feature that isn't known is refused by its name", async () => {
    const table = await DeltaTable.open(path, session);
    table.snapshot.apply(newest + 1, [protocol("deletionVectors", "timeMachine")]);
    await writeCheckpoint(path, table.snapshot, session);
    await expect(DeltaTable.open(path, session)).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("timeMachine"),
      remedy: expect.stringContaining("DROP FEATURE"),
    });
  });

  it.each(['{"version":900}', "garbage", "", '{"version":5,"parts":3}'])(
    "is found whatever the hint says: %s",
    async (hint) => {
      const expected = await contentOf(await DeltaTable.open(path, session));
      writeFileSync(inLog("_last_checkpoint"), hint);
      withoutCommitsBefore(9);
      const table = await DeltaTable.open(path, session);
      expect(await contentOf(table)).toEqual(expected);
      await table.writeCheckpoint();
      expect(JSON.parse(readFileSync(inLog("_last_checkpoint"), "utf8"))).toMatchObject({ version: newest });
    },
  );
});

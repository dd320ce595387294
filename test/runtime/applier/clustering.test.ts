// Contract: a table with clusterBy is a clustered table of Delta (protocol, "Clustered Table"): its features, the domain
// delta.clustering with the physical names of its columns, statistics of them in every file. What others have clustered, and
// what else they keep in domains, stays as it is. Rows are the source's all the while (invariants 3 and 4).
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import type { Action, AddFile } from "../../../runtime/destination/delta/actions";
import { DeltaTable } from "../../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../../runtime/destination/duckdb-session";
import { compactTable, nextCompaction } from "../../../runtime/destination/table-compaction";
import { defaultTableOptions, type NamedTableOptions, tableOptionsListSchema } from "../../../runtime/table-options";
import { readDeltaRows } from "../../support/delta-reader";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText } from "./staged-model";

let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const items = tableSchema("1", "items", { id: "long*", kind: "string", rank: "long" });
const options = (changes: Partial<NamedTableOptions> = {}): NamedTableOptions => ({
  ...defaultTableOptions,
  schema: "public",
  name: "items",
  ...changes,
});
const untended = { ...eagerMaintenance, compaction: false, vacuum: false };
const apply = (table: NamedTableOptions, changes: Partial<ApplierConfig> = {}) =>
  runApplier(log.config({ tables: [table], maintenance: untended, ...changes }), {
    signal: new AbortController().signal,
    version: "0.0.0",
  });
const path = () => join(log.destination, "public", "items");
const logFolder = () => join(path(), "_delta_log");
const rows = async () => (await readDeltaRows(path())).map(deltaRowText).sort();
const row = (id: number) => ({ id: `${id}`, kind: `'k${id % 3}'`, rank: `${(id * 37) % 101}` });
const text = (id: number) => [id, `k${id % 3}`, (id * 37) % 101].join("|");
const sorted = (ids: number[]) => ids.map(text).sort();
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => from + at);

/** Stages rows with these ids, and applies them. */
async function insert(ids: number[], table: NamedTableOptions, schema = items): Promise<void> {
  await log.changes(
    schema,
    ids.map((id) => ({ op: 0, row: row(id) })),
  );
  await log.commit();
  await apply(table);
}

function commits(): Action[][] {
  const names = readdirSync(logFolder()).filter((name) => /^\d{20}\.json$/.test(name));
  return names.sort().map((name) =>
    readFileSync(join(logFolder(), name), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Action),
  );
}
const newest = () => commits().at(-1) ?? [];
const adds = (actions: Action[]) => actions.flatMap(({ add }) => add ?? []);
const domains = (actions: Action[]) => actions.flatMap(({ domainMetadata }) => domainMetadata ?? []);
const clustering = (...columns: string[]) => ({
  domain: "delta.clustering",
  configuration: JSON.stringify({ clusteringColumns: columns.map((each) => [each]), domainName: "delta.clustering" }),
  removed: false,
});

/** A commit of somebody else. */
function commitBeside(actions: object[]): void {
  const name = `${String(commits().length).padStart(20, "0")}.json`;
  writeFileSync(join(logFolder(), name), actions.map((action) => `${JSON.stringify(action)}\n`).join(""), {
    flag: "wx",
  });
}

async function withTable<T>(use: (table: DeltaTable, session: DuckDbSession) => Promise<T>): Promise<T> {
  const spill = join(log.folder, "spill");
  const session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: spill });
  try {
    return await use(await DeltaTable.open(path(), session), session);
  } finally {
    await session.close();
  }
}

describe("a table with clusterBy", () => {
  const clustered = options({ clusterBy: ["rank", "kind"] });

  it("is a clustered table, to writers only, and compaction keeps its order", async () => {
    await log.snapshot(items, [row(0)]);
    await apply(clustered);
    const [first] = commits();
    const { protocol } = first.find((action) => action.protocol) ?? {};
    expect(protocol?.writerFeatures).toEqual(["clustering", "columnMapping", "deletionVectors", "domainMetadata"]);
    expect(protocol?.readerFeatures).toEqual(["columnMapping", "deletionVectors"]);
    expect(domains(first)).toEqual([clustering("c3", "c2")]);
    await insert(range(1, 20), clustered);
    await insert(range(20, 40), clustered);
    // Said once.
    expect(commits().slice(1).flatMap(domains)).toEqual([]);
    await log.commit();
    await apply(clustered, { maintenance: eagerMaintenance });
    const ranks = (await readDeltaRows(path())).map(({ rank }) => Number(rank));
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    expect(adds(newest()).map(({ clusteringProvider }) => clusteringProvider)).toEqual([undefined]);
    expect(await rows()).toEqual(sorted(range(0, 40)));
  });

  it("gets other columns, and none, in place", async () => {
    await log.snapshot(items, [row(0)]);
    await apply(clustered);
    await insert([1], options({ clusterBy: ["kind"] }));
    expect(domains(newest())).toEqual([clustering("c2")]);
    await insert([2], options());
    expect(domains(newest())).toEqual([clustering()]);
    await insert([3], options());
    expect(domains(newest())).toEqual([]);
    await insert([4], clustered);
    expect(domains(newest())).toEqual([clustering("c3", "c2")]);
    expect(commits().filter((each) => each.some(({ protocol }) => protocol))).toHaveLength(1);
    expect(await rows()).toEqual(sorted(range(0, 5)));
  });

  it("follows the names of its columns, and is clustered by what is left when one is dropped", async () => {
    const named = { ...clustered, columnMapping: false };
    await log.snapshot(items, [row(0)]);
    await apply(named);
    expect(domains(newest())).toEqual([clustering("rank", "kind")]);
    const renamed = tableSchema("1", "items", { id: "long*", sort: "string", rank: "long" }, 2);
    await log.schemaChange(renamed);
    await log.commit();
    await apply(named);
    expect(domains(newest())).toEqual([clustering("rank", "sort")]);
    await log.schemaChange({ ...renamed, schemaId: 3, columns: renamed.columns.filter(({ name }) => name !== "rank") });
    await log.commit();
    await apply(named);
    expect(domains(newest())).toEqual([clustering("sort")]);
    expect(await rows()).toEqual(["0|k0"]);
  });

  it("that an earlier version made is one from its next change on: all its files tell of the columns then", async () => {
    const wide = tableSchema("1", "items", {
      id: "long*",
      ...Object.fromEntries(range(0, 40).map((at) => [`f${at}`, "long"])),
    });
    const wanted = options({ clusterBy: ["f39"] });
    const wideRow = (id: number) => ({ id: `${id}`, f39: `${100 - id}` });
    await log.snapshot(wide, [wideRow(0), wideRow(1)]);
    await apply(options());
    await log.changes(wide, [{ op: 2, row: wideRow(1) }]);
    await log.commit();
    await apply(options());
    expect(JSON.parse(adds(newest())[0].stats as string).nullCount).not.toHaveProperty("c41");
    await log.changes(wide, [{ op: 0, row: wideRow(2) }]);
    await log.commit();
    await apply(wanted);
    expect(domains(newest())).toEqual([clustering("c41")]);
    expect(newest().find((action) => action.protocol)?.protocol?.writerFeatures).toContain("clustering");
    const told = adds(newest()).map(({ stats, dataChange }) => {
      const { minValues, maxValues, nullCount, tightBounds } = JSON.parse(stats as string);
      return [dataChange, minValues.c41, maxValues.c41, nullCount.c41, tightBounds];
    });
    expect(told.sort()).toEqual([
      [false, 99, 100, 0, false],
      [true, 98, 98, 0, true],
    ]);
    expect((await readDeltaRows(path())).map(({ id, f39 }) => `${id}|${f39}`).sort()).toEqual(["0|100", "2|98"]);
  });

  it("with partitionBy is none, and stops to be one when it gets partitions", async () => {
    const parted = options({ partitionBy: ["kind"], clusterBy: ["rank"], onChange: "refresh" });
    await log.snapshot(items, [row(0)]);
    await apply(clustered);
    await log.snapshot(items, range(0, 6).map(row), "again");
    await apply(parted);
    expect(domains(newest())).toEqual([{ ...clustering("c3", "c2"), removed: true }]);
    const protocol = newest().find((action) => action.protocol)?.protocol;
    expect(protocol?.writerFeatures).toEqual(["columnMapping", "deletionVectors", "domainMetadata"]);
    expect(await rows()).toEqual(sorted(range(0, 6)));
  });

  it.each([
    ["boolean", "flag"],
    ["binary", "raw"],
  ])("can't have a column of %s there: nothing is written", async (type, name) => {
    await log.snapshot(tableSchema("1", "items", { id: "long*", [name]: type }), []);
    await expect(apply(options({ clusterBy: [name] }))).rejects.toThrow(
      `can't be clustered by column ${name}, which has the Delta type ${type}`,
    );
    expect(existsSync(path())).toBe(false);
  });

  it("has four of them at most", () => {
    const parsed = tableOptionsListSchema.safeParse([options({ clusterBy: ["a", "b", "c", "d", "e"] })]);
    expect(parsed.error?.issues[0].message).toContain("Delta's clustering takes 4 at most");
  });
});

describe("what others have done to a table", () => {
  const plain = options();
  const other = { domain: "org.example.notes", configuration: "by hand", removed: false };
  const byOthers = [
    {
      protocol: {
        minReaderVersion: 3,
        minWriterVersion: 7,
        readerFeatures: ["columnMapping", "deletionVectors"],
        writerFeatures: ["clustering", "columnMapping", "deletionVectors", "domainMetadata"],
      },
    },
    { domainMetadata: clustering("c3") },
    { domainMetadata: other },
  ];

  it("stays: clustering columns that no option gives, and domains that mean nothing here, over checkpoints too", async () => {
    await log.snapshot(items, [row(0)]);
    await apply(plain);
    commitBeside(byOthers);
    await insert([1], plain);
    expect(newest().filter(({ protocol, domainMetadata }) => protocol ?? domainMetadata)).toEqual([]);
    await withTable((table) => table.writeCheckpoint());
    const older = commits().length - 1;
    for (let version = 0; version < older; version++) {
      rmSync(join(logFolder(), `${String(version).padStart(20, "0")}.json`));
    }
    await withTable(async ({ snapshot }) => {
      expect([...snapshot.domains.values()]).toEqual([clustering("c3"), other]);
      expect(snapshot.protocol?.writerFeatures).toContain("clustering");
    });
    expect(await rows()).toEqual(sorted([0, 1]));
  });

  it("orders what compaction writes", async () => {
    await log.snapshot(items, range(0, 20).map(row));
    await apply(plain);
    commitBeside(byOthers);
    await insert(range(20, 40), plain);
    await log.commit();
    await apply(plain, { maintenance: eagerMaintenance });
    const ranks = (await readDeltaRows(path())).map(({ rank }) => Number(rank));
    expect(ranks).toHaveLength(40);
    expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
  });

  it("to a file stays: it is neither merged nor ordered otherwise, and keeps who has clustered it", async () => {
    const clusteredBySpark = { clusteringProvider: "liquid", tags: { ZCUBE_ID: "z", ZCUBE_ZORDER_CURVE: "hilbert" } };
    const about = ({ clusteringProvider, tags }: AddFile) => ({ clusteringProvider, tags });
    const clustered = options({ clusterBy: ["rank"] });
    await log.snapshot(items, range(0, 20).map(row));
    await apply(clustered);
    const [add] = adds(newest());
    commitBeside([{ add: { ...add, ...clusteredBySpark, dataChange: false } }]);
    // Its rows are in the order of their ids.
    await log.changes(items, [{ op: 2, row: row(3) }]);
    await insert(range(20, 24), clustered);
    await insert(range(24, 28), clustered);
    await withTable((table) => table.writeCheckpoint());
    await withTable(async ({ snapshot }) => {
      expect(about(snapshot.files.get(add.path) as AddFile)).toEqual(clusteredBySpark);
    });
    const fewDeleted = { ...eagerMaintenance, deletedShareMin: 0.5 };
    await log.commit();
    await apply(clustered, { maintenance: fewDeleted });
    const kept = await withTable(async ({ snapshot }) => [...snapshot.files.values()]);
    expect(kept.map(({ path: file }) => file === add.path)).toEqual([true, false]);

    const purged = await withTable(async (table, session) => {
      const context = { session, engineInfo: "test", orderBy: ["c1"] };
      const part = { kind: "part", file: add.path, rows: 7, reason: "deleted-rows" } as const;
      expect(await compactTable(table, part, context)).toMatchObject({ filesAdded: 1 });
      expect(adds(newest()).map(about)).toEqual([clusteredBySpark, clusteredBySpark]);
      for (;;) {
        const step = nextCompaction(table, { filesMin: 2, deletedShareMin: 0.01 }, 1024 ** 3);
        if (step === null) return [...table.snapshot.files.values()];
        await compactTable(table, step, context);
      }
    });
    const theirs = purged.filter(({ clusteringProvider }) => clusteringProvider === "liquid");
    expect(theirs.map(about)).toEqual([clusteredBySpark, clusteredBySpark]);
    expect(purged.every(({ deletionVector }) => !deletionVector)).toBe(true);
    for (const { path: file } of theirs) {
      const ids = (await readDeltaRows(path(), undefined, (each) => each === file)).map(({ id }) => Number(id));
      expect(ids).toEqual([...ids].sort((a, b) => a - b));
    }
    expect(await rows()).toEqual(sorted(range(0, 28).filter((id) => id !== 3)));
  });
});

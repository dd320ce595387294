// Contract: tables that Spark and delta-rs wrote are read as Spark reads them, by the runtime and by the tests' reader, and
// can be gone on with; those that need what this writer doesn't keep to are refused by its name.
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DeltaTable } from "../../../../runtime/destination/delta/delta-table";
import { DuckDbSession } from "../../../../runtime/destination/duckdb-session";
import { compactTable } from "../../../../runtime/destination/table-compaction";
import { sparkTables } from "../../../lanes/golden-sources";
import { continueTable, goldenFolder, goldenTables, readLines } from "../../../support/golden-tables";

const root = mkdtempSync(join(tmpdir(), "sluice-golden-"));
let session: DuckDbSession;

beforeAll(async () => {
  session = await DuckDbSession.open({ memoryBytesMax: 128 * 1024 * 1024, temporaryPath: join(root, "spill") });
});
afterAll(async () => {
  await session.close();
  rmSync(root, { recursive: true });
});

const copyOf = (name: string) => {
  const path = join(root, name);
  cpSync(join(goldenFolder, name), path, { recursive: true });
  return path;
};

describe("a table of others", () => {
  it("is there for each kind", () => {
    expect(goldenTables.length).toBeGreaterThanOrEqual(7);
  });

  it.each(goldenTables)("$name is read, gone on with and compacted", async ({ name, rows }) => {
    const path = copyOf(name);
    expect(await readLines(path)).toEqual([...rows].sort());
    const expected = await continueTable(path, session);
    expect(await readLines(path)).toEqual(expected);
    // Without the commits before our checkpoint.
    const table = await DeltaTable.open(path, session);
    for (const file of readdirSync(join(path, "_delta_log"))) {
      if (/^\d+\.(json|checkpoint\.)/.test(file) && Number.parseInt(file, 10) < table.snapshot.version) {
        rmSync(join(path, "_delta_log", file));
      }
    }
    expect(await readLines(path)).toEqual(expected);
    const again = await DeltaTable.open(path, session);
    expect([...again.snapshot.files.keys()].sort()).toEqual([...table.snapshot.files.keys()].sort());
    if (!expectCompactable(again)) return;
    const adds = [...again.snapshot.files.values()];
    const partition = JSON.stringify(adds[0].partitionValues);
    const files = adds.filter((add) => JSON.stringify(add.partitionValues) === partition).map((add) => add.path);
    const step = { kind: "merge" as const, files, reason: "small-files" as const };
    expect(await compactTable(again, step, { session, engineInfo: "test", orderBy: [] })).not.toBeNull();
    expect(await readLines(path)).toEqual(expected);
  });

  it("that Spark has clustered stays so, over its checkpoint and ours", async () => {
    const path = join(root, "clustered-again");
    cpSync(join(goldenFolder, "spark-clustered"), path, { recursive: true });
    const about = ({ snapshot }: DeltaTable) => ({
      domains: [...snapshot.domains.values()],
      features: snapshot.protocol?.writerFeatures,
      clustered: [...snapshot.files.values()].flatMap(({ path: file, clusteringProvider, tags }) =>
        clusteringProvider === "liquid" && tags?.ZCUBE_ID ? [file] : [],
      ),
    });
    const before = about(await DeltaTable.open(path, session));
    expect(before.features).toContain("clustering");
    expect(before.domains.map(({ domain }) => domain)).toEqual(["delta.clustering"]);
    expect(before.clustered).toHaveLength(1);
    await continueTable(path, session);
    expect(about(await DeltaTable.open(path, session))).toEqual(before);
  });
});

/** Compaction is for tables with column mapping. */
function expectCompactable({ snapshot }: DeltaTable): boolean {
  return snapshot.metaData?.configuration["delta.columnMapping.mode"] === "name";
}

describe("a table that is refused", () => {
  it.each(sparkTables.filter(({ refused }) => refused !== undefined && refused !== "appendOnly"))(
    "$name: for $refused",
    async ({ name, refused }) => {
      await expect(DeltaTable.open(join(goldenFolder, name), session)).rejects.toMatchObject({
        kind: "unsupported",
        message: expect.stringContaining(refused as string),
        remedy: expect.stringContaining("another destination path"),
      });
    },
  );

  it("one for appending alone takes no commit that removes rows", async () => {
    const table = await DeltaTable.open(copyOf("spark-append-only"), session);
    const [{ path }] = table.snapshot.files.values();
    const commit = table.commit([{ remove: { path, dataChange: true } }]);
    await expect(commit).rejects.toMatchObject({ kind: "unsupported", message: expect.stringContaining("appendOnly") });
    expect(await table.commit([{ remove: { path, dataChange: false } }])).toBe(true);
  });
});

// Contract: a partitioned table has in each file rows of one partition, whose values the log tells as the Delta protocol
// writes them, and is the source row for row (invariants 3 and 4); options that can't be are refused before anything is
// written.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type NamedTableOptions, tableOptionsListSchema } from "../../../runtime/table-options";
import { openDelta, readDeltaRows, readParquetColumns } from "../../support/delta-reader";
import { RuntimeProcess } from "../../support/runtime-process";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText } from "./staged-model";

let log: StagedLog;
beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const options = (name: string, changes: Partial<NamedTableOptions>): NamedTableOptions => ({
  ...defaultTableOptions,
  schema: "public",
  name,
  ...changes,
});
const apply = (table: NamedTableOptions, changes: Partial<ApplierConfig> = {}) =>
  runApplier(log.config({ tables: [table], maintenance: { ...eagerMaintenance, compaction: false }, ...changes }), {
    signal: new AbortController().signal,
    version: "0.0.0",
  });
const path = (name: string) => join(log.destination, "public", name);
const texts = async (name: string) => (await readDeltaRows(path(name))).map(deltaRowText).sort();

interface Add {
  path: string;
  partitionValues: Record<string, string | null>;
}
/** Actions of the newest commit. */
async function newest(name: string): Promise<{ adds: Add[]; metaData?: { partitionColumns: string[] } }> {
  const { version } = await openDelta(path(name));
  const text = readFileSync(join(path(name), "_delta_log", `${String(version).padStart(20, "0")}.json`), "utf8");
  const lines = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { add?: Add; metaData?: { partitionColumns: string[] } });
  const metaData = lines.find((line) => line.metaData)?.metaData;
  return { adds: lines.flatMap(({ add }) => add ?? []), metaData };
}

describe("partitions", () => {
  const odd = ["a/b=ü%", "it''s ''\"{}?*[x]#", " ", "..", "__HIVE_DEFAULT_PARTITION__", "a%2Fb", "null"];

  it("have values of every type, also none and odd ones, and rows move between them", async () => {
    const types = {
      kind: "string",
      day: "date",
      price: "decimal(20,2)",
      size: "integer",
      flag: "boolean",
      big: "long",
    };
    const schema = tableSchema("1", "items", { id: "long*", ...types, note: "string" });
    const row = (id: number, kind: string | null, day = "'2024-02-29'") => ({
      id: `${id}`,
      kind: kind === null ? null : `'${kind}'`,
      day: id % 3 === 0 ? null : day,
      price: id % 2 === 0 ? "-0.50" : "123456789012345678.99",
      size: id % 4 === 0 ? null : `${id - 3}`,
      flag: id % 3 === 1 ? "true" : id % 3 === 2 ? "false" : null,
      big: id % 2 === 0 ? null : "9007199254740993",
      note: `'n${id}'`,
    });
    const rows = [...odd, null, ""].map((kind, index) => row(index + 1, kind));
    const table = options("items", { partitionBy: Object.keys(types), changeDataFeed: true });
    await log.snapshot(schema, rows);
    await apply(table);
    const plain = (each: Record<string, string | null>) => {
      const value = (name: string) => each[name]?.replace(/^'|'$/g, "").replaceAll("''", "'") ?? "null";
      // Days since 1970; the empty text of a partition is NULL.
      const day = each.day === null ? "null" : String(Date.parse(value("day")) / 86_400_000);
      const kind = value("kind") === "" ? "null" : value("kind");
      return [each.id, kind, day, value("price"), value("size"), value("flag"), value("big"), value("note")].join("|");
    };
    expect(await texts("items")).toEqual(rows.map(plain).sort());
    const { adds, metaData } = await newest("items");
    expect(metaData?.partitionColumns).toEqual(Object.keys(types));
    expect(adds).toHaveLength(rows.length);
    expect(adds.find(({ partitionValues }) => partitionValues.c2 === "a/b=ü%")).toMatchObject({
      path: expect.stringMatching(
        /^c2=a%252Fb%253D%25C3%25BC%2525\/c3=2024-02-29\/c4=\d+\.99\/c5=-2\/c6=true\/c7=\d+\/part-/,
      ),
      partitionValues: { c3: "2024-02-29", c4: "123456789012345678.99", c5: "-2", c6: "true", c7: "9007199254740993" },
    });
    const { values } = await readParquetColumns(
      join(path("items"), decodeURIComponent(adds[0].path)),
      ["c1", "c2", "c7", "c8"].map((physicalName) => ({ physicalName })),
    );
    expect([...values].map(([name, [value]]) => [name, value !== null])).toEqual([
      ["c1", true],
      ["c2", false],
      ["c7", false],
      ["c8", true],
    ]);
    const moved = rows.map((each, index) => ({
      ...each,
      kind: rows[(index + 1) % rows.length].kind,
      day: "'1969-12-31'",
    }));
    await log.changes(
      schema,
      moved.map((each) => ({ op: 1, row: { ...each, note: null }, unchanged: ["note"] })),
    );
    await log.changes(schema, [{ op: 2, row: { id: "2" } }]);
    await log.commit();
    await apply(table);
    expect(await texts("items")).toEqual(
      moved
        .filter(({ id }) => id !== "2")
        .map(plain)
        .sort(),
    );
  });

  it("are compacted each by itself, in the order of clusterBy", async () => {
    const schema = tableSchema("1", "items", { id: "long*", kind: "string", rank: "long" });
    const table = options("items", { partitionBy: ["kind"], clusterBy: ["rank"] });
    const row = (id: number) => ({ id: `${id}`, kind: `'k${id % 3}'`, rank: `${(id * 37) % 101}` });
    await log.snapshot(schema, [row(0)]);
    for (let batch = 0; batch < 4; batch++) {
      const rows = Array.from({ length: 12 }, (_, at) => row(1 + batch * 12 + at));
      await log.changes(
        schema,
        rows.map((each) => ({ op: 0, row: each })),
      );
      await log.commit();
      await apply(table);
    }
    await log.commit();
    await apply(table, { maintenance: eagerMaintenance });
    const { files } = await openDelta(path("items"));
    expect(files.map((file) => file.path.split("/")[0]).sort()).toEqual(["c2=k0", "c2=k1", "c2=k2"]);
    const rows = await readDeltaRows(path("items"));
    expect(rows.map(({ id }) => Number(id)).sort((a, b) => a - b)).toEqual(Array.from({ length: 49 }, (_, id) => id));
    for (const kind of ["k0", "k1", "k2"]) {
      const ranks = rows.filter((each) => each.kind === kind).map(({ rank }) => Number(rank));
      expect(ranks).toEqual([...ranks].sort((a, b) => a - b));
    }
  });

  it("that can't hold a changed key aren't looked into", async () => {
    const schema = tableSchema("1", "items", { region: "string*", id: "long*", note: "string" });
    const row = (region: string, id: number, note = "a") => ({ region: `'${region}'`, id: `${id}`, note: `'${note}'` });
    await log.snapshot(
      schema,
      ["a", "b", "c", "d", "e"].map((region) => row(region, 1)),
    );
    const table = options("items", { partitionBy: ["region"] });
    await apply(table);
    for (const region of ["a", "b", "d", "e"]) {
      const [name] = readdirSync(join(path("items"), `c1=${region}`));
      const file = join(path("items"), `c1=${region}`, name);
      writeFileSync(file, "x".repeat(statSync(file).size));
    }
    await log.changes(schema, [{ op: 1, row: row("c", 1, "b") }]);
    await log.commit();
    await apply(table);
    const { adds } = await newest("items");
    expect(adds.map(({ partitionValues }) => partitionValues)).toEqual([{ c1: "c" }]);
  });

  it.each(["scd2", "softDelete", "append"] as const)(
    "are kept by a TRUNCATE that a batch begins with: %s",
    async (mode) => {
      const schema = tableSchema("1", "items", { id: "long*", kind: "string" });
      const table = options("items", { partitionBy: ["kind"], mode });
      await log.snapshot(schema, [
        { id: "1", kind: "'a'" },
        { id: "2", kind: "'b'" },
      ]);
      await apply(table);
      log.event("truncate", schema);
      await log.commit();
      await apply(table);
      const { adds } = await newest("items");
      const kinds = adds.flatMap(({ path, partitionValues }) => (path.includes("/") ? [partitionValues.c2] : []));
      expect(kinds.sort()).toEqual(mode === "append" ? [null] : ["a", "b"]);
      expect(adds).toHaveLength(kinds.length);
      expect((await texts("items")).map((text) => text.split("|").slice(0, 2).join())).toEqual(
        mode === "append" ? ["1,a", "2,b", "null,null"] : ["1,a", "2,b"],
      );
    },
  );

  it("follow the name of their column, and a wider type", async () => {
    const schema = tableSchema("1", "items", { id: "long*", size: "integer" });
    const table = options("items", { partitionBy: ["size"] });
    await log.snapshot(schema, [{ id: "1", size: "7" }]);
    await apply(table);
    const later = tableSchema("1", "items", { id: "long*", width: "long", note: "string" }, 2);
    await log.schemaChange(later, { note: "'old'" });
    await log.changes(later, [{ op: 0, row: { id: "2", width: "5000000000", note: null } }]);
    await log.commit();
    await apply(table);
    expect((await newest("items")).metaData?.partitionColumns).toEqual(["width"]);
    expect(await texts("items")).toEqual(["1|7|old", "2|5000000000|null"]);
    const without = { ...later, schemaId: 3, columns: later.columns.filter(({ name }) => name !== "width") };
    await log.schemaChange(without);
    await log.commit();
    await expect(apply(table)).rejects.toThrow("column size of partitionBy isn't in the destination");
    expect(await texts("items")).toEqual(["1|7|old", "2|5000000000|null"]);
  });

  it("hold what is there when the applier is killed amid them", async () => {
    const schema = tableSchema("1", "items", { id: "long*", kind: "string" });
    const table = options("items", { partitionBy: ["kind"] });
    const row = (id: number, kind: string) => ({ id: `${id}`, kind: `'${kind}'` });
    await log.snapshot(schema, [row(1, "a"), row(2, "b")]);
    const folder = join(log.folder, "process");
    const config = { ...log.config({ tables: [table] }), statusPath: join(folder, "status.json") };
    const process = new RuntimeProcess<ApplierStatus>(folder, config);
    const killed = async (failpoint: string) =>
      expect((await process.start({ SLUICE_FAILPOINT: failpoint }).exited()).signal).toBe("SIGKILL");
    await killed("applier.after-partition-file:2");
    await killed("applier.after-data-files");
    expect(await process.start().exited()).toEqual({ code: 0, signal: null });
    await log.changes(schema, [{ op: 1, row: row(1, "b") }]);
    await log.commit();
    await killed("applier.after-partition-file");
    expect(await process.start().exited()).toEqual({ code: 0, signal: null });
    expect(await texts("items")).toEqual(["1|b", "2|b"]);
    // What was left behind goes with the next vacuum.
    await log.commit();
    await apply(table);
    const files = readdirSync(path("items"), { recursive: true, encoding: "utf8" });
    expect(files.filter((name) => name.endsWith(".parquet") && !name.startsWith("_delta_log"))).toHaveLength(2);
  });
});

describe("another partitionBy", () => {
  it("takes a new snapshot", async () => {
    const schema = tableSchema("1", "items", { id: "long*", kind: "string", size: "long" });
    const rows = [1, 2, 3].map((id) => ({ id: `${id}`, kind: `'k${id}'`, size: "1" }));
    await log.snapshot(schema, rows);
    await apply(options("items", {}));
    await log.changes(schema, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    const wanted = options("items", { partitionBy: ["size"], onChange: "refresh", changeDataFeed: true });
    await expect(apply(wanted)).rejects.toThrow(
      "table public.items needs a new snapshot: its partitionBy columns change",
    );
    expect(await texts("items")).toEqual(["1|k1|1", "2|k2|1", "3|k3|1"]);
    await log.snapshot(schema, rows.slice(1));
    await apply(wanted);
    expect((await newest("items")).metaData?.partitionColumns).toEqual(["size"]);
    expect(await texts("items")).toEqual(["2|k2|1", "3|k3|1"]);
  });
});

describe("options that can't be", () => {
  const columns = { id: "long*", kind: "string", price: "double", at: "timestamp", raw: "binary" };
  it.each([
    [{ partitionBy: ["colour"] }, "has no column colour"],
    [{ clusterBy: ["colour"] }, "has no column colour"],
    [{ partitionBy: ["price"] }, "can't be partitioned by column price, which has the Delta type double"],
    [{ partitionBy: ["at"] }, "can't be partitioned by column at, which has the Delta type timestamp"],
    [{ partitionBy: ["raw"] }, "can't be partitioned by column raw, which has the Delta type binary"],
  ])("%j: nothing is written", async (changes, message) => {
    await log.snapshot(tableSchema("1", "items", columns), []);
    await expect(apply(options("items", changes))).rejects.toThrow(message);
    expect(existsSync(path("items"))).toBe(false);
  });

  it("as all columns: nothing is written", async () => {
    await log.snapshot(tableSchema("1", "items", { id: "long*", kind: "string" }), []);
    const message = "has no column beside those of partitionBy";
    await expect(apply(options("items", { partitionBy: ["kind", "id"] }))).rejects.toThrow(message);
    expect(existsSync(path("items"))).toBe(false);
  });

  it.each([
    [{ partitionBy: ["a", "a"] }, "partitionBy names a column twice"],
    [{ clusterBy: ["a"], exclude: ["a"] }, "column a of clusterBy is left out by include or exclude"],
    [{ partitionBy: ["a"], include: ["b"] }, "column a of partitionBy is left out by include or exclude"],
    [{ partitionBy: ["a"], include: ["a"] }, "a table needs a column beside those of partitionBy"],
    [{ partitionBy: ["a"], clusterBy: ["a"] }, "column a is in both partitionBy and clusterBy"],
  ])("%j is refused before anything runs", (changes, message) => {
    const parsed = tableOptionsListSchema.safeParse([options("items", changes)]);
    expect(parsed.error?.issues.map((issue) => issue.message)).toContain(message);
  });
});

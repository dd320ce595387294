// Contract: a table's change data feed tells each commit's net change, row for row: the table at a version with the feed
// up to a later one is the table there (invariants 3 and 4), whatever a batch holds; no row is told that stayed as it was.
import { readdirSync, readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type NamedTableOptions } from "../../../runtime/table-options";
import { type DeltaChange, readDeltaChanges } from "../../support/delta-changes";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import fc, { propertyRuns } from "../../support/property";
import { RuntimeProcess } from "../../support/runtime-process";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText, ModelTable, type Step } from "./staged-model";

/** Versions of before stay readable. */
const eager = { ...eagerMaintenance, fileRetentionMs: 86_400_000 };
const options = (name: string, changes: Partial<NamedTableOptions> = {}): NamedTableOptions => ({
  ...defaultTableOptions,
  schema: "public",
  name,
  changeDataFeed: true,
  ...changes,
});

/** Every version of a table against the one before and the feed between. Returns what the feed said of each. */
async function checkFeed(path: string, keyOf: ((row: Record<string, unknown>) => string) | null, from = 0) {
  const { version } = await openDelta(path);
  const told: (DeltaChange[] | null)[] = [];
  let before = new Map<string, number>();
  for (let at = from; at <= version; at++) {
    const { changes, isDerived } = await readDeltaChanges(path, at);
    const after = new Map<string, number>();
    const count = (rows: Map<string, number>, text: string, by: number) => {
      const sum = (rows.get(text) ?? 0) + by;
      if (sum === 0) rows.delete(text);
      else rows.set(text, sum);
    };
    for (const row of await readDeltaRows(path, at)) count(after, deltaRowText(row), 1);
    if (at > from) {
      const sums = new Map(before);
      const sides = { gone: new Set<string>(), come: new Set<string>() };
      for (const { type, row } of changes) {
        const isGone = type === "delete" || type === "update_preimage";
        count(sums, deltaRowText(row), isGone ? -1 : 1);
        sides[isGone ? "gone" : "come"].add(deltaRowText(row));
      }
      expect([...sums].sort(), `version ${at}`).toEqual([...after].sort());
      if (!isDerived) expect([...sides.gone].filter((text) => sides.come.has(text))).toEqual([]);
      if (keyOf !== null) {
        const keys = (type: DeltaChange["type"]) =>
          changes.flatMap((each) => (each.type === type ? [keyOf(each.row)] : [])).sort();
        expect(keys("update_preimage")).toEqual(keys("update_postimage"));
        expect(keys("delete").filter((key) => keys("insert").includes(key))).toEqual([]);
      }
    }
    told.push(isDerived ? null : changes);
    before = after;
  }
  return told;
}

const kinds: [Step["kind"], number][] = [
  ["insert", 12],
  ["update", 8],
  ["unchanged", 6],
  ["rekey", 6],
  ["delete", 6],
  ["truncate", 1],
  ["begin", 1],
  ["rows", 2],
  ["end", 3],
  ["commit", 4],
  ["apply", 9],
];
const steps = fc.array(
  fc.record({
    kind: fc.oneof(...kinds.map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight }))),
    pick: fc.nat(1000),
    value: fc.nat(1000),
  }),
  { minLength: 30, maxLength: 90 },
);

describe("the feed of random histories", () => {
  it("leads from each version to the next", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const log = await StagedLog.open();
        try {
          const columns = { name: "string", amount: "double" };
          const tables = [
            { options: options("keyed"), hasKey: true },
            { options: options("rewritten", { deletionVectors: false, columnMapping: false }), hasKey: true },
            { options: options("soft", { mode: "softDelete" }), hasKey: true },
            { options: options("parts", { partitionBy: ["name"] }), hasKey: true },
            { options: options("versions", { mode: "scd2", partitionBy: ["id"] }), hasKey: true },
            { options: options("keyless", { partitionBy: ["id", "name"] }), hasKey: false },
          ];
          const models = tables.map(({ options: { name }, hasKey }, index) => {
            const schema = tableSchema(String(index + 1), name, { id: hasKey ? "long*" : "long", ...columns });
            return new ModelTable(log, schema, hasKey);
          });
          for (const model of models) await model.start();
          const config = log.config({
            tables: tables.map((table) => table.options),
            maintenance: eager,
          });
          const apply = () => runApplier(config, { signal: new AbortController().signal, version: "0.0.0" });
          for (const step of [...sequence, { kind: "end", pick: 0, value: 0 } as const]) {
            for (const model of models) await model.step(step);
            if (step.kind !== "apply") continue;
            for (const model of models) await model.commit();
            await apply();
          }
          for (const model of models) await model.commit();
          await apply();
          for (const [index, { schema, visible }] of models.entries()) {
            const path = join(log.destination, "public", schema.name);
            if (visible === null) continue;
            const isPaired = index < 4;
            await checkFeed(path, isPaired ? ({ id }) => String(id) : null);
          }
        } finally {
          log.close();
        }
      }),
      propertyRuns(2),
    );
  });
});

describe("the feed", () => {
  let log: StagedLog;
  beforeEach(async () => {
    log = await StagedLog.open();
  });
  afterEach(() => log.close());

  const items = tableSchema("1", "items", { id: "long*", name: "string", note: "string" });
  const path = () => join(log.destination, "public", "items");
  const apply = (tables: NamedTableOptions[], changes: Partial<ApplierConfig> = {}) =>
    runApplier(log.config({ tables, maintenance: { ...eager, compaction: false }, ...changes }), {
      signal: new AbortController().signal,
      version: "0.0.0",
    });
  const row = (id: number, name = "a", note = "n") => ({ id: `${id}`, name: `'${name}'`, note: `'${note}'` });
  const start = async (...tables: NamedTableOptions[]) => {
    await log.snapshot(
      items,
      [1, 2, 3, 4, 5].map((id) => row(id)),
    );
    await apply(tables);
  };
  const told = async (version?: number) => {
    const { changes, isDerived } = await readDeltaChanges(path(), version ?? (await openDelta(path())).version);
    const texts = changes.map(({ type, row }) => `${type} ${deltaRowText(row)}`).sort();
    return isDerived ? { derived: texts } : texts;
  };

  it("tells one net change of a key that a batch changes often", async () => {
    await start(options("items"));
    await log.changes(items, [
      { op: 1, row: row(1, "b") },
      { op: 1, row: { ...row(1, "c"), note: null }, unchanged: ["note"] },
      { op: 1, row: row(2, "x") },
      { op: 1, row: row(2) },
      { op: 3, row: { id: "3" } },
      { op: 1, row: { ...row(30), note: null }, unchanged: ["note"] },
      { op: 2, row: { id: "4" } },
      { op: 0, row: row(4, "again") },
      { op: 0, row: row(9) },
      { op: 2, row: { id: "9" } },
    ]);
    await log.commit();
    await apply([options("items")]);
    expect(await told()).toEqual([
      "delete 3|a|n",
      "insert 30|a|n",
      "update_postimage 1|c|n",
      "update_postimage 4|again|n",
      "update_preimage 1|a|n",
      "update_preimage 4|a|n",
    ]);
    await log.commit();
    await apply([options("items")], { maintenance: eager });
    expect(await told()).toEqual({ derived: [] });
  });

  it("needs no file where rows are only added, or all removed", async () => {
    await start(options("items"));
    expect(await told()).toEqual({ derived: [1, 2, 3, 4, 5].map((id) => `insert ${id}|a|n`) });
    log.event("truncate", items);
    await log.commit();
    await apply([options("items")]);
    expect(await told()).toEqual({ derived: [1, 2, 3, 4, 5].map((id) => `delete ${id}|a|n`) });
  });

  it("of arrays tells 0 from -0, and NULL from NaN, with a key and without", async () => {
    const floats = (key: string) => ({ id: `long${key}`, name: "array<double>", note: "string" });
    const values = ["[0.0, NULL]", "['-0'::DOUBLE, NULL]", "['nan'::DOUBLE]", "[]", "NULL"];
    const schemas = [tableSchema("8", "listed", floats("*")), tableSchema("9", "bag", floats(""))];
    for (const schema of schemas) {
      await log.snapshot(
        schema,
        values.map((name, at) => ({ id: String(at), name, note: null })),
      );
    }
    await apply([options("listed"), options("bag")]);
    for (const schema of schemas) {
      const isKeyed = schema.tableId === "8";
      await log.changes(schema, [
        { op: 2, row: { id: "0", name: isKeyed ? null : values[0], note: null } },
        { op: 2, row: { id: "1", name: isKeyed ? null : values[1], note: null } },
        { op: 0, row: { id: "0", name: "['-0'::DOUBLE, NULL]", note: null } },
        { op: 0, row: { id: "1", name: "['-0'::DOUBLE, NULL]", note: null } },
        { op: 0, row: { id: "7", name: "[1.0, '-0'::DOUBLE]", note: null } },
      ]);
    }
    await log.commit();
    await apply([options("listed"), options("bag")]);
    for (const { tableId, name } of schemas) {
      const path = join(log.destination, "public", name);
      await checkFeed(path, tableId === "8" ? (row) => String(row.id) : null);
      const { changes } = await readDeltaChanges(path, (await openDelta(path)).version);
      expect(changes.map(({ row }) => deltaRowText(row)).sort()).toEqual([
        "0|[-0,null]|null",
        "0|[0,null]|null",
        "7|[1,-0]|null",
      ]);
    }
  });

  it("of a new snapshot tells what it changes only", async () => {
    await start(options("items"));
    await log.snapshot(items, [...[1, 2, 3].map((id) => row(id)), row(4, "b"), row(6)]);
    await apply([options("items")]);
    expect(await told()).toEqual(["delete 5|a|n", "insert 6|a|n", "update_postimage 4|b|n", "update_preimage 4|a|n"]);
    await log.snapshot(items, [...[1, 2, 3].map((id) => row(id)), row(4, "b"), row(6)]);
    await apply([options("items")]);
    expect(await told()).toEqual({ derived: [] });
  });

  it("of a new column tells the values that rows of before get", async () => {
    await start(options("items"));
    const wider = tableSchema("1", "items", { id: "long*", name: "string", note: "string", size: "long" }, 2);
    await log.schemaChange(wider, { size: "7" });
    await log.changes(wider, [{ op: 2, row: { id: "1" } }]);
    await log.commit();
    await apply([options("items")]);
    expect(await told()).toEqual([
      "delete 1|a|n|null",
      ...[2, 3, 4, 5].map((id) => `update_postimage ${id}|a|n|7`),
      ...[2, 3, 4, 5].map((id) => `update_preimage ${id}|a|n|null`),
    ]);
  });

  it("is turned on and off on a living table", async () => {
    await start(options("items", { changeDataFeed: false }));
    const update = async (name: string, changeDataFeed: boolean) => {
      await log.changes(items, [{ op: 1, row: row(1, name) }]);
      await log.commit();
      await apply([options("items", { changeDataFeed })]);
      const { version, properties } = await openDelta(path());
      const text = readFileSync(join(path(), "_delta_log", `${String(version).padStart(20, "0")}.json`), "utf8");
      const protocol = /"writerFeatures":\[[^\]]*"changeDataFeed"/.test(text);
      return { feed: text.includes('"cdc"'), property: properties["delta.enableChangeDataFeed"], protocol };
    };
    expect(await update("b", false)).toEqual({ feed: false, property: undefined, protocol: false });
    expect(await update("c", true)).toEqual({ feed: true, property: "true", protocol: true });
    expect(await told()).toEqual(["update_postimage 1|c|n", "update_preimage 1|b|n"]);
    expect(await update("d", true)).toEqual({ feed: true, property: "true", protocol: false });
    expect(await update("e", false)).toEqual({ feed: false, property: "false", protocol: false });
  });

  it("has no column of the table with a name of its own", async () => {
    const own = tableSchema("2", "own", { id: "long*", _change_type: "string" });
    await log.snapshot(own, [{ id: "1", _change_type: "'x'" }]);
    await expect(apply([options("own")])).rejects.toThrow('has a column "_change_type"');
  });

  it("goes with its files once the retention is over, and not before", async () => {
    await start(options("items"));
    for (const name of ["b", "c"]) {
      await log.changes(items, [{ op: 1, row: row(1, name) }]);
      await log.commit();
      await apply([options("items")]);
    }
    const files = () => readdirSync(join(path(), "_change_data"));
    expect(files()).toHaveLength(2);
    utimesSync(join(path(), "_change_data", files()[0]), 1, 1);
    // Whatever a clock or copy says, a file is as old as its name in the folder.
    await log.commit();
    await apply([options("items")]);
    expect(files()).toHaveLength(2);
    await log.commit();
    await apply([options("items")], { maintenance: { ...eagerMaintenance, fileRetentionMs: 0 } });
    expect(files()).toHaveLength(0);
  });

  it.each(["applier.after-change-data", "applier.before-commit", "applier.after-commit"])(
    "is told once when the applier is killed at %s",
    async (place) => {
      await start(options("items"));
      await log.changes(items, [
        { op: 1, row: row(1, "b") },
        { op: 2, row: { id: "2" } },
      ]);
      await log.commit();
      const folder = join(log.folder, "process");
      const config = { ...log.config({ tables: [options("items")] }), statusPath: join(folder, "status.json") };
      const process = new RuntimeProcess<ApplierStatus>(folder, config);
      expect((await process.start({ SLUICE_FAILPOINT: place }).exited()).signal).toBe("SIGKILL");
      expect(await process.start().exited()).toEqual({ code: 0, signal: null });
      const feed = (await checkFeed(path(), ({ id }) => String(id))).filter((changes) => changes !== null);
      expect(feed.map((changes) => changes.map(({ type }) => type).sort())).toEqual([
        ["delete", "update_postimage", "update_preimage"],
      ]);
    },
  );
});

// Contract: a batch is one MERGE for each table that it touches, however many records and files are staged (a statement that
// has an effect tells its position: invariant 3); tables are written side by side; a statement that takes too long is tried
// again with fewer changes; a new snapshot heals a quarantined table, and one whose types don't hold a history ends that only
// once somebody has accepted it. Effects on rows are held by the Spark lane.
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { overdue, refused } from "../../../runtime/destination/databricks/sql-failure";
import { acceptHistoryLoss } from "../../../runtime/staging/history-loss";
import { defaultTableOptions, type NamedTableOptions, type TableMode } from "../../../runtime/table-options";
import { RecordedWarehouse } from "../../support/recorded-warehouse";
import { applyToWarehouse } from "../../support/warehouse-applier";
import { StagedLog, tableSchema } from "./staged-log";

let log: StagedLog;
let engine: RecordedWarehouse;
const schemaOf = (tableId: string) => tableSchema(tableId, `t${tableId}`, { id: "long*", name: "string" });
const row = (id: number, name = "a") => ({ id: String(id), name: `'${name}'` });
const optionsOf = (name: string, mode: TableMode): NamedTableOptions => ({
  ...defaultTableOptions,
  ...{ schema: "public", name, mode },
});
const apply = (tables: NamedTableOptions[] = [], batchBytesMax?: number) =>
  applyToWarehouse(log, async () => engine, { tables, schema: "lake", batchBytesMax });
const updates = async (tableId: string, count: number) => {
  for (let id = 0; id < count; id++) await log.changes(schemaOf(tableId), [{ op: 1, row: row(id, "b") }]);
};

beforeEach(async () => {
  log = await StagedLog.open();
  engine = new RecordedWarehouse({ id: "bigint", name: "string" });
});
afterEach(() => log.close());

describe("a batch", () => {
  it("is one MERGE for each table that it touches", async () => {
    for (const tableId of ["1", "2", "3"]) await log.snapshot(schemaOf(tableId), [row(1), row(2)]);
    await apply();
    expect(engine.merges()).toEqual([]);
    // Five records of several transactions, of which each touches two of three tables.
    for (let record = 0; record < 5; record++) {
      for (const tableId of ["1", "3"]) await updates(tableId, 4);
      await log.commit();
    }
    await apply();
    expect(engine.merges()).toHaveLength(2);
    expect([1, 2, 3].map((id) => engine.merges(`\`t${id}\``).length)).toEqual([1, 0, 1]);
    expect(engine.merges("`t1`")[0]).toContain(`:3:${log.head}:1/1'`);
    await apply();
    expect(engine.merges()).toHaveLength(2);
  });

  it("ends where it has as many bytes as were said", async () => {
    await log.snapshot(schemaOf("1"), [row(1)]);
    await apply();
    for (let record = 0; record < 6; record++) {
      await updates("1", 1);
      await log.commit();
    }
    await apply([], 1);
    expect(engine.merges()).toHaveLength(6);
  });

  it("goes on with fewer changes when a statement has taken too long", async () => {
    await log.snapshot(schemaOf("1"), [row(1)]);
    await apply();
    const name = "(SELECT string_agg(md5(random()::VARCHAR), '') FROM range(1000))";
    for (let record = 0; record < 12; record++) {
      await log.changes(schemaOf("1"), [{ op: 1, row: { id: "1", name } }]);
      await log.commit();
    }
    let isSlow = true;
    engine.before = (statement) => {
      if (!statement.startsWith("MERGE INTO") || !statement.includes("`t1`") || !isSlow) return;
      isSlow = false;
      throw overdue(1_000);
    };
    const staged = (statement: string) => (statement.match(/\.parquet/g) ?? []).length;
    await apply([], 130 * 1024);
    const [tooMuch, first] = engine.merges();
    expect(staged(first)).toBeLessThan(staged(tooMuch));
    expect(engine.merges().at(-1)).toContain(`:${log.head}:1/1'`);
  });
});

it("a table goes on from its position when what its history told of it is over (invariant 3)", async () => {
  await log.snapshot(schemaOf("1"), [row(1)]);
  await apply();
  await updates("1", 2);
  await log.commit();
  await apply();
  // A process that ends at once, as every run of a schedule: nothing is to be done, until Delta has dropped its log.
  await apply();
  for (const table of engine.tables.values()) table.history = [];
  await updates("1", 2);
  await log.commit();
  await apply();
  expect(engine.merges()).toHaveLength(2);
  expect(engine.merges()[1]).toContain(`:${log.head - 1}:${log.head}:1/1'`);
});

it("tables are written side by side, as many as may be", async () => {
  for (const tableId of ["1", "2", "3", "4", "5", "6"]) await log.snapshot(schemaOf(tableId), [row(1)]);
  let [running, most] = [0, 0];
  engine.before = async (statement) => {
    if (!statement.startsWith("CREATE OR REPLACE")) return;
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 100));
    running--;
  };
  await apply();
  expect(engine.tables.size).toBe(6);
  expect(most).toBe(4);
});

describe("a new snapshot", () => {
  const other = tableSchema("1", "t1", { id: "long*", name: "binary" }, 2);
  const replaced = () => engine.sent.filter((each) => each.startsWith("CREATE OR REPLACE TABLE")).length;

  it("makes the table anew in one statement", async () => {
    await log.snapshot(schemaOf("1"), [row(1)]);
    await apply();
    await updates("1", 2);
    await log.commit();
    await log.snapshot(schemaOf("1"), [row(1, "c")], "again");
    await apply();
    expect([replaced(), engine.merges().length]).toEqual([2, 0]);
  });

  it("heals a table that is quarantined, without the changes that it couldn't take", async () => {
    await log.snapshot(schemaOf("1"), [row(1)]);
    await apply();
    await updates("1", 2);
    await log.commit();
    engine.before = (statement) => {
      if (statement.startsWith("MERGE INTO") && statement.includes("`t1`"))
        throw refused("[PARSE_SYNTAX_ERROR] x", "42601");
    };
    await expect(apply()).rejects.toThrow(/PARSE_SYNTAX_ERROR/);
    const before = replaced();
    await log.snapshot(schemaOf("1"), [row(1, "c")], "again");
    await apply();
    expect(replaced()).toBe(before + 1);
  });

  it("ends a history that its types don't hold only when that is accepted, once", async () => {
    const tables = [optionsOf("t1", "scd2")];
    await log.snapshot(schemaOf("1"), [row(1)]);
    await apply(tables);
    const before = replaced();
    await log.schemaChange(other);
    await log.snapshot(other, [{ id: "1", name: "'x'::BLOB" }], "again");
    await expect(apply(tables)).rejects.toMatchObject({
      kind: "unsupported",
      remedy: expect.stringContaining("sluice resync --config FILE --table public.t1 --accept-history-loss"),
    });
    expect(replaced()).toBe(before);
    await acceptHistoryLoss(log.store, "test", "1");
    await apply(tables);
    expect(replaced()).toBe(before + 1);
    expect(await log.store.list("requests/history-loss")).toEqual([]);
  });
});

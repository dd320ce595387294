// Contract: what a plan does to a table of each mode is these statements, on Databricks and elsewhere; each has its token and
// its guard (invariant 3). Their effects are held by the Spark lane (test/lanes/spark-warehouse.ts).
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ApplyPlan, ApplyStep } from "../../../../runtime/destination/apply-plan";
import { applyBatch } from "../../../../runtime/destination/databricks/apply-batch";
import { sqlType } from "../../../../runtime/destination/databricks/sql-text";
import { Warehouse } from "../../../../runtime/destination/databricks/warehouse";
import { WarehouseTable } from "../../../../runtime/destination/databricks/warehouse-table";
import { targetColumns, targetTable } from "../../../../runtime/destination/target-table";
import { defaultTableOptions, type TableMode, type TableOptions } from "../../../../runtime/table-options";
import { RecordedWarehouse } from "../../../support/recorded-warehouse";
import { tableSchema } from "../../applier/staged-log";

const schema = tableSchema("77", "orders", { id: "long*", name: "string", amount: "double" });
const keyless = tableSchema("77", "orders", { id: "long", name: "string", amount: "double" });
const owner = { logId: "log-1", tableId: "77" };
const file = (path: string) => ({ path: `data/${path}.parquet`, rows: 2, bytes: 10 });
const point = { commitLsn: 900n, commitTimeMicros: 1_767_225_600_000_000n };
const snapshot: ApplyStep = { kind: "replace", schemaId: 1, files: [file("s1"), file("s2")], point };
const changes: ApplyStep = { kind: "changes", schemaId: 1, files: [file("c1")] };
const truncate: ApplyStep = { kind: "truncate", schemaId: 1, point };
const sent = { unchanged: "0", moves: "0" };
const planOf = (...steps: ApplyStep[]): ApplyPlan => ({
  steps,
  sequence: 5,
  upserted: 0,
  deleted: 0,
  dropped: 0,
  changeBytes: 0,
});

async function statements(
  plan: ApplyPlan,
  options: Partial<TableOptions> & { mode: TableMode },
  given: {
    form?: "parquet" | "read_files";
    traits?: { unchanged: string; moves: string };
    source?: typeof schema;
  } = {},
): Promise<string> {
  const source = given.source ?? schema;
  const target = targetTable(source, { ...defaultTableOptions, ...options });
  const types = targetColumns(target).map(({ name, deltaType }) => [name, sqlType(deltaType).toLowerCase()]);
  const recorder = new RecordedWarehouse(Object.fromEntries(types));
  recorder.traits = given.traits ?? sent;
  const warehouse = new Warehouse(
    {
      catalog: "main",
      schema: "lake",
      writer: "app",
      access: { form: given.form ?? "parquet", root: "/Volumes/main/sluice/staging" },
      parallelMax: 2,
    },
    async () => recorder,
  );
  const table = await WarehouseTable.open(warehouse, { schema: "lake", name: "orders" }, owner);
  await applyBatch(table, plan, 3, options.mode !== "scd1", {
    ...owner,
    schema: async () => source,
    target: async () => target,
    loseHistory: async () => {},
  });
  await warehouse.close();
  const epoch = /SELECT 'app' AS writer, '([^']*)' AS epoch/.exec(recorder.sent.join("\n"))?.[1] as string;
  return `${recorder.sent.join(";\n\n").replaceAll(epoch, "EPOCH")};\n`;
}

const golden = (name: string) => join(__dirname, "golden", `${name}.sql`);
const unsent = { unchanged: "2", moves: "0" };
const moved = { unchanged: "2", moves: "1" };

describe("statements for a warehouse", () => {
  it.each([
    ["scd1-snapshot", planOf(snapshot), { mode: "scd1" }, { form: "read_files" }],
    [
      "scd1-snapshot-and-changes",
      planOf(snapshot, changes),
      { mode: "scd1", metadataColumns: true },
      { traits: unsent },
    ],
    ["scd1-truncate", planOf(truncate), { mode: "scd1" }, {}],
    ["scd1-changes", planOf(changes), { mode: "scd1", clusterBy: ["name"] }, { form: "read_files" }],
    ["scd1-changes-unsent", planOf(changes), { mode: "scd1" }, { traits: unsent }],
    ["scd1-changes-moved", planOf(changes), { mode: "scd1" }, { traits: moved }],
    ["keyless-changes", planOf(changes), { mode: "scd1" }, { source: keyless }],
    ["keyless-snapshot-and-changes", planOf(snapshot, changes), { mode: "scd1" }, { source: keyless }],
    ["soft-delete-changes", planOf(changes), { mode: "softDelete" }, { traits: sent }],
    ["soft-delete-truncate", planOf(changes, truncate), { mode: "softDelete", partitionBy: ["name"] }, {}],
    ["append", planOf(snapshot, changes, truncate), { mode: "append" }, {}],
    ["scd2", planOf(snapshot, changes), { mode: "scd2" }, {}],
    ["scd2-moved", planOf(changes), { mode: "scd2" }, { traits: moved }],
  ] as const)("%s", async (name, plan, options, given) => {
    const wanted = structuredClone(options) as Partial<TableOptions> & { mode: TableMode };
    await expect(await statements(plan, wanted, given)).toMatchFileSnapshot(golden(name));
  });

  it("have their position and their guard, all that write rows", async () => {
    for (const mode of ["scd1", "softDelete", "append", "scd2"] as const) {
      const text = await statements(planOf(snapshot, changes), { mode });
      const writing = text
        .split(";\n\n")
        .filter((each) => /^(MERGE INTO `main`.`lake`.`orders`|CREATE OR REPLACE)/.test(each));
      expect(writing.length).toBeGreaterThan(0);
      for (const each of writing) {
        expect(each).toMatch(/sluice:log-1:77:3:5:\d\/\d/);
        expect(each).toContain("raise_error");
      }
    }
  });
});

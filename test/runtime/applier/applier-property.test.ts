// Contract: whatever is staged, in whatever records and whenever it is applied, the destination equals the source at the
// applied commit, row for row (invariants 3 and 4); tables with a key and without.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierStatus } from "../../../runtime/status";
import { readDeltaRows } from "../../support/delta-reader";
import fc, { propertyRuns } from "../../support/property";
import { eagerMaintenance } from "./eager-maintenance";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText, ModelTable, rowText, type Step } from "./staged-model";

const kinds: [Step["kind"], number][] = [
  ["insert", 12],
  ["update", 8],
  ["unchanged", 6],
  ["rekey", 5],
  ["delete", 5],
  ["truncate", 1],
  ["begin", 1],
  ["rows", 3],
  ["end", 3],
  ["commit", 5],
  ["apply", 4],
];
const steps = fc.array(
  fc.record({
    table: fc.constantFrom(0, 1),
    kind: fc.oneof(...kinds.map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight }))),
    pick: fc.nat(1000),
    value: fc.nat(1000),
  }),
  { minLength: 20, maxLength: 80 },
);

async function expectEqual(log: StagedLog, models: ModelTable[]): Promise<void> {
  // Everything that maintenance may remove is removed at once.
  const maintenance = { ...eagerMaintenance, stagingRetentionMs: 0 };
  await runApplier(log.config({ maintenance }), { signal: new AbortController().signal, version: "0.0.0" });
  const { tables } = JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
  for (const { schema, visible } of models) {
    const path = join(log.destination, "public", schema.name);
    if (visible === null) {
      expect(existsSync(path)).toBe(false);
      continue;
    }
    expect((await readDeltaRows(path)).map(deltaRowText).sort()).toEqual(visible.map(rowText).sort());
    expect(tables.find((table) => table.name === schema.name)?.rows).toBe(visible.length);
  }
}

describe("the destination", () => {
  it("equals the source at every applied commit", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const log = await StagedLog.open();
        try {
          const columns = { name: "string", amount: "double" };
          const models = [
            new ModelTable(log, tableSchema("1", "keyed", { id: "long*", ...columns }), true),
            new ModelTable(log, tableSchema("2", "keyless", { id: "long", ...columns }), false),
          ];
          for (const model of models) await model.start();
          for (const { table, ...step } of sequence) {
            if (step.kind === "apply") {
              for (const model of models) await model.commit();
              await expectEqual(log, models);
            } else await models[table].step(step);
          }
          for (const model of models) {
            await model.step({ kind: "end", pick: 0, value: 0 });
            await model.commit();
          }
          await expectEqual(log, models);
        } finally {
          log.close();
        }
      }),
      propertyRuns(20),
    );
  });
});

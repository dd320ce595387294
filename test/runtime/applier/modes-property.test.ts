// Contract: a table of each mode holds what its mode says of the source's whole history, however it is batched and
// whenever it is applied (invariants 3 and 4): rows of now, soft deletes, every change, every version;
// rows before updates are in the table that wants them, and disturb no other.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../../runtime/table-options";
import { readDeltaRows } from "../../support/delta-reader";
import fc, { propertyRuns } from "../../support/property";
import { eagerMaintenance } from "./eager-maintenance";
import { replayModes } from "./mode-replay";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText, ModelTable, type Step } from "./staged-model";

const modes = tableModeSchema.options;
const kinds: [Step["kind"], number][] = [
  ["insert", 12],
  ["update", 8],
  ["unchanged", 6],
  ["rekey", 5],
  ["delete", 6],
  ["truncate", 1],
  ["begin", 1],
  ["rows", 2],
  ["end", 3],
  ["commit", 6],
  ["apply", 4],
];
const steps = fc.array(
  fc.record({
    kind: fc.oneof(...kinds.map(([kind, weight]) => ({ arbitrary: fc.constant(kind), weight }))),
    pick: fc.nat(1000),
    value: fc.nat(1000),
  }),
  { minLength: 20, maxLength: 70 },
);

describe("a table of each mode", () => {
  it("holds what its mode says of the source's history", async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        const log = await StagedLog.open();
        const options = [...modes.map((mode) => ({ mode })), { mode: "append" as const, beforeImage: true }];
        const tables = options.map((given, index): NamedTableOptions => {
          // Half of them are partitioned, by a column that updates change.
          const partition = index % 2 === sequence.length % 2 ? { partitionBy: ["name"] } : {};
          const columnMapping = (index + sequence.length) % 3 > 0;
          return {
            ...defaultTableOptions,
            schema: "public",
            name: `t${index + 1}`,
            ...given,
            ...partition,
            columnMapping,
          };
        });
        const apply = () =>
          runApplier(log.config({ tables, maintenance: eagerMaintenance }), {
            signal: new AbortController().signal,
            version: "0.0.0",
          });
        const expectEqual = async () => {
          await apply();
          const replayed = await replayModes(log.config().stagingPath);
          for (const [index, { name, mode, beforeImage }] of tables.entries()) {
            const table = replayed.get(String(index + 1));
            if (table?.isComplete !== true || table.open !== null) continue;
            const rows = await readDeltaRows(join(log.destination, "public", name));
            expect(rows.map(deltaRowText).sort(), `${name} ${mode}`).toEqual(table.rows(mode, beforeImage).sort());
          }
        };
        try {
          const columns = { id: "long*", name: "string", amount: "double" };
          const models = tables.map(
            ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true, true),
          );
          for (const model of models) await model.start();
          for (const step of sequence) {
            for (const model of models) await model.step(step);
            if (step.kind === "apply") {
              for (const model of models) await model.commit();
              await expectEqual();
            }
          }
          for (const model of models) await model.step({ kind: "end", pick: 0, value: 0 });
          for (const model of models) await model.commit();
          await expectEqual();
        } finally {
          log.close();
        }
      }),
      propertyRuns(5),
    );
  });
});

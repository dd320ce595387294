// Contract: an applier runs with malloc's thresholds fixed, whoever starts it, as one process; what its environment has of
// them stays. Its memory doesn't grow with the batches that it has applied.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { ApplierStatus } from "../../runtime/status";
import { RuntimeProcess } from "../support/runtime-process";
import { StagedLog, tableSchema } from "./applier/staged-log";

let applier: RuntimeProcess<ApplierStatus> | undefined;
let log: StagedLog;

afterEach(async () => {
  await applier?.kill();
  log.close();
});

it.skipIf(process.platform !== "linux").each<{ given: Record<string, string>; expected: string[] }>([
  { given: {}, expected: ["MALLOC_MMAP_THRESHOLD_=131072", "MALLOC_TRIM_THRESHOLD_=131072"] },
  { given: { MALLOC_TRIM_THRESHOLD_: "1000000" }, expected: ["MALLOC_TRIM_THRESHOLD_=1000000"] },
])("$expected", async ({ given, expected }) => {
  log = await StagedLog.open();
  const orders = tableSchema("100", "orders", { id: "long*" });
  await log.snapshot(orders, [{ id: "1" }]);
  const config = log.config({ trigger: { kind: "continuous", intervalMs: 50 } });
  applier = new RuntimeProcess<ApplierStatus>(log.folder, config);
  applier.start(given);
  await applier.untilStatus("the table is there", ({ tables }) => tables[0]?.rows === 1, 30_000);
  const environment = readFileSync(join("/proc", String(applier.pid), "environ"), "utf8").split("\0");
  expect(environment.filter((each) => each.startsWith("MALLOC_")).sort()).toEqual(expected);
  expect(applier.status()?.pid).toBe(applier.pid);
});

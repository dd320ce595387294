// Contract: runApplier brings what is staged into Delta tables, each change exactly once (invariants 3 and 4): snapshots,
// changes of keyed and keyless tables, TRUNCATE, values that were not sent, new schemas; tables fail alone.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierStatus } from "../../../runtime/status";
import { openDelta, readDeltaRows } from "../../support/delta-reader";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string", amount: "decimal(12,2)" });
let log: StagedLog;

beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

const options = { signal: new AbortController().signal, version: "0.0.0" };
const apply = () => runApplier(log.config(), options);
const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
const pathOf = (name: string) => join(log.destination, "public", name);

async function content(name: string): Promise<string[]> {
  const rows = await readDeltaRows(pathOf(name));
  return rows.map((row) => Object.values(row).map(String).join("|")).sort();
}

describe("runApplier", () => {
  it("joins a snapshot's files, then applies inserts, updates, deletes and changed keys", async () => {
    await log.snapshot(orders, [
      { id: "1", name: "'a'", amount: "1.50" },
      { id: "2", name: "'b'", amount: "2.50" },
      { id: "3", name: "'c'", amount: null },
    ]);
    await apply();
    expect(await content("orders")).toEqual(["1|a|1.50", "2|b|2.50", "3|c|null"]);
    await log.changes(orders, [
      { op: 0, row: { id: "4", name: "'d'" } },
      { op: 1, row: { id: "1", name: "'A'", amount: "9" } },
      { op: 2, row: { id: "2" } },
      { op: 3, row: { id: "3" } },
      { op: 1, row: { id: "30", name: "'c'" } },
    ]);
    await log.commit();
    await apply();
    expect(await content("orders")).toEqual(["1|A|9.00", "30|c|null", "4|d|null"]);
    expect(status().tables[0]).toMatchObject({
      rows: 3,
      upserted: 6,
      deleted: 1,
      state: { kind: "idle" },
      deltaVersion: 1,
    });
    expect(status()).toMatchObject({ stagedSequence: 2, appliedSequence: 2, appliedLsn: "0/3EB" });
    const { txns } = await openDelta(pathOf("orders"));
    expect(txns).toEqual({ [`sluice-${log.logId}-100`]: 2 });
  });
});

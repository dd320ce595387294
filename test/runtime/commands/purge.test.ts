// Contract: `sluice purge` removes from staging no record that somebody who reads it has not told to be done with, nor the last
// snapshot that a table can be begun anew with, unless that is asked for and its reader is past it; nothing that is younger
// than asked for, and never the newest record.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { TableSchema } from "../../../runtime/change/table-schema";
import { type ApplierProgress, writeProgress } from "../../../runtime/staging/applier-progress";
import { purgeBound, purgeRead } from "../../../runtime/staging/read-purge";
import { builtMainPath } from "../../support/runtime-process";
import { StagedLog, tableSchema } from "../applier/staged-log";

const columns = { id: "long*", name: "string" };
const orders = tableSchema("1", "orders", columns);
const lines = tableSchema("2", "lines", columns);
const now = () => Date.now() + 1;

let log: StagedLog;

beforeEach(async () => {
  log = await StagedLog.open();
});
afterEach(() => log.close());

/** As the source of a declarative pipeline tells it, for each table by itself. */
async function tell(table: TableSchema, sequence: number): Promise<void> {
  const { tableId, schema, name } = table;
  const known = { schema, name, removed: false, heldSequence: null, sequence };
  const progress = { version: 1 as const, logId: log.logId, scannedSequence: sequence, tables: { [tableId]: known } };
  await writeProgress(log.store, `pipeline-${name}`, progress);
}

async function change(table: TableSchema): Promise<number> {
  await log.changes(table, [{ op: 0, row: { id: "7" } }]);
  return log.commit();
}

const purge = (options: Partial<Parameters<typeof purgeRead>[1]> = {}) =>
  purgeRead(log.store, { beforeMs: now(), pastSnapshots: false, isDry: false, ...options });

describe("a purge of what was read", () => {
  it("keeps the last whole snapshots, with all behind them", async () => {
    await log.snapshot(orders, [{ id: "1" }]); // 1
    await log.snapshot(lines, [{ id: "1" }]); // 2
    await change(orders); // 3
    await log.snapshot(orders, [{ id: "1" }], "second"); // 4
    await log.snapshot(lines, [{ id: "1" }], "third"); // 5
    await change(orders); // 6
    for (const table of [orders, lines]) await tell(table, 6);
    expect(await purge({ isDry: true })).toMatchObject({ records: 3, files: 3, tail: 4, head: 6 });
    expect(await purge()).toEqual({
      records: 3,
      files: 3,
      tail: 4,
      head: 6,
      heldBy: "the last snapshot of public.orders",
    });
    expect(await log.store.list("log")).toHaveLength(3);
    expect(await log.store.list("data")).toHaveLength(3);
    // Nobody needs that of `orders`; that of `lines` goes as well.
    expect(await purge({ pastSnapshots: true })).toMatchObject({ records: 2, tail: 6, heldBy: null });
  });

  it("keeps a whole snapshot while a newer one is under way, and one that is the first", async () => {
    await log.snapshot(orders, [{ id: "1" }]); // 1
    await change(orders); // 2
    log.begin(orders, "second");
    await log.commit(); // 3
    await log.schema(lines);
    log.begin(lines, "first");
    await log.commit(); // 4
    for (const table of [orders, lines]) await tell(table, 4);
    expect(await purge()).toMatchObject({ records: 0, heldBy: "the last snapshot of public.orders" });
    log.end(orders, "second");
    await log.commit(); // 5
    expect(await purge()).toMatchObject({ records: 2, tail: 3, heldBy: "the last snapshot of public.orders" });
  });

  it("holds what a reader needs, and what a table needs that no reader has told of", async () => {
    await log.snapshot(orders, [{ id: "1" }]); // 1
    await log.snapshot(lines, [{ id: "1" }]); // 2
    await change(orders); // 3
    await change(orders); // 4
    await tell(orders, 4);
    expect(await purge({ pastSnapshots: true })).toMatchObject({
      tail: 2,
      heldBy: "the last snapshot of public.lines",
    });
    await tell(lines, 2);
    expect(await purge({ pastSnapshots: true })).toMatchObject({ tail: 3, heldBy: "applier pipeline-lines" });
  });

  it("leaves what is younger, and the newest record", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await change(orders);
    await change(orders);
    await tell(orders, 3);
    expect(await purge({ pastSnapshots: true, beforeMs: 0 })).toMatchObject({ records: 0, tail: 1, heldBy: null });
    expect(await purge({ pastSnapshots: true })).toMatchObject({ records: 2, tail: 3, heldBy: null });
  });

  it("goes through any number of records", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    while (log.head < 250) await log.commit();
    await tell(orders, 240);
    expect(await purge({ pastSnapshots: true })).toMatchObject({ records: 240, tail: 241 });
  });

  it("refuses where nobody has told what is needed, or it can't be read", async () => {
    await expect(purge()).rejects.toMatchObject({ kind: "missing-object" });
    await log.snapshot(orders, [{ id: "1" }]);
    await expect(purge()).rejects.toMatchObject({ kind: "missing-object" });
    await tell(orders, 1);
    await log.store.put("progress/pipeline-lines.json", '{"version":1,"logId":"a');
    await expect(purge()).rejects.toMatchObject({ kind: "staging" });
  });
});

it("is bounded by the least of all", () => {
  const known = (sequence: number) => ({ schema: "s", name: "t", removed: false, heldSequence: null, sequence });
  const progress = new Map<string, ApplierProgress>([
    ["a", { version: 1 as const, logId: "l", scannedSequence: 9, tables: { "1": known(9) } }],
    ["b", { version: 1 as const, logId: "l", scannedSequence: 7, tables: { "2": known(7) } }],
  ]);
  const kept = (begin: number | null) => [{ tableId: "1", label: "s.t", begin }];
  expect(purgeBound(progress, kept(null), false)).toEqual({ sequence: 7, by: "applier b" });
  expect(purgeBound(progress, kept(5), false)).toEqual({ sequence: 4, by: "the last snapshot of s.t" });
  expect(purgeBound(progress, kept(5), true).sequence).toBe(7);
});

describe("sluice purge", () => {
  it("says what it removes, and refuses a duration that is none", async () => {
    await log.snapshot(orders, [{ id: "1" }]);
    await change(orders);
    await tell(orders, 2);
    const folder = mkdtempSync(join(tmpdir(), "sluice-purge-"));
    try {
      const path = join(folder, "config.json");
      writeFileSync(path, JSON.stringify(log.config()));
      const run = async (...more: string[]) =>
        (await promisify(execFile)(process.execPath, [builtMainPath, "purge", "--config", path, ...more])).stdout;
      expect(await run("--past-snapshots", "--dry-run")).toBe(
        "0 records with 0 files would be removed; 1 to 2 are left\n",
      );
      expect(JSON.parse(await run("--past-snapshots", "--older-than", "0m", "--json"))).toEqual({
        dryRun: false,
        records: 1,
        files: 1,
        tail: 2,
        head: 2,
        heldBy: null,
      });
      await expect(run("--older-than", "soon")).rejects.toMatchObject({ stdout: "" });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

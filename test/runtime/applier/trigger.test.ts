// Contract: what is staged is applied when the trigger says so: after an interval or a number of rows, at the times of a
// schedule (missed ones made up for once), or once; a table that fails holds up no other.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import { writeProgress } from "../../../runtime/staging/applier-progress";
import type { ApplierStatus } from "../../../runtime/status";
import { until } from "../../support/conditions";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string" });
const items = tableSchema("101", "items", { id: "long*" });
let log: StagedLog;
let stop: () => Promise<void> = async () => {};

beforeEach(async () => {
  log = await StagedLog.open();
  await log.snapshot(orders, [{ id: "1" }]);
});
afterEach(async () => {
  await stop();
  stop = async () => {};
  log.close();
});

function run(trigger: ApplierConfig["trigger"]): Promise<void> {
  const abort = new AbortController();
  const done = runApplier(log.config({ trigger }), { signal: abort.signal, version: "0.0.0" });
  stop = async () => {
    abort.abort();
    await done.catch(() => {});
  };
  return done;
}

async function start(trigger: ApplierConfig["trigger"]): Promise<void> {
  run(trigger);
  await until("the status is there", () => existsSync(log.config().statusPath));
}

const status = () => JSON.parse(readFileSync(log.config().statusPath, "utf8")) as ApplierStatus;
const table = (name: string) => status().tables.find((found) => found.name === name);
const rows = () => table("orders")?.rows;

async function insert(from: number, count: number): Promise<void> {
  await log.changes(
    orders,
    Array.from({ length: count }, (_, index) => ({ op: 0, row: { id: String(from + index) } })),
  );
  await log.commit();
}

describe("continuous", () => {
  it("applies when so many rows are staged, long before the interval is over", async () => {
    await start({ kind: "continuous", intervalMs: 3_600_000, rows: 10 });
    await until("the snapshot is applied", () => rows() === 1);
    await insert(2, 6);
    await until("the change is seen", () => status().stagedSequence === 2);
    expect(rows()).toBe(1);
    await insert(8, 4);
    await until("all are applied", () => rows() === 11);
  });
});

describe("continuous, with nothing staged for longer than its interval", () => {
  it("applies what comes then at once, and the next after the interval", async () => {
    log.close();
    log = await StagedLog.open();
    await start({ kind: "continuous", intervalMs: 3_600_000 });
    await until("it runs", () => status().state.kind === "running");
    await log.snapshot(orders, [{ id: "1" }]);
    await until("the snapshot is applied", () => rows() === 1);
    await insert(2, 1);
    await pause(1_500);
    expect(status().appliedSequence).toBe(1);
  });
});

describe("schedule", () => {
  it("applies at its times, and what is staged between waits", async () => {
    await start({ kind: "schedule", cron: "*/2 * * * * *", timeZone: "UTC" });
    await until("the snapshot is applied", () => rows() === 1);
    await insert(2, 1);
    await until("the change is applied", () => rows() === 2);
    expect(Date.parse(status().nextRunAt as string) % 2_000).toBe(0);
    expect(status().state).toEqual({ kind: "running" });
    await stop();
    const { ranAt } = JSON.parse(readFileSync(join(log.folder, "staging/progress/test.json"), "utf8"));
    expect(Date.parse(ranAt) % 2_000).toBe(0);
  });

  it("doesn't run before its time", async () => {
    await start({ kind: "schedule", cron: "0 0 29 2 *", timeZone: "Asia/Kathmandu" });
    await until("it waits", () => status().nextRunAt !== null);
    expect(status().nextRunAt).toMatch(/-02-28T18:15:00.000Z$/);
    expect(status().tables).toEqual([]);
  });

  it("makes up at the start for what was missed", async () => {
    const ranAt = new Date(Date.now() - 3 * 366 * 86_400_000).toISOString();
    await writeProgress(log.store, "test", { version: 1, logId: log.logId, scannedSequence: 0, ranAt, tables: {} });
    await start({ kind: "schedule", cron: "0 0 1 1 *", timeZone: "UTC" });
    await until("the snapshot is applied", () => rows() === 1);
    await until("the next is a year away", () => /-01-01T/.test(status().nextRunAt ?? ""));
  });
});

describe("once", () => {
  it("ends by itself with what was staged at its start, though more and more is staged", async () => {
    for (let at = 0; at < 20; at++) await insert(2 + at, 1);
    let isDone = false;
    const load = (async () => {
      for (let at = 22; !isDone; at++) await insert(at, 1);
      return log.head;
    })();
    const begun = log.head;
    await run({ kind: "once" }).finally(() => {
      isDone = true;
    });
    expect(await load).toBeGreaterThan(begun);
    expect(status()).toMatchObject({ state: { kind: "stopped" } });
    expect(status().appliedSequence).toBeGreaterThanOrEqual(begun);
    expect(rows()).toBeGreaterThanOrEqual(21);
  });

  it("applies all other tables before it ends with the failure of one", async () => {
    const foreign = join(log.destination, "public", "items", "_delta_log");
    mkdirSync(foreign, { recursive: true });
    writeFileSync(join(foreign, `${"0".repeat(20)}.json`), "no JSON\n");
    await log.snapshot(items, [{ id: "1" }]);
    for (let at = 0; at < 5; at++) await insert(2 + at, 1);
    await expect(run({ kind: "once" })).rejects.toMatchObject({ kind: "destination" });
    expect(rows()).toBe(6);
    expect(table("items")?.state).toMatchObject({ kind: "quarantined" });
    expect(status().appliedSequence).toBeLessThan(status().stagedSequence);
  });
});

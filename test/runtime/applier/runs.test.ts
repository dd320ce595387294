// Contract: what applying has done is kept by table, failures with their reason, across processes, within a limit of
// size, and told by `sluice runs`, the newest first.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { TableRun } from "../../../runtime/status";
import { StagedLog, tableSchema } from "./staged-log";

const orders = tableSchema("100", "orders", { id: "long*", name: "string" });
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-runs-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it("are kept of processes that end by themselves, and shown", async () => {
  const log = await StagedLog.open();
  try {
    const config = { ...log.config(), statusPath: join(folder, "status.json") };
    const apply = () => runApplier(config, { signal: new AbortController().signal, version: "0.0.0" });
    await log.snapshot(orders, [{ id: "1" }, { id: "2" }]);
    await apply();
    await log.changes(orders, [
      { op: 1, row: { id: "1" } },
      { op: 2, row: { id: "2" } },
    ]);
    await log.commit();
    await apply();
    await apply();
    await log.changes(orders, [{ op: 0, row: { id: "3" } }]);
    const newest = (await log.store.list("data")).at(-1) as string;
    writeFileSync(join(log.folder, "staging", newest), "damaged");
    await log.commit();
    await expect(apply()).rejects.toThrow();
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const runs = (...options: string[]) =>
      execFileSync(
        process.execPath,
        [
          resolve(__dirname, "../../../dist/runtime/main.js"),
          "runs",
          "--config",
          join(folder, "config.json"),
          ...options,
        ],
        { encoding: "utf8" },
      );
    const shown = (JSON.parse(runs("--json")) as { runs: TableRun[] }).runs;
    const common = { tableId: "100", schema: "public", name: "orders", mode: "scd1", dropped: 0, attempts: 1 };
    expect(shown).toMatchObject([
      {
        ...common,
        attempts: expect.any(Number),
        status: "quarantined",
        failPercent: 100,
        upserted: 0,
        error: { errorKind: "destination" },
      },
      { ...common, attempts: 0, status: "succeeded", upserted: 0, bytes: 0, toSequence: null },
      { ...common, status: "succeeded", upserted: 1, deleted: 1, fromSequence: 2, toSequence: 2, deltaVersion: 1 },
      { ...common, status: "succeeded", upserted: 2, deleted: 0, fromSequence: 1, toSequence: 1, deltaVersion: 0 },
    ]);
    expect(shown.every(({ bytes, attempts, status }) => bytes > 0 || attempts === 0 || status === "quarantined")).toBe(
      true,
    );
    expect((JSON.parse(runs("--json", "--limit", "1", "public.orders")) as { runs: TableRun[] }).runs).toHaveLength(1);
    expect(runs().split("\n")[0]).toMatch(
      /^START +NAME +TYPE +STATUS +DURATION +UPSERTED +DELETED +DROPPED +FAIL % +BYTES$/,
    );
  } finally {
    log.close();
  }
});

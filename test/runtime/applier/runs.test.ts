// Contract: what applying has done is kept by table, failures with their reason, across processes, within a limit of
// size, and told by `sluice runs`, the newest first.
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import { TableRuns } from "../../../runtime/applier/table-runs";
import { SluiceError } from "../../../runtime/errors";
import { RunHistory, readRuns, runHistoryPath, type TableRun } from "../../../runtime/operate/run-history";
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
        status: "failed",
        failPercent: 100,
        upserted: 0,
        error: { kind: "destination" },
      },
      { ...common, status: "succeeded", upserted: 1, deleted: 1, fromSequence: 2, toSequence: 2, deltaVersion: 1 },
      { ...common, status: "succeeded", upserted: 2, deleted: 0, fromSequence: 1, toSequence: 1, deltaVersion: 0 },
    ]);
    expect(shown.every(({ bytes, status }) => bytes > 0 || status === "failed")).toBe(true);
    expect((JSON.parse(runs("--json", "--limit", "1", "public.orders")) as { runs: TableRun[] }).runs).toHaveLength(1);
    expect(runs("public.nothing")).toBe("no runs yet\n");
    expect(runs().split("\n")[0]).toMatch(
      /^STARTED +TABLE +STATUS +DURATION +UPSERTED +DELETED +DROPPED +FAIL % +BYTES$/,
    );
  } finally {
    log.close();
  }
});

describe("a run that doesn't end", () => {
  const table = { tableId: "1", schema: "public", name: "t", mode: "scd1" };
  const batch = (startedMs: number, sequence: number) => ({
    ...{ table, startedMs, endedMs: startedMs + 100, upserted: 10, deleted: 1, bytes: 50 },
    ...{ baseSequence: sequence - 1, sequence, deltaVersion: sequence },
  });
  const statusPath = () => join(folder, "status.json");

  it("is kept by the minute", () => {
    const runs = new TableRuns(new RunHistory(statusPath()));
    for (const [index, startedMs] of [0, 30_000, 59_000, 61_000].entries()) runs.applied(batch(startedMs, index + 1));
    runs.close(100_000);
    expect(readRuns(statusPath(), { limit: 10 })).toHaveLength(1);
    runs.close();
    expect(readRuns(statusPath(), { limit: 10 })).toMatchObject([
      { attempts: 1, fromSequence: 4, toSequence: 4 },
      { attempts: 3, upserted: 30, deleted: 3, bytes: 150, durationMs: 300, fromSequence: 1, toSequence: 3 },
    ]);
  });

  it("is told apart from failures, and one failure from another", () => {
    const runs = new TableRuns(new RunHistory(statusPath()));
    const error = (message: string) => new SluiceError("destination", message, { remedy: "r" });
    runs.applied(batch(0, 1));
    for (const message of ["a", "a", "b"]) runs.failed(table, error(message), 1_000, 1_010);
    runs.applied(batch(2_000, 2));
    runs.close();
    expect(readRuns(statusPath(), { limit: 10 }).map((run) => [run.error?.message, run.attempts])).toEqual([
      [undefined, 1],
      ["b", 1],
      ["a", 2],
      [undefined, 1],
    ]);
  });

  it("is read past a line that a crash has cut", () => {
    const runs = new TableRuns(new RunHistory(statusPath()));
    runs.applied(batch(0, 1));
    runs.close();
    appendFileSync(runHistoryPath(statusPath()), '{"tableId":"1"');
    expect(readRuns(statusPath(), { limit: 10 })).toHaveLength(1);
  });
});

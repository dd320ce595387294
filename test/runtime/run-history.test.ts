// Contract: the last runs of each table are kept through crashes, bounded, and told by `sluice runs`; a run says what it
// did, how long it took, and which share of its attempts failed.
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Attempt, failPercentOf, TableRuns } from "../../runtime/applier/table-runs";
import { SluiceError } from "../../runtime/errors";
import { RunHistory, readRunHistory } from "../../runtime/operate/run-history";
import { runDocument, runFile, runHistoryKey, runHistoryPath } from "../../runtime/operate/run-place";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-runs-"));
  path = runHistoryPath(folder, "shop/eu");
});
afterEach(() => rmSync(folder, { recursive: true }));

const orders = { tableId: "100", schema: "public", name: "orders", mode: "scd1" } as const;
const items = { tableId: "200", schema: "public", name: "items", mode: "append" } as const;
const startMs = Date.parse("2026-05-01T00:00:00Z");
const attempt = (startedAtMs: number, more: Partial<Attempt> = {}): Attempt => ({
  startedAtMs,
  durationMs: 20,
  upserted: 3,
  deleted: 1,
  dropped: 0,
  bytes: 1000,
  failure: null,
  ...more,
});
const failure = { error: new SluiceError("destination", "no room", { remedy: "Make room." }), isQuarantined: true };
const brief = async () =>
  (await readRunHistory(runFile(path))).map(({ name, status, upserted }) => [name, status, upserted]);

describe("runs by spans of time", () => {
  it("add up what is applied within one, and begin anew after it", async () => {
    const runs = new TableRuns(await RunHistory.open(runFile(path), 10), 60_000);
    runs.record(orders, attempt(startMs));
    runs.record(orders, attempt(startMs + 59_000, { dropped: 7 }));
    runs.record(items, attempt(startMs + 30_000));
    runs.record(orders, attempt(startMs + 60_000));
    expect(
      runs
        .recent("100")
        .map(({ status, upserted, dropped, durationMs, bytes }) => [status, upserted, dropped, durationMs, bytes]),
    ).toEqual([
      ["running", 3, 0, 20, 1000],
      ["succeeded", 6, 7, 40, 2000],
    ]);
    runs.settle(startMs + 100_000);
    await runs.flush();
    expect(await brief()).toEqual([
      ["orders", "succeeded", 6],
      ["items", "succeeded", 3],
      ["orders", "running", 3],
    ]);
  });

  it("tell the last failure and the share of failed attempts, and are good when the last attempt is", async () => {
    const runs = new TableRuns(await RunHistory.open(runFile(path), 10), 60_000);
    const failed = { upserted: 0, deleted: 0, bytes: 0, failure };
    runs.record(orders, attempt(startMs, failed));
    runs.record(orders, attempt(startMs + 1, failed));
    expect(runs.recent("100")).toMatchObject([
      { failPercent: 100, error: { errorKind: "destination", message: "no room", remedy: "Make room." } },
    ]);
    runs.record(orders, attempt(startMs + 2));
    runs.end(startMs + 3);
    expect(runs.recent("100")).toMatchObject([
      { status: "succeeded", attempts: 3, failedAttempts: 2, failPercent: 66.7 },
    ]);
    expect(runs.recent("100")[0]).not.toHaveProperty("error");
    runs.record(orders, attempt(startMs + 4, failed));
    runs.end(startMs + 5);
    expect(runs.recent("100")[0]).toMatchObject({ status: "quarantined", endedAt: "2026-05-01T00:00:00.005Z" });
    expect(failPercentOf(runs.recent("100"))).toBe(75);
  });
});

describe("a triggered run", () => {
  it("has every table, also one that has nothing to do", async () => {
    const runs = new TableRuns(await RunHistory.open(runFile(path), 10), null);
    runs.begin([orders, items], startMs);
    runs.record(items, attempt(startMs + 3_600_000));
    runs.end(startMs + 7_200_000);
    await runs.flush();
    expect(await brief()).toEqual([
      ["orders", "succeeded", 0],
      ["items", "succeeded", 3],
    ]);
  });
});

describe("the history's file", () => {
  const put = (history: RunHistory, count: number) => {
    const runs = new TableRuns(history, 1);
    for (let at = 0; at < count; at++) {
      for (const table of [orders, items]) runs.record(table, attempt(startMs + at * 1_000, { upserted: at }));
    }
    runs.end(startMs + count * 1_000);
  };

  it("keeps so many runs of each table, and is written anew when it has grown", async () => {
    for (let process = 0; process < 3; process++) {
      const history = await RunHistory.open(runFile(path), 5);
      for (let flush = 0; flush < 300; flush++) {
        put(history, 2);
        await history.flush();
      }
      expect(history.of("100")).toHaveLength(2);
    }
    expect(readFileSync(path, "utf8").split("\n").length).toBeLessThan(2_500);
    const history = await RunHistory.open(runFile(path), 5);
    put(history, 20);
    await history.flush();
    expect(history.of("100").map(({ upserted }) => upserted)).toEqual([15, 16, 17, 18, 19]);
    expect((await RunHistory.open(runFile(path), 5)).of("200").map(({ upserted }) => upserted)).toEqual([
      15, 16, 17, 18, 19,
    ]);
  });

  it("is read though a crash has cut its last line, and written on after it", async () => {
    const history = await RunHistory.open(runFile(path), 5);
    const runs = new TableRuns(history, 60_000);
    runs.record(orders, attempt(startMs));
    await runs.flush();
    appendFileSync(path, '{"tableId":"100","sche');
    const next = await RunHistory.open(runFile(path), 5);
    expect(next.of("100")).toMatchObject([{ status: "interrupted", upserted: 3 }]);
    new TableRuns(next, 60_000).record(items, attempt(startMs + 1));
    await next.flush();
    expect(await brief()).toEqual([
      ["orders", "interrupted", 3],
      ["items", "running", 3],
    ]);
  });
});

describe("the history's document, where there is no file to append to", () => {
  it("is written whole, not at each flush, but at once when all runs have ended; what failed is written later", async () => {
    const documents = new Map<string, string>();
    let isAway = false;
    let puts = 0;
    const staging = {
      get: async (key: string) => (documents.has(key) ? Buffer.from(documents.get(key) as string) : null),
      put: async (key: string, content: string) => {
        puts++;
        if (isAway) throw new Error("away");
        documents.set(key, content);
      },
    };
    const open = () => RunHistory.open(runDocument(staging, "shop/eu"), 5);
    const runs = new TableRuns(await open(), 60_000);
    for (let at = 0; at < 100; at++) {
      runs.record(orders, attempt(startMs + at));
      await runs.flush();
    }
    expect(puts).toBe(1);
    isAway = true;
    runs.end(startMs + 200);
    await expect(runs.flush()).rejects.toThrow("away");
    isAway = false;
    await runs.flush();
    await runs.flush();
    expect(puts).toBe(3);
    expect([...documents.keys()]).toEqual([runHistoryKey("shop/eu")]);
    expect((await open()).of("100")).toMatchObject([{ status: "succeeded", upserted: 300 }]);
  });
});

describe("sluice runs", () => {
  const main = resolve(__dirname, "../../dist/runtime/main.js");
  const sluice = (...args: string[]) =>
    execFileSync(process.execPath, [main, ...args], { encoding: "utf8", stdio: "pipe" });

  it("prints the history, of one table too, and says what a wrong name might be", async () => {
    const config = join(folder, "config.json");
    const destination = { kind: "local", path: folder };
    const paths = { statusPath: join(folder, "status.json"), stagingPath: join(folder, "staging") };
    writeFileSync(config, JSON.stringify({ version: 1, role: "applier", id: "shop/eu", ...paths, destination }));
    expect(sluice("runs", "--config", config)).toMatch(/^START/);
    const runs = new TableRuns(await RunHistory.open(runFile(path), 10), 60_000);
    runs.record(orders, attempt(startMs, { failure }));
    runs.record(items, attempt(startMs, { upserted: 1_234_567, bytes: 5_000_000 }));
    runs.end(startMs);
    await runs.flush();
    const lines = sluice("runs", "--config", config).split("\n");
    expect(lines[2]).toMatch(
      /^2026-05-01T00:00:00.000Z +public.items +delta +succeeded +0.0 s +1,234,567 +1 +0 +0.0 +4.8 MiB$/,
    );
    expect(lines.slice(-3)).toEqual(["2026-05-01T00:00:00.000Z public.orders: no room", "  remedy: Make room.", ""]);
    expect(JSON.parse(sluice("runs", "--config", config, "--limit", "1", "--json")).runs).toHaveLength(1);
    const { runs: found } = JSON.parse(sluice("runs", "--config", config, "--table", "public.items", "--json"));
    expect(found).toMatchObject([{ name: "items", type: "delta", upserted: 1_234_567, failPercent: 0 }]);
    expect(() => sluice("runs", "--config", config, "--table", "public.item")).toThrow(/Name one of: public.items/);
    expect(() => sluice("status", "--config", config)).toThrow(/Start the process first/);
  });
});

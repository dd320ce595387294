// Contract: a commit whose response is lost, a full disk, a clock that is set, a rival's commit just before ours, and two
// appliers started at once neither lose nor double a change, in tables of every mode (invariant 3).
// SLUICE_DISTURBANCES chooses how many histories, SLUICE_SEED the first.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierConfig } from "../../../runtime/config";
import type { Action } from "../../../runtime/destination/delta/actions";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, type NamedTableOptions, tableModeSchema } from "../../../runtime/table-options";
import { until } from "../../support/conditions";
import { readDeltaRows } from "../../support/delta-reader";
import { Random } from "../../support/random";
import { testSeed } from "../../support/test-seed";
import { eagerMaintenance } from "./eager-maintenance";
import { replayModes } from "./mode-replay";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText, ModelTable, type Step } from "./staged-model";

type Put = (path: string, version: number, actions: Action[]) => Promise<boolean>;

/** Stands between the tables and their logs. */
let disturb: (put: Put, ...args: Parameters<Put>) => Promise<boolean> = (put, ...args) => put(...args);

vi.mock("../../../runtime/destination/delta/delta-log", async (original) => {
  const real = await original<{ putDeltaCommit: Put }>();
  return { ...real, putDeltaCommit: (...args: Parameters<Put>) => disturb(real.putDeltaCommit, ...args) };
});

const options = [...tableModeSchema.options.map((mode) => ({ mode })), { mode: "append" as const, beforeImage: true }];
const tables = options.map((given, index): NamedTableOptions => {
  return { ...defaultTableOptions, schema: "public", name: `t${index + 1}`, ...given };
});
let log: StagedLog;
let models: ModelTable[];

beforeEach(async () => {
  log = await StagedLog.open();
  const columns = { id: "long*", name: "string", amount: "double" };
  models = tables.map(
    ({ name }, index) => new ModelTable(log, tableSchema(String(index + 1), name, columns), true, true),
  );
  for (const model of models) await model.start();
});
afterEach(() => {
  disturb = (put, ...args) => put(...args);
  vi.restoreAllMocks();
  log.close();
});

const apply = (id: string, more: Partial<ApplierConfig> = {}, signal = new AbortController().signal) =>
  runApplier(
    log.config({ id, tables, statusPath: join(log.folder, `${id}.json`), maintenance: eagerMaintenance, ...more }),
    { signal, version: "0.0.0" },
  );

async function work(random: Random, steps: number): Promise<void> {
  const kinds: Step["kind"][] = ["insert", "insert", "insert", "update", "update", "unchanged", "rekey", "delete"];
  for (const model of models) {
    for (let at = 0; at < steps; at++) {
      await model.step({ kind: random.choose(kinds), pick: random.between(0, 999), value: random.between(0, 999) });
    }
    await model.commit();
  }
}

async function expectEqual(): Promise<void> {
  const replayed = await replayModes(log.config().stagingPath);
  for (const [index, { name, mode, beforeImage }] of tables.entries()) {
    const rows = await readDeltaRows(join(log.destination, "public", name));
    expect(rows.map(deltaRowText).sort(), `${name} ${mode}`).toEqual(
      replayed
        .get(String(index + 1))
        ?.rows(mode, beforeImage)
        .sort(),
    );
  }
}

const kinds = ["lost-response", "full", "rival", "clock"];
const coded = (code: string) => Object.assign(new Error(code), { code });
const histories = Number(process.env.SLUICE_DISTURBANCES ?? 1);
const firstSeed = testSeed;

describe("an applier that is disturbed", () => {
  it.each(Array.from({ length: histories }, (_, index) => firstSeed + index))(
    "has each change exactly once (seed %i)",
    async (seed) => {
      const random = new Random(seed);
      const done: Record<string, number> = {};
      // Each once at least.
      const first = [...kinds];
      let clockMs = 0;
      const now = Date.now.bind(Date);
      vi.spyOn(Date, "now").mockImplementation(() => now() + clockMs);
      disturb = async (put, ...args) => {
        const [path, version] = args;
        const kind = (version > 0 ? first.shift() : undefined) ?? random.choose(["none", "none", "none", ...kinds]);
        done[kind] = (done[kind] ?? 0) + 1;
        if (kind === "full") throw coded("ENOSPC");
        if (kind === "rival" && version > 0)
          await put(path, version, [{ commitInfo: { timestamp: 0, operation: "WRITE" } } as Action]);
        // Both ways, by years too.
        if (kind === "clock")
          clockMs = random.choose([-1, 1]) * Math.round(random.choose([1e3, 1e6, 1e9, 1e11]) * random.next());
        const isPut = await put(...args);
        if (kind === "lost-response") throw coded("ETIMEDOUT");
        return isPut;
      };
      for (let round = 0; round < 4; round++) {
        await work(random, 8);
        // What may pass makes a table wait for a second: another start doesn't.
        const both = random.between(0, 1) === 0 ? ["a", "b"] : ["a"];
        const ended = new AbortController();
        // A clock that goes ahead makes everything old: what is applied, and what a rival has just written.
        const maintenance = { ...eagerMaintenance, stagingRetentionMs: 1e13, vacuum: both.length === 1 };
        const running = both.map((id) => apply(id, { maintenance }, ended.signal).catch(() => {}));
        await Promise.race([Promise.all(running), new Promise((resolve) => setTimeout(resolve, 900))]);
        ended.abort();
        await Promise.all(running);
      }
      disturb = (put, ...args) => put(...args);
      await apply("a", { maintenance: { ...eagerMaintenance, stagingRetentionMs: 1e13 } });
      await expectEqual();
      for (const kind of kinds) expect(done[kind], kind).toBeGreaterThan(0);
    },
    60_000,
  );
});

/** A file system of 16 MB, or why there is none. */
function smallDisk(): { path: string } | { skipped: string } {
  const path = mkdtempSync(join(tmpdir(), "sluice-small-lake-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=16m", "sluice-test", path], { stdio: "pipe" });
    return { path };
  } catch (error) {
    rmSync(path, { recursive: true });
    return { skipped: `a small disk can't be mounted here: ${(error as Error).message.split("\n")[0]}` };
  }
}

const disk = smallDisk();

describe.skipIf("skipped" in disk)(`a full disk${"skipped" in disk ? ` (skipped: ${disk.skipped})` : ""}`, () => {
  it("is told, waited for, and quarantines no table", async () => {
    const { path } = disk as { path: string };
    const random = new Random(1);
    const config = log.config({
      tables,
      destination: { kind: "local", path },
      trigger: { kind: "continuous", intervalMs: 20 },
    });
    const stop = new AbortController();
    const running = runApplier(config, { signal: stop.signal, version: "0.0.0" });
    const status = () => {
      const found = JSON.parse(readFileSync(config.statusPath, "utf8")) as ApplierStatus;
      return found.tables.map(({ state }) => state);
    };
    const caughtUp = () =>
      until("all is applied", () => {
        const { appliedSequence } = JSON.parse(readFileSync(config.statusPath, "utf8")) as ApplierStatus;
        return appliedSequence === log.head || null;
      });
    try {
      await work(random, 10);
      await until("it runs", () => status().length > 0 || null).catch(() => {});
      await caughtUp();
      const { bavail, bsize } = statfsSync(path);
      writeFileSync(join(path, "filler"), Buffer.alloc(bavail * bsize));
      await work(random, 10);
      await until("every table waits", () => status().every(({ kind }) => kind === "failed") || null);
      expect(status()[0]).toMatchObject({ errorKind: "destination", retryAt: expect.any(String) });
      rmSync(join(path, "filler"));
      await caughtUp();
      expect(status().map(({ kind }) => kind)).toEqual(tables.map(() => "idle"));
    } finally {
      stop.abort();
      await running.catch(() => {});
    }
    const replayed = await replayModes(config.stagingPath);
    for (const [index, { name, mode, beforeImage }] of tables.entries()) {
      const rows = await readDeltaRows(join(path, "public", name));
      expect(rows.map(deltaRowText).sort(), name).toEqual(
        replayed
          .get(String(index + 1))
          ?.rows(mode, beforeImage)
          .sort(),
      );
    }
    execFileSync("umount", [path]);
    rmSync(path, { recursive: true });
  });
});

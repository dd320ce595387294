// Contract: onDelete "drop" takes the Delta tables that the pipeline made along with it, whole, whatever is killed when; no
// table of anybody else goes, nor one with other files among its own; an update and a replacement drop none.
// Invariant 5: after delete nothing of ours remains, and what isn't ours does.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Deployment } from "../../../provider/deploy/deployment";
import { localDeployment } from "../../../provider/deploy/local";
import { dropTables } from "../../../provider/deploy/table-drop";
import { findDropObstacle } from "../../../provider/deploy/target";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { runApplier } from "../../../runtime/applier/applier";
import type { ApplierStatus } from "../../../runtime/status";
import { StagedLog, tableSchema } from "../../runtime/applier/staged-log";
import { readDeltaRows } from "../../support/delta-reader";

const mainPath = join(process.cwd(), "dist/runtime/main.js");
const orders = tableSchema("100", "orders", { id: "long*" });
const items = tableSchema("200", "items", { id: "long*" });
let log: StagedLog;
let said: string[];

beforeEach(async () => {
  log = await StagedLog.open();
  said = [];
  vi.spyOn(console, "log").mockImplementation((line: string) => {
    said.push(line.replaceAll(log.destination, "LAKE"));
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  log.close();
});

/** Of one run of the provider. */
const run = (env: NodeJS.ProcessEnv = {}) =>
  ingestionPipelineLifecycle(
    () => localDeployment({ mainPath }),
    (spec) => dropTables(spec, { mainPath, env }),
  );

const news = (more: Properties = {}): Properties => ({
  deploymentId: "shop",
  stagingPath: join(log.folder, "staging"),
  stagingIncarnation: "1",
  destination: { kind: "local", path: log.destination },
  stateDir: join(log.folder, "state"),
  trigger: { kind: "once" },
  onDelete: "drop",
  ...more,
});

async function made(more: Properties = {}) {
  const first = run();
  const { inputs, failures } = await first.check({}, news(more));
  expect(failures).toEqual([]);
  return first.create(inputs);
}

const pathOf = (name: string) => join(log.destination, "public", name);
const idsOf = async (name: string) => (await readDeltaRows(pathOf(name))).map(({ id }) => Number(id)).sort();
const lake = () => readdirSync(log.destination).sort();

async function stage(): Promise<void> {
  await log.snapshot(orders, [{ id: "1" }]);
  await log.snapshot(items, [{ id: "2" }]);
}

const awaitTables = () =>
  vi.waitFor(async () => expect([await idsOf("orders"), await idsOf("items")]).toEqual([[1], [2]]), {
    timeout: 20_000,
    interval: 100,
  });

/** Its process wrote its last into staging. */
const awaitFinished = () =>
  vi.waitFor(
    async () => {
      const inspection = await localDeployment({ mainPath }).inspect(join(log.folder, "state", "shop", "applier"));
      expect(inspection.kind).toBe("finished");
    },
    { timeout: 20_000, interval: 100 },
  );

describe("a delete", () => {
  it("drops the tables that were made, and nothing else; a further one is none", async () => {
    await stage();
    const other = await StagedLog.open();
    try {
      const theirs = tableSchema("300", "theirs", { id: "long*" });
      await other.snapshot(theirs, [{ id: "3" }]);
      const destination = { kind: "local", path: log.destination } as const;
      await runApplier(other.config({ destination }), { signal: new AbortController().signal, version: "0.0.0" });
    } finally {
      other.close();
    }
    mkdirSync(join(log.destination, "notes"));
    writeFileSync(join(log.destination, "notes", "a.txt"), "a");
    const { id, outs } = await made();
    await awaitTables();
    const items2 = join(pathOf("items"), "notes.txt");
    writeFileSync(items2, "somebody's");
    said.length = 0;
    await run().delete(id, outs);
    expect(said.sort()).toEqual([
      "Delta table LAKE/public/orders is dropped",
      "warning: Delta table LAKE/public/items stays: it has something else in it: notes.txt",
      "warning: Delta table LAKE/public/theirs stays: it was made of another staging log",
    ]);
    expect(existsSync(pathOf("orders"))).toBe(false);
    expect([await idsOf("items"), await idsOf("theirs")]).toEqual([[2], [3]]);
    expect(readdirSync(join(log.folder, "state"))).toEqual([]);

    rmSync(items2);
    rmSync(pathOf("theirs"), { recursive: true });
    await run().delete(id, outs);
    expect(lake()).toEqual([".sluice", "notes"]); // the history of the other applier
    expect(readdirSync(join(log.destination, ".sluice"))).toEqual(["runs-test.jsonl"]);
    await run().delete(id, outs);
    rmSync(log.destination, { recursive: true });
    await run().delete(id, outs);
    expect(existsSync(log.destination)).toBe(false);
  });

  it.each(["applier.before-drop", "applier.after-drop"])(
    "that was killed at %s is finished by the next",
    async (at) => {
      await stage();
      const { id, outs } = await made();
      await awaitTables();
      const killed = run({ SLUICE_FAILPOINT: at }).delete(id, outs);
      await expect(killed).rejects.toMatchObject({ kind: "destination", message: expect.stringMatching(/SIGKILL/) });
      await run().delete(id, outs);
      expect(lake()).toEqual([]);
      expect(readdirSync(join(log.folder, "state"))).toEqual([]);
    },
  );

  it("drops none by default, in an update, and as a part of a replacement", async () => {
    await stage();
    const { id, outs } = await made();
    await awaitTables();
    // An engine asks about a pipeline before it replaces it: with an unknown staging, or by another's wish.
    for (const ask of ["diff", "check"] as const) {
      const replacing = run();
      if (ask === "diff") replacing.diff(id, outs, news({ stagingIncarnation: unknownValue }));
      else await replacing.check(outs, news());
      await replacing.delete(id, outs);
      expect(said.at(-1)).toBe("IngestionPipeline shop: is replaced, its Delta tables stay");
      await made();
    }
    const updating = run();
    const { inputs } = await updating.check(outs, news({ onDelete: "keep" }));
    const { outs: kept } = await updating.update(id, outs, inputs);
    await run().delete(id, kept);
    await awaitTables();
  });

  it("drops what was made of the former staging log too, of which the state knows, and nobody else's", async () => {
    await stage();
    writeFileSync(
      join(log.folder, "staging", "owner.json"),
      JSON.stringify({ deploymentId: "shop", incarnation: "1" }),
    );
    const [next, other] = [await StagedLog.open(), await StagedLog.open()];
    try {
      await other.snapshot(tableSchema("300", "theirs", { id: "long*" }), [{ id: "3" }]);
      const destination = { kind: "local", path: log.destination } as const;
      await runApplier(other.config({ destination }), { signal: new AbortController().signal, version: "0.0.0" });
      await next.snapshot(orders, [{ id: "1" }]);
      const { id, outs } = await made();
      await awaitTables();
      const switching = run();
      const over = { stagingPath: join(next.folder, "staging"), stagingIncarnation: "2" };
      const { inputs } = await switching.check(outs, news(over));
      const { outs: switched } = await switching.update(id, outs, inputs);
      expect(switched.formerLogs).toEqual([log.logId]);
      // A further update goes on knowing it; the gateway takes the former staging away.
      const { outs: kept } = await run().update(id, switched, { ...inputs, runsKeptMax: 7 });
      rmSync(join(log.folder, "staging"), { recursive: true });
      await awaitFinished();
      said.length = 0;
      await run().delete(id, (await run().read(id, kept)).props as Properties);
      expect(said.sort()).toEqual([
        "Delta table LAKE/public/items is dropped",
        "Delta table LAKE/public/orders is dropped",
        "warning: Delta table LAKE/public/theirs stays: it was made of another staging log",
      ]);
      expect(lake()).toEqual([".sluice", "public"]);
    } finally {
      next.close();
      other.close();
    }
  });

  it("drops what was made of the log before a replacement that deletes the pipeline first, whatever its new folder", async () => {
    await stage();
    const next = await StagedLog.open();
    try {
      // The other table has left: nothing of the new log will ever fill it.
      await next.snapshot(orders, [{ id: "1" }]);
      const { id, outs } = await made({ origin: "acme/shop/dev/orders" });
      await awaitTables();
      const replacing = run();
      replacing.diff(id, outs, news({ stagingIncarnation: unknownValue }));
      await replacing.delete(id, outs);
      rmSync(join(log.folder, "staging"), { recursive: true });
      const over = { deploymentId: "anew", stagingPath: join(next.folder, "staging"), stagingIncarnation: "2" };
      const made2 = async (more: Properties) => {
        const { inputs } = await replacing.check({}, news({ ...over, ...more }));
        return replacing.create(inputs);
      };
      // Another resource's are none of its own.
      const { outs: others } = await made2({ deploymentId: "others", origin: "acme/shop/dev/others" });
      expect(others).not.toHaveProperty("formerLogs");
      await run().delete("others", { ...others, onDelete: "keep" });
      const { outs: replaced } = await made2({ origin: "acme/shop/dev/orders" });
      expect(replaced.formerLogs).toEqual([log.logId]);
      said.length = 0;
      await run().delete("anew", (await run().read("anew", replaced)).props as Properties);
      expect(said.sort()).toEqual([
        "Delta table LAKE/public/items is dropped",
        "Delta table LAKE/public/orders is dropped",
      ]);
    } finally {
      next.close();
    }
  });

  it("knows the log of before by what the applier says, where its staging can't be looked into", async () => {
    const elsewhere = (logId: string | null): Deployment => ({
      ...localDeployment({ mainPath }),
      isHere: false,
      staging: {
        inspect: async () => ({ kind: "owned", owner: { deploymentId: "shop", incarnation: "1" } }),
        make: async () => {},
        remove: async () => true,
      },
      status: async () => ({ role: "applier", logId }) as ApplierStatus,
      apply: async () => ({}),
      remove: async () => {},
    });
    const over = news({ stagingIncarnation: "2" });
    for (const [told, formerLogs] of [
      ["a-log", ["a-log"]],
      [null, undefined],
    ] as const) {
      const pipeline = ingestionPipelineLifecycle(() => elsewhere(told));
      const { outs } = await pipeline.update("shop", news(), over);
      expect(outs.formerLogs).toEqual(formerLogs);
      pipeline.diff("shop", news(), news({ stagingIncarnation: unknownValue }));
      await pipeline.delete("shop", news());
      expect((await pipeline.create(over)).outs.formerLogs).toEqual(formerLogs);
      // Of two with one name nobody knows whose is whose.
      for (const _ of [1, 2]) await pipeline.delete("shop", news());
      expect((await pipeline.create(over)).outs).not.toHaveProperty("formerLogs");
    }
  });

  it("doesn't take the log of a gateway that has the former staging by now for its own", async () => {
    await stage();
    const owner = { deploymentId: "shop", incarnation: "another" };
    writeFileSync(join(log.folder, "staging", "owner.json"), JSON.stringify(owner));
    const { id, outs } = await made();
    const over = { ...outs, stagingPath: join(log.folder, "next"), stagingIncarnation: "2" };
    mkdirSync(over.stagingPath);
    const { outs: switched } = await run().update(id, outs, over);
    expect(switched.formerLogs).toBeUndefined();
    await run().delete(id, { ...switched, onDelete: "keep" });
  });

  it("leaves tables where nothing tells any more whose they are", async () => {
    await stage();
    const { id, outs } = await made();
    await awaitFinished();
    await awaitTables();
    rmSync(join(log.folder, "staging"), { recursive: true });
    await run().delete(id, outs);
    expect(said.at(-1)).toBe(
      "warning: Delta table LAKE/public/orders stays: the staging log is gone that tells whose it is",
    );
    expect(existsSync(join(log.folder, "staging"))).toBe(false);
    await awaitTables();
  });
});

describe("a preview", () => {
  it("tells what a delete does, where that is new", async () => {
    const id = (more: Properties) => news({ deploymentId: "told", ...more });
    const { inputs } = await run().check({}, id({}));
    const line = said.find((each) => each.includes("its delete"));
    expect(line).toBe(
      'warning: IngestionPipeline told: its delete drops the Delta tables that it made in LAKE (onDelete: "drop"); an update or a replacement leaves them',
    );
    said.length = 0;
    const olds = { ...inputs, drift: [] };
    await run().check(olds, id({}));
    expect(said.filter((each) => each.includes("its delete"))).toEqual([]);
    await run().check(olds, id({ onDelete: undefined }));
    expect(said).toContain('IngestionPipeline told: its delete leaves the Delta tables (onDelete: "keep")');
  });

  it("refuses what could not be dropped: tables of a container's user that this one isn't", () => {
    const of = (more: object, uid: number) => findDropObstacle({ kind: "docker", ...more }, uid);
    expect(of({ user: "1001:1001" }, 1000)).toMatch(
      /as user 1001, and this one \(1000\) can't remove them\n {2}remedy: /,
    );
    expect(of({ user: "1000:1001" }, 1000)).toBeNull();
    expect(of({ user: "1001:1001" }, 0)).toBeNull();
    expect(of({}, 1000)).toBeNull();
    expect(findDropObstacle(undefined, 1000)).toBeNull();
  });
});

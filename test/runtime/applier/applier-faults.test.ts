// Contract: each staged change is in the destination exactly once, whatever is killed when (invariant 3): kill -9 at each
// failpoint and at random moments, two appliers at a time, SIGTERM. The long run is `npm run faults -- --applier`.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ApplierConfig } from "../../../runtime/config";
import type { ApplierStatus } from "../../../runtime/status";
import { defaultTableOptions, tableModeSchema } from "../../../runtime/table-options";
import { until } from "../../support/conditions";
import { readDeltaRows } from "../../support/delta-reader";
import { RuntimeProcess } from "../../support/runtime-process";
import { eagerMaintenance } from "./eager-maintenance";
import { replayModes } from "./mode-replay";
import { expectedText, namedRowText, SchemaModel, type SchemaStep } from "./schema-model";
import { StagedLog, tableSchema } from "./staged-log";
import { deltaRowText, ModelTable, rowText, type Step } from "./staged-model";

const columns = { name: "string", amount: "double" };
let log: StagedLog;
let models: ModelTable[];
const processes: RuntimeProcess<ApplierStatus>[] = [];

beforeEach(async () => {
  log = await StagedLog.open();
  models = [
    new ModelTable(log, tableSchema("1", "keyed", { id: "long*", ...columns }), true),
    new ModelTable(log, tableSchema("2", "keyless", { id: "long", ...columns }), false),
  ];
  for (const model of models) await model.start();
  await work(1);
});
afterEach(async () => {
  for (const each of processes.splice(0)) if (each.alive) await each.kill();
  log.close();
});

/** Stages some records with every kind of change; the same for the same seed. */
async function work(seed: number): Promise<void> {
  const kinds: Step["kind"][] = ["insert", "insert", "insert", "update", "unchanged", "rekey", "delete", "insert"];
  for (let round = 0; round < 3; round++) {
    for (const model of models) {
      for (let at = 0; at < 12; at++) {
        const value = seed * 31 + round * 17 + at;
        await model.step({ kind: kinds[value % kinds.length], pick: value * 7, value });
      }
      if ((seed + round) % 5 === 4) await model.step({ kind: "begin", pick: 0, value: 0 });
      if ((seed + round) % 5 === 1) await model.step({ kind: "end", pick: 0, value: 0 });
      await model.commit();
    }
  }
}

async function finish(): Promise<void> {
  for (const model of models) {
    await model.step({ kind: "end", pick: 0, value: 0 });
    await model.commit();
  }
}

function applier(name: string, config: Partial<ApplierConfig> = {}): RuntimeProcess<ApplierStatus> {
  const folder = join(log.folder, name);
  const process = new RuntimeProcess<ApplierStatus>(folder, {
    ...log.config(config),
    id: name,
    statusPath: join(folder, "status.json"),
  });
  processes.push(process);
  return process;
}

async function expectEqual(): Promise<void> {
  for (const { schema, visible } of models) {
    const rows = await readDeltaRows(join(log.destination, "public", schema.name));
    expect(rows.map(deltaRowText).sort()).toEqual((visible ?? []).map(rowText).sort());
  }
}

describe("an applier that is killed", () => {
  it("at each place, with snapshots and with changes, goes on where it was", async () => {
    const once = applier("once");
    const places = ["applier.after-data-files", "applier.before-commit", "applier.after-commit"];
    // The first ones apply the snapshots.
    for (const [index, place] of [...places, ...places].entries()) {
      const spoiled = await once.start({ SLUICE_FAILPOINT: `${place}:${(index % 2) + 1}` }).exited();
      expect(spoiled.signal, place).toBe("SIGKILL");
      await work(index + 2);
    }
    await finish();
    expect(await once.start().exited()).toEqual({ code: 0, signal: null });
    await expectEqual();
  });

  it("at random moments while changes come has each exactly once", async () => {
    const continuous = applier("continuous", { trigger: { kind: "continuous", intervalMs: 10 } });
    for (let round = 3; round < 7; round++) {
      continuous.start();
      await continuous.untilStatus("it runs", (status) => status.state.kind === "running");
      await work(round);
      await pause((round * 67) % 90);
      await continuous.kill();
    }
    await finish();
    continuous.start();
    const killed = await continuous.untilStatus("all is applied", (status) => status.appliedSequence === log.head);
    await expectEqual();
    const fresh = applier("fresh", { destination: { kind: "local", path: join(log.folder, "fresh-lake") } });
    expect(await fresh.start().exited()).toEqual({ code: 0, signal: null });
    const counters = (status: ApplierStatus | null) =>
      status?.tables.map(({ name, rows, upserted, deleted }) => ({ name, rows, upserted, deleted }));
    expect(counters(killed)).toEqual(counters(fresh.status()));
  });
});

describe("an applier that is killed while schemas change", () => {
  const places = ["applier.after-rewritten-file:3", "applier.before-commit:2", "applier.after-commit:1"];
  it.each(places)("at %s goes on where it was, under the new names", async (place) => {
    const names = new Map<string, SchemaModel>();
    const changing = ["a", "b"].map((name, index) => {
      const isFree = (wanted: string) => [...names.values()].every(({ schema }) => schema.name !== wanted);
      names.set(name, new SchemaModel(log, String(index + 10), name, isFree));
      return names.get(name) as SchemaModel;
    });
    const [a, b] = changing;
    const steps = async (model: SchemaModel, ...kinds: [SchemaStep["kind"], number][]) => {
      for (const [kind, value] of kinds) await model.step({ kind, pick: value, value });
    };
    for (const model of changing) {
      await model.start();
      await steps(model, ["insert", 1], ["insert", 2], ["insert", 3], ["commit", 0]);
    }
    const once = applier("once", { maintenance: eagerMaintenance });
    expect(await once.start().exited()).toEqual({ code: 0, signal: null });
    for (const model of changing) await steps(model, ["delete", 1], ["add", 2], ["insert", 4], ["widen", 0]);
    // a → c, b → a, c → b: each takes the other's place before that one has left it.
    await steps(a, ["move", 2]);
    await steps(b, ["move", 0]);
    await steps(a, ["move", 1]);
    for (const model of changing) await steps(model, ["insert", 5], ["unchanged", 1], ["commit", 0]);
    expect((await once.start({ SLUICE_FAILPOINT: place }).exited()).signal).toBe("SIGKILL");
    expect(await once.start().exited()).toEqual({ code: 0, signal: null });
    for (const { schema, rows } of changing) {
      const found = await readDeltaRows(join(log.destination, "public", schema.name));
      expect(found.map(namedRowText).sort()).toEqual(rows.map((row) => expectedText(schema, row)).sort());
    }
    expect([a.schema.name, b.schema.name]).toEqual(["b", "a"]);
    await expectEqual();
  });
});

describe("two appliers on one staging log", () => {
  it("apply nothing twice", async () => {
    const both = ["a", "b"].map((name) => applier(name, { trigger: { kind: "continuous", intervalMs: 10 } }).start());
    for (let round = 3; round < 8; round++) await work(round);
    await finish();
    for (const each of both) {
      await each.untilStatus("all is applied", (status) => status.appliedSequence === log.head);
      expect(each.status()?.tables.map((table) => table.state.kind)).toEqual(["idle", "idle"]);
    }
    await expectEqual();
  });
});

describe("SIGTERM", () => {
  it("ends it with 0, and the next one goes on", async () => {
    const continuous = applier("continuous", { trigger: { kind: "continuous", intervalMs: 10 } });
    continuous.start();
    await continuous.untilStatus("it runs", (status) => status.state.kind === "running");
    await work(3);
    expect(await continuous.stop()).toEqual({ code: 0, signal: null });
    expect(continuous.status()?.state).toEqual({ kind: "stopped" });
    await finish();
    continuous.start();
    await continuous.untilStatus("all is applied", (status) => status.appliedSequence === log.head);
    await expectEqual();
  });

  it("ends one that waits for a staging log", async () => {
    const waiting = applier("waiting", {
      stagingPath: join(log.folder, "elsewhere"),
      trigger: { kind: "continuous", intervalMs: 10_000 },
    });
    waiting.start();
    await waiting.untilStatus("it waits", (status) => status.state.kind === "waiting");
    expect(await waiting.stop()).toEqual({ code: 0, signal: null });
  });
});

describe("a table of each mode", () => {
  it("whose applier is killed here and there has each change exactly once", async () => {
    const tables = tableModeSchema.options.map((mode) => ({
      ...defaultTableOptions,
      schema: "public",
      name: `t_${mode}`,
      mode,
    }));
    models = tables.map(
      ({ name }, index) =>
        new ModelTable(log, tableSchema(String(50 + index), name, { id: "long*", ...columns }), true),
    );
    for (const model of models) await model.start();
    await work(1);
    const once = applier("modes", { tables });
    for (const [index, place] of [
      "applier.after-data-files:3",
      "applier.before-commit:4",
      "applier.after-commit:3",
    ].entries()) {
      await work(6 + index * 5);
      expect((await once.start({ SLUICE_FAILPOINT: place }).exited()).signal).toBe("SIGKILL");
    }
    await work(4);
    await finish();
    expect(await once.start().exited()).toEqual({ code: 0, signal: null });
    const replayed = await replayModes(log.config().stagingPath, ["50", "51", "52", "53"]);
    for (const [index, { mode, name }] of tables.entries()) {
      const rows = await readDeltaRows(join(log.destination, "public", name));
      const expected = replayed.get(String(50 + index))?.rows(mode);
      expect(rows.map(deltaRowText).sort(), mode).toEqual(expected?.sort());
    }
  });
});

describe("maintenance", () => {
  it("that is killed anywhere changes no row, and is done by the next", async () => {
    const once = applier("once", { maintenance: { ...eagerMaintenance, stagingRetentionMs: 0 } });
    let round = 2;
    for (const place of [
      "applier.after-compacted-files:2",
      "applier.before-compaction-commit:1",
      "applier.after-compaction-commit:2",
      "applier.during-vacuum:3",
      "applier.after-purged-record:2",
    ]) {
      // A batch that crashes leaves files behind.
      await work(round++);
      expect((await once.start({ SLUICE_FAILPOINT: "applier.before-commit:2" }).exited()).signal).toBe("SIGKILL");
      for (let attempt = 1; ; attempt++) {
        await work(round++);
        const { signal } = await once.start({ SLUICE_FAILPOINT: place }).exited();
        await expectEqual();
        if (signal === "SIGKILL") break;
        expect(attempt, place).toBeLessThan(4);
      }
    }
    await finish();
    expect(await once.start().exited()).toEqual({ code: 0, signal: null });
    await expectEqual();
  });

  it("with kills at random moments and a rival that does the same has each change exactly once", async () => {
    const trigger = { kind: "continuous", intervalMs: 10 } as const;
    // A retention, as with none each would take the other's new files for needless ones.
    const maintenance = { ...eagerMaintenance, fileRetentionMs: 60_000, stagingRetentionMs: 0 };
    const both = ["a", "b"].map((name) => applier(name, { trigger, maintenance }));
    // Without a retention nothing is kept for an applier that nobody has heard of yet: each tells of itself first.
    for (const each of both) {
      await each.start().untilStatus("it has its place", ({ appliedSequence }) => appliedSequence === log.head);
    }
    for (let round = 3; round < 7; round++) {
      const victim = both[round % 2];
      await victim.untilStatus("it runs", (status) => status.state.kind === "running");
      await work(round);
      await pause((round * 67) % 90);
      await victim.kill();
      victim.start();
    }
    await finish();
    for (const each of both) await each.untilStatus("all is applied", (status) => status.appliedSequence === log.head);
    await expectEqual();
    const folder = join(log.destination, "public", "keyed", "_delta_log");
    const commits = () => readdirSync(folder).map((name) => readFileSync(join(folder, name), "utf8"));
    await until("a compaction", () => commits().some((text) => text.includes('"operation":"OPTIMIZE"')) || null);
    await expectEqual();
  });
});

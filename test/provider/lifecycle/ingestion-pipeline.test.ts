// Contract: check tells an unknown kind of destination with the kinds there are, and a destination that can't be
// written; another staging replaces, settings update in place; create leaves nothing half-made; delete stops the process
// and keeps the tables.
// Invariant 5: after delete no process of ours remains.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { localDeployment } from "../../../provider/deploy/local";
import { applierSpec } from "../../../provider/lifecycle/applier-process";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import {
  checkIngestionPipelineInputs,
  diffIngestionPipeline,
} from "../../../provider/lifecycle/ingestion-pipeline-inputs";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";

const deployment = localDeployment({ mainPath: join(process.cwd(), "dist/test/support/stub-runtime.js") });
const pipeline = ingestionPipelineLifecycle(() => deployment);
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-pipeline-"));
});

afterEach(async () => {
  for (const id of ["healthy", "finished", "failed"]) {
    await deployment.remove(join(folder, "state", id, "applier"), 3_000);
  }
  rmSync(folder, { recursive: true, force: true });
});

function news(more: Properties = {}): Properties {
  return {
    deploymentId: "healthy",
    stagingPath: join(folder, "staging"),
    stagingIncarnation: "1",
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
    stopTimeoutMs: 3_000,
    ...more,
  };
}

const failuresOf = async (more: Properties) => (await pipeline.check({}, news(more))).failures;

async function checked(more: Properties = {}, olds: Properties = {}): Promise<Properties> {
  const { inputs, failures } = await pipeline.check(olds, news(more));
  expect(failures).toEqual([]);
  return inputs;
}

describe("check", () => {
  it("fills in defaults", async () => {
    expect(await checked()).toMatchObject({ trigger: { kind: "continuous", intervalMs: 500 }, startTimeoutMs: 60_000 });
  });

  it("tells what is wrong with a schedule", async () => {
    const failures = await failuresOf({ trigger: { kind: "schedule", cron: "0 25 * * *", timeZone: "Mars/Olympus" } });
    expect(failures).toMatchObject([{ property: "trigger.timeZone", reason: expect.stringMatching(/Mars\/Olympus/) }]);
    expect(await failuresOf({ trigger: { kind: "schedule", cron: "0 25 * * *" } })).toMatchObject([
      { property: "trigger.cron" },
    ]);
  });

  it("tells which kinds of destination there are", async () => {
    const [failure, ...rest] = await failuresOf({ destination: { kind: "iceberg", path: "/lake" } });
    expect(rest).toEqual([]);
    expect(failure.property).toBe("destination.kind");
    expect(failure.reason).toMatch(/no destination of the kind "iceberg"\n {2}remedy: Use one of: \{ kind: "local"/);
    expect(await failuresOf({ destination: { kind: "constructor" } })).toMatchObject([
      { property: "destination.kind" },
    ]);
    expect(await failuresOf({ destination: "/lake" })).toMatchObject([{ property: "destination" }]);
  });

  it("knows a destination that can't be written", async () => {
    writeFileSync(join(folder, "file"), "");
    const destination = { kind: "local", path: join(folder, "file", "lake") };
    expect(await failuresOf({ destination })).toMatchObject([
      { property: "destination.path", reason: expect.stringContaining("file is a file") },
    ]);
    expect(await failuresOf({ destination: { kind: "local", path: "lake" } })).toMatchObject([
      { property: "destination.path", reason: expect.stringContaining("absolute") },
    ]);
  });

  it("lets unknown values pass", () => {
    const destination = { kind: "local", path: unknownValue };
    const unknown = { stagingPath: unknownValue, stagingIncarnation: unknownValue, deploymentId: unknownValue };
    expect(checkIngestionPipelineInputs(news({ ...unknown, destination })).failures).toEqual([]);
    expect(checkIngestionPipelineInputs(news({ destination: unknownValue })).failures).toEqual([]);
  });
});

/** See change-cost.test.ts. */
const withoutCost = (lines: string[]) => lines.filter((line) => !line.startsWith("IngestionPipeline "));

describe("options of tables", () => {
  const scd2 = { table: "public.orders", mode: "scd2" };

  it("reach the process, by the tables' names", async () => {
    const inputs = await checked({ tableOptions: [scd2] });
    expect(applierSpec(inputs).config).toMatchObject({ tables: [{ schema: "public", name: "orders", mode: "scd2" }] });
    expect(await failuresOf({ tableOptions: [{ table: "orders" }] })).toMatchObject([
      { property: "tableOptions[0].table" },
    ]);
    expect(await failuresOf({ tableOptions: [scd2, scd2] })).toMatchObject([{ property: "tableOptions[1]" }]);
    expect(checkIngestionPipelineInputs(news({ tableOptions: [{ ...scd2, mode: unknownValue }] })).failures).toEqual(
      [],
    );
  });

  it("that rows of before can't follow are refused by the preview, unless the loss is accepted", async () => {
    const olds = await checked();
    const failures = async (more: Properties) => (await pipeline.check(olds, news(more))).failures;
    expect(await failures({ tableOptions: [scd2] })).toMatchObject([
      {
        property: "tableOptions",
        reason: expect.stringMatching(/public.orders needs a new snapshot: its mode .*\n.*resync/),
      },
    ]);
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
      expect(await failures({ tableOptions: [{ ...scd2, onChange: "refresh" }] })).toEqual([]);
      expect(await failures({ tableOptions: [{ ...scd2, mode: "softDelete", metadataColumns: true }] })).toEqual([]);
      expect(await failures({ tableOptions: [scd2], stagingIncarnation: "2" })).toEqual([]);
      expect(withoutCost(said.mock.calls.flat())).toEqual([
        "warning: table public.orders: its mode changes from scd1 to scd2: it stays as it is until sluice resync --table public.orders, and then loses what it holds",
        "table public.orders changes in place, with its next change: mode, metadataColumns",
      ]);
    } finally {
      said.mockRestore();
    }
  });
});

describe("tables that leave the publication", () => {
  it("are told by the preview, with what becomes of each; their options may leave with them", async () => {
    const tables = ["public.orders", "public.items", "public.people"];
    const tableOptions = [
      { table: "public.orders", mode: "scd2", onRemove: "drop", destination: { schema: "crm" } },
      { table: "public.items" },
    ];
    const olds = await checked({ tables, tableOptions });
    const said = vi.spyOn(console, "log").mockImplementation(() => {});
    try {
      const rest = { tables: ["public.people"], tableOptions: [] };
      expect((await pipeline.check(olds, news(rest))).failures).toEqual([]);
      expect(withoutCost(said.mock.calls.flat())).toEqual([
        'warning: table "public"."orders" leaves: its Delta table "crm"."orders" is dropped (onRemove: "drop")',
        'table "public"."items" leaves: its Delta table "public"."items" stays as it is (onRemove: "keep")',
      ]);
      said.mockClear();
      expect((await pipeline.check(olds, news({ ...rest, tables }))).failures).toHaveLength(1);
      await checked({ tables: [unknownValue], tableOptions }, olds);
      expect(said.mock.calls).toEqual([]);
      // The list alone restarts nothing.
      const fewer = await checked({ tables: ["public.people"], tableOptions }, olds);
      expect(diffIngestionPipeline({ ...olds, drift: [] }, fewer)).toMatchObject({ changes: false });
    } finally {
      said.mockRestore();
    }
  });
});

describe("diff", () => {
  const olds = () => ({ ...checkIngestionPipelineInputs(news()).inputs, drift: [] });
  const diff = (more: Properties) => diffIngestionPipeline(olds(), checkIngestionPipelineInputs(news(more)).inputs);

  it("is nothing for the same inputs", () => {
    expect(diff({})).toMatchObject({ changes: false });
  });

  it("is deleted before a staging that goes, of which the incarnation is unknown", () => {
    expect(diff({ stagingIncarnation: unknownValue, stagingPath: unknownValue })).toEqual({
      changes: true,
      replaces: ["stagingIncarnation"],
      deleteBeforeReplace: true,
    });
  });

  it.each<[Properties]>([
    [{ stagingIncarnation: "2" }],
    [{ stateDir: "/other" }],
    [{ destination: { kind: "local", path: "/other" } }],
    [{ trigger: { kind: "once" } }],
    [{ memoryBytesMax: 1e9 }],
  ])("updates for %j", (more) => expect(diff(more)).toMatchObject({ changes: true, replaces: [] }));
});

describe("create, read, update and delete", () => {
  it("go round, and the tables stay", async () => {
    const { id, outs } = await pipeline.create(await checked());
    expect({ id, ...outs }).toMatchObject({
      id: "healthy",
      statusPath: join(folder, "state", "healthy", "applier", "status.json"),
      destinationPath: join(folder, "lake"),
    });
    const table = join(folder, "lake", "public", "orders");
    mkdirSync(table, { recursive: true });
    expect(await pipeline.read(id, outs)).toMatchObject({ id, props: { drift: [] }, inputs: await checked({}, outs) });
    const updated = await pipeline.update(id, outs, await checked({ memoryBytesMax: 1e9 }, outs));
    await pipeline.delete(id, updated.outs);
    expect(await deployment.inspect(applierSpec(outs).directory)).toEqual({ kind: "absent" });
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    expect(existsSync(table)).toBe(true);
    await pipeline.delete(id, updated.outs);
  });

  it("a run that is done is no drift", async () => {
    const { id, outs } = await pipeline.create(await checked({ deploymentId: "finished", trigger: { kind: "once" } }));
    expect((await pipeline.read(id, outs)).props?.drift).toEqual([]);
  });

  it("a folder that is gone is drift", async () => {
    const { id, outs } = await pipeline.create(await checked());
    await deployment.remove(applierSpec(outs).directory, 3_000);
    const { props } = await pipeline.read(id, outs);
    expect(props?.drift).toEqual([expect.stringContaining("is gone")]);
    expect(pipeline.diff(id, props!, await checked({}, props))).toMatchObject({ changes: true, replaces: [] });
  });

  it("one that is replaced in its own place, without a diff, leaves the new one alone at its delete", async () => {
    const old = await pipeline.create(await checked());
    const anew = await pipeline.create(await checked());
    await pipeline.delete(old.id, old.outs);
    expect((await pipeline.read(anew.id, anew.outs)).props).toMatchObject({ processState: "healthy", drift: [] });
    await pipeline.delete(anew.id, anew.outs);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });

  it("a create that fails leaves nothing", async () => {
    await expect(pipeline.create(await checked({ deploymentId: "failed" }))).rejects.toMatchObject({ kind: "process" });
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  });
});

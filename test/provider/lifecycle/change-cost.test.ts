// Contract: every input of every resource has one declared effect, by which diff decides and the cost is told: no effect
// on data, in place, a restart, new copies of named tables with the server's estimates, a new staging or a new slot with
// new copies of all. The cost is an output, printed by the check, which no input names and no diff compares.
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { localDeployment } from "../../../provider/deploy/local";
import { type ChangeCost, copiesOf, costOf, dearest, describeCost } from "../../../provider/lifecycle/change-cost";
import { changesOf, compare, type Effect, type Effects } from "../../../provider/lifecycle/comparison";
import { connectionEffects, shape as connectionShape } from "../../../provider/lifecycle/connection";
import { gatewayLifecycle } from "../../../provider/lifecycle/gateway";
import { gatewayEffects, shape as gatewayShape } from "../../../provider/lifecycle/gateway-inputs";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import {
  ingestionPipelineEffects,
  shape as pipelineShape,
} from "../../../provider/lifecycle/ingestion-pipeline-inputs";
import type { Lifecycle, Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import {
  changedTables,
  publicationEffects,
  shape as publicationShape,
} from "../../../provider/lifecycle/publication-inputs";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { replicationSlotEffects, shape as slotShape } from "../../../provider/lifecycle/replication-slot-inputs";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

const resources: Record<string, { effects: Effects; shape: object; apart?: string[] }> = {
  Connection: { effects: connectionEffects, shape: connectionShape },
  Publication: { effects: publicationEffects, shape: publicationShape, apart: ["origin"] },
  ReplicationSlot: { effects: replicationSlotEffects, shape: slotShape },
  Gateway: { effects: gatewayEffects, shape: gatewayShape, apart: ["slotIncarnation"] },
  // Its tables are the publication's, for the preview only.
  IngestionPipeline: { effects: ingestionPipelineEffects, shape: pipelineShape, apart: ["tables", "origin"] },
};

describe("the table of effects", () => {
  it.each(Object.entries(resources))("of %s has every input", (_, { effects, shape, apart = [] }) => {
    const named = new Set([...Object.keys(effects), ...apart]);
    expect([...named].sort()).toEqual([...new Set([...Object.keys(shape), ...apart])].sort());
  });

  type Row = [string, string, unknown, unknown, Effect];
  const rows = Object.entries(resources).flatMap(([kind, { effects }]) =>
    Object.entries(effects).flatMap(([input, effect]): Row[] => {
      if (typeof effect === "string") return [[kind, input, "a", "b", effect]];
      if (input === "destination") {
        const lake = { kind: "databricks", catalog: "main", schema: "lake" };
        return [
          [kind, input, lake, { ...lake, parallelMax: 8 }, effect.else],
          [kind, input, lake, { ...lake, schema: "other" }, effect.effect],
          [kind, input, { kind: "local", path: "/a" }, { kind: "local", path: "/b" }, effect.effect],
          [kind, input, lake, unknownValue, effect.effect],
        ];
      }
      if (effect.of !== undefined) {
        return [
          [kind, input, { kind: "local" }, { kind: "docker" }, effect.else],
          ...(input === "deployment"
            ? [[kind, input, { kind: "local" }, { kind: "kubernetes", namespace: "shop" }, effect.effect] as Row]
            : []),
          [kind, input, { kind: "local" }, unknownValue, effect.effect],
        ];
      }
      const of = (part: string, rest: string) => ({ [effect.part]: part, rest });
      return [
        [kind, input, of("a", "a"), of("b", "a"), effect.effect],
        [kind, input, of("a", "a"), of("a", "b"), effect.else],
        [kind, input, of("a", "a"), unknownValue, effect.effect],
      ];
    }),
  );

  it.each(rows)("%s: %s from %j to %j is %s", (kind, input, before, after, effect) => {
    const { effects } = resources[kind];
    const changes = changesOf(effects, { [input]: before }, { [input]: after });
    expect(changes).toEqual([{ input, effect }]);
    const isReplaced = effect === "newSlot" || effect === "newStaging";
    const result = compare(effects, { [input]: before }, { [input]: after });
    expect(result).toEqual({ changes: true, replaces: isReplaced ? [input] : [], deleteBeforeReplace: false });
    const first = compare(
      effects,
      { [input]: before },
      { [input]: after, ...(isReplaced && { strategy: "stop-first" }) },
    );
    expect(first.deleteBeforeReplace).toBe(isReplaced);
    expect(compare(effects, { [input]: before }, { [input]: after }, true).deleteBeforeReplace).toBe(isReplaced);
    expect(costOf(changes)).toMatchObject({ kind: effect, because: [input] });
    expect(compare(effects, { [input]: before }, { [input]: before }).changes).toBe(containsUnknownIn(before));
  });

  const containsUnknownIn = (value: unknown) => value === unknownValue;

  it("keeps timeouts and the time of the preflight from processes", () => {
    for (const { effects } of Object.values(resources)) {
      for (const [input, effect] of Object.entries(effects)) {
        if (/TimeoutMs$|^preflight$/.test(input)) expect(effect).toBe("none");
      }
    }
  });
});

describe("the cost", () => {
  it("is the dearest of several, with the inputs that have it", () => {
    const changes = [
      { input: "batch", effect: "restart" },
      { input: "types", effect: "resnapshot" },
      { input: "preflight", effect: "none" },
    ] as const;
    expect(dearest(changes)).toEqual({ effect: "resnapshot", because: ["types"] });
  });

  it("tells tables, rows and bytes, and no endless list", () => {
    const size = (name: string) => ({
      schema: "public",
      name,
      rows: 600,
      bytes: 1536,
      hasUnconstrainedNumeric: false,
      hasArray: false,
    });
    const change = { input: "tables", effect: "resnapshot" } as const;
    expect(describeCost(costOf([change], copiesOf([size("a"), size("b")])))).toBe(
      'tables: "public"."a", "public"."b" are copied (about 1,200 rows, 3.0 KiB) while the others go on',
    );
    const many = Array.from({ length: 200 }, (_, index) => size(`t${index}`));
    expect(describeCost(costOf([change], copiesOf(many)))).toContain(
      '"public"."t19" and 180 more are copied (about 120',
    );
    expect(describeCost(costOf([change]))).toBe("tables: its tables are copied while the others go on");
    expect(describeCost(costOf([change], copiesOf([])))).toBe("tables: no table is copied while the others go on");
  });

  it("knows which tables are new, or published otherwise, whatever the order of their columns", () => {
    const [a, b] = [
      { schema: "public", name: "a" },
      { schema: "public", name: "b" },
    ];
    expect(changedTables([a], [b, a])).toEqual([b]);
    expect(changedTables([a, b], [a])).toEqual([]);
    expect(changedTables([{ ...a, columns: ["x", "y"] }], [{ ...a, columns: ["y", "x"] }])).toEqual([]);
    expect(
      changedTables(
        [a, b],
        [
          { ...a, columns: ["x"] },
          { ...b, where: "x > 1" },
        ],
      ),
    ).toHaveLength(2);
    expect(changedTables([a], [{ ...a, replicaIdentity: "full" }])).toEqual([]);
  });
});

describe("a check", () => {
  let server: TestPostgres;
  const printed: string[] = [];

  beforeAll(async () => {
    server = await startPostgres();
    const client = await server.client();
    await client.query(`
      CREATE DOMAIN public.notes AS text[];
      CREATE TABLE public.plain (id int PRIMARY KEY, n int, v int2vector);
      CREATE TABLE public.money (id int PRIMARY KEY, amount numeric, notes public.notes);
      CREATE TABLE public.fresh (id int PRIMARY KEY);
      CREATE TABLE public.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
      CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (1000);
      INSERT INTO public.plain SELECT g, g FROM generate_series(1, 500) g;
      INSERT INTO public.money SELECT g, g FROM generate_series(1, 700) g;
      INSERT INTO public.parts SELECT g FROM generate_series(0, 99) g;
      CREATE PUBLICATION all_of_them FOR TABLE public.plain, public.money, public.parts`);
    await client.query("VACUUM ANALYZE public.plain, public.money, public.parts");
    await client.end();
    vi.spyOn(console, "log").mockImplementation((line: string) => void printed.push(line));
  });

  afterAll(async () => {
    vi.restoreAllMocks();
    await server?.stop();
  });

  async function cost(lifecycle: Lifecycle, olds: Properties, news: Properties): Promise<ChangeCost | undefined> {
    const { inputs, failures } = await lifecycle.check(olds, news);
    expect(failures).toEqual([]);
    return inputs.changeCost as ChangeCost | undefined;
  }

  const table = (name: string) => `public.${name}`;

  it("of a publication names the tables that it adds, with what the server estimates", async () => {
    const news = { source: server.source(), publicationName: "costs", tables: [table("plain")] };
    const { inputs } = await publication.check({}, news);
    expect(inputs.changeCost).toMatchObject({ kind: "newSlot", because: [], tables: ['"public"."plain"'], rows: 500 });
    const more = { ...news, tables: [table("plain"), table("money")] };
    const grown = await publication.check(inputs, more);
    expect(grown.inputs.changeCost).toMatchObject({
      kind: "resnapshot",
      because: ["tables"],
      tables: ['"public"."money"'],
      rows: 700,
    });
    expect((grown.inputs.changeCost as { bytes: number }).bytes).toBeGreaterThan(8191);
    expect(printed).toContainEqual(
      expect.stringMatching(/^Publication costs: tables: "public"\."money" is copied \(about 700 rows, [\d.]+ KiB\)/),
    );
    expect(await cost(publication, grown.inputs, news)).toEqual({ kind: "inPlace", because: ["tables"] });
    // A table that was never analyzed has no estimate.
    expect(await cost(publication, inputs, { ...news, tables: [table("plain"), table("fresh")] })).toMatchObject({
      tables: ['"public"."fresh"'],
      rows: null,
      bytes: null,
    });
    // Without a change the last one's cost stays, and no diff comes of it.
    expect(await cost(publication, grown.inputs, more)).toEqual(grown.inputs.changeCost);
    expect(publication.diff("", grown.inputs, { ...grown.inputs, changeCost: undefined }).changes).toBe(false);
  });

  it("of a gateway names the tables whose values are kept otherwise, and says what restarts", async () => {
    const gateway = gatewayLifecycle(() => localDeployment());
    const news = {
      source: server.source(),
      publicationName: "all_of_them",
      slotName: "costs",
      slotIncarnation: "1",
      stateDir: "/tmp/sluice-costs",
    };
    const { inputs } = await gateway.check({}, news);
    expect(inputs.changeCost).toMatchObject({ kind: "newSlot", because: [] });
    const numeric = { ...news, types: { unconstrainedNumeric: "string" }, batch: { rowsMax: 10 } };
    expect(await cost(gateway, inputs, numeric)).toMatchObject({
      kind: "resnapshot",
      because: ["types"],
      tables: ['"public"."money"'],
      rows: 700,
    });
    expect(await cost(gateway, inputs, { ...news, types: { arrays: "nested" } })).toMatchObject({
      because: ["types"],
      tables: ['"public"."money"'],
    });
    // A gateway of before the option has arrays as text too.
    const { arrays, ...before } = inputs.types as Properties;
    expect([arrays, await cost(gateway, { ...inputs, types: before }, news)]).toEqual(["text", inputs.changeCost]);
    expect(gateway.diff("", { ...inputs, types: before }, inputs).changes).toBe(false);
    expect(await cost(gateway, inputs, { ...news, types: { unrepresentable: "stop" } })).toMatchObject({
      tables: ['"public"."money"', '"public"."parts_1"', '"public"."plain"'],
      rows: 1_300,
    });
    expect(await cost(gateway, inputs, { ...news, batch: { rowsMax: 10 } })).toEqual({
      kind: "restart",
      because: ["batch"],
    });
    expect(await cost(gateway, inputs, { ...news, stopTimeoutMs: 5_000 })).toEqual({
      kind: "none",
      because: ["stopTimeoutMs"],
    });
    expect(await cost(gateway, inputs, { ...news, slotIncarnation: unknownValue })).toMatchObject({ kind: "newSlot" });
    // A publication that is made by the same update has no tables yet.
    expect(await cost(gateway, inputs, { ...news, publicationName: "not_yet" })).toMatchObject({
      kind: "newSlot",
      tables: null,
    });
    // A source that can't be reached is told by its Connection: the cost is told without estimates.
    const away = { ...news, source: { ...server.source(), database: "none" } };
    expect(await cost(gateway, { ...inputs, ...away }, { ...away, types: { unrepresentable: "stop" } })).toMatchObject({
      kind: "resnapshot",
      tables: null,
    });
  });

  it("of a pipeline names the tables whose options hold from a new snapshot on", async () => {
    const pipeline = ingestionPipelineLifecycle(() => localDeployment());
    const news = {
      deploymentId: "costs",
      stagingPath: "/tmp/sluice-costs/staging",
      stagingIncarnation: "1",
      stateDir: "/tmp/sluice-costs",
      destination: { kind: "local", path: "/tmp/sluice-costs/lake" },
    };
    const { inputs } = await pipeline.check({}, news);
    const scd2 = { ...news, tableOptions: [{ table: "public.plain", mode: "scd2", onChange: "refresh" }] };
    expect(await cost(pipeline, inputs, scd2)).toMatchObject({ kind: "resnapshot", tables: ['"public"."plain"'] });
    const soft = { ...news, tableOptions: [{ table: "public.plain", mode: "softDelete" }] };
    expect(await cost(pipeline, inputs, soft)).toEqual({ kind: "restart", because: ["tableOptions"] });
  });

  it("of a slot tells failover from another name", async () => {
    const news = { source: server.source(), publicationName: "all_of_them", pipelineId: "a_1", slotName: "costs_a" };
    const { inputs } = await replicationSlot.check({}, news);
    expect(await cost(replicationSlot, inputs, { ...news, deleteTimeoutMs: 5_000 })).toEqual({
      kind: "none",
      because: ["deleteTimeoutMs"],
    });
    expect(await cost(replicationSlot, inputs, { ...news, slotName: "costs_b" })).toMatchObject({
      kind: "newSlot",
      because: ["slotName"],
    });
  });
});

// Contract: whatever a program gives, wrong and unknown values too, each result of all five resources is what Pulumi can
// store: no undefined in a list, no NaN, nothing but plain values; no text says "undefined", "NaN" or "[object". What was
// just made, updated or read has no difference to its program, and a configuration that is written can be read.
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { type Deployment, type Inspection, renderConfiguration } from "../../../provider/deploy/deployment";
import { localDeployment } from "../../../provider/deploy/local";
import { connection } from "../../../provider/lifecycle/connection";
import { gatewayLifecycle } from "../../../provider/lifecycle/gateway";
import { ingestionPipelineLifecycle } from "../../../provider/lifecycle/ingestion-pipeline";
import type { CheckResult, Lifecycle, Properties } from "../../../provider/lifecycle/lifecycle";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { runtimeConfigSchema } from "../../../runtime/config";
import { SluiceError } from "../../../runtime/errors";
import { version } from "../../../runtime/version";
import { asStored } from "../../support/lossless";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";
import fc, { propertyRuns } from "../../support/property";

let server: TestPostgres;
let client: pg.Client;
let folder: string;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  client = await server.client();
  await client.query(`
    CREATE TABLE item (id int PRIMARY KEY, n int, body text);
    CREATE TABLE event (n int);
    CREATE SCHEMA sales;
    CREATE TABLE sales.orders (id int PRIMARY KEY, at timestamptz)`);
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-stored-"));
  said.length = 0;
  vi.spyOn(console, "log").mockImplementation((...parts: unknown[]) => void said.push(parts.join(" ")));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** Processes in memory, and stagings in folders; it reads a configuration as a process does. */
function memoryDeployment(): Deployment {
  const running = new Map<string, Extract<Inspection, { kind: "running" }>>();
  const { isHere, staging } = localDeployment();
  return {
    isHere,
    staging,
    preflight: async () => null,
    async apply(spec) {
      const configuration = renderConfiguration(spec.config);
      runtimeConfigSchema.parse(JSON.parse(configuration));
      const digest = (content: string) => createHash("sha256").update(content).digest("hex");
      const secrets = Object.entries(spec.secretFiles).map(([name, content]) => [name, digest(content)]);
      running.set(spec.directory, {
        kind: "running",
        configuration,
        secrets: Object.fromEntries(secrets),
        version,
      });
      return {};
    },
    keep: async () => {},
    inspect: async (directory) => running.get(directory) ?? { kind: "absent" },
    status: async () => null,
    remove: async (directory) => void running.delete(directory),
    dropTables: async () => {},
    sweep: async () => {},
  };
}

const target = memoryDeployment();
const gateway = gatewayLifecycle(() => target);
const pipeline = ingestionPipelineLifecycle(
  () => target,
  async () => {},
);

const unfit = new RegExp(`\\bundefined\\b|\\bNaN\\b|\\[object |${unknownValue}`);

/** What was received in place of an input may be said. */
function expectTold(lines: readonly string[]): void {
  for (const line of lines) expect(line.replaceAll(/received \w+/g, "")).not.toMatch(unfit);
}

async function check(lifecycle: Lifecycle, olds: Properties, news: Properties): Promise<CheckResult> {
  const result = asStored("check", await lifecycle.check(olds, news));
  expectTold(result.failures.flatMap(({ property, reason }) => [property, reason]));
  for (const { property, reason } of result.failures) {
    expect(property).not.toBe("");
    expect(reason).toMatch(/\n {2}remedy: ./);
  }
  return result;
}

const diff = (lifecycle: Lifecycle, id: string, olds: Properties, news: Properties) =>
  asStored("diff", lifecycle.diff(id, olds, news));

const same = { changes: false, replaces: [], deleteBeforeReplace: false };

/** One that is there has no difference to its program, before and after a refresh. */
async function expectSettled(lifecycle: Lifecycle, id: string, outs: Properties, inputs: Properties, news: Properties) {
  expect(diff(lifecycle, id, outs, inputs)).toEqual(same);
  const read = asStored("read", await lifecycle.read(id, outs));
  expect(read.id).toBe(id);
  expect(diff(lifecycle, id, read.props!, inputs)).toEqual(same);
  const again = await check(lifecycle, read.inputs!, news);
  expect(again.failures).toEqual([]);
  expect(diff(lifecycle, id, read.props!, again.inputs)).toEqual(same);
}

/** Null where what is asked for can't be, which is said. */
async function whereSound<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SluiceError) || error.kind === "internal") throw error;
    expectTold([error.describe()]);
    return null;
  }
}

/** Made, read, updated or replaced, deleted. Returns how far it came. */
async function live(
  lifecycle: Lifecycle,
  first: Properties,
  second: Properties,
): Promise<"refused" | "made" | "updated"> {
  said.length = 0;
  const { inputs, failures } = await check(lifecycle, {}, first);
  if (failures.length > 0) return "refused";
  const made = await whereSound(() => lifecycle.create(inputs));
  if (made === null) return "refused";
  const { id, outs } = asStored("create", made);
  let now = outs;
  try {
    expect(id).not.toBe("");
    await expectSettled(lifecycle, id, now, inputs, first);
    const next = await check(lifecycle, inputs, second);
    if (next.failures.length > 0) return "made";
    const change = diff(lifecycle, id, now, next.inputs);
    if (change.replaces.length > 0) {
      await check(lifecycle, {}, second);
      return "made";
    }
    if (!change.changes) return "made";
    const updated = await whereSound(() => lifecycle.update(id, now, next.inputs));
    if (updated === null) return "made";
    now = asStored("update", updated).outs;
    await expectSettled(lifecycle, id, now, next.inputs, second);
    return "updated";
  } finally {
    await lifecycle.delete(id, now);
    asStored("read of what is gone", await lifecycle.read(id, now));
    expectTold(said);
  }
}

/** What may come in place of any value: another shape, an unknown, a number that JSON hasn't. */
const junk = fc.oneof(
  fc.constant(unknownValue),
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -1, 0, 1e21, "", null, [], {}, [null], { a: null }),
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown),
);

/** Puts `value` in the place of one that is in `tree`. */
function replaced(tree: unknown, at: number, value: unknown): unknown {
  let left = at;
  const visit = (node: unknown): unknown => {
    if (left-- === 0) return value;
    if (Array.isArray(node)) return node.map(visit);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, member]) => [key, visit(member)]));
  };
  return visit(tree);
}

const places = (tree: unknown): number =>
  1 +
  (typeof tree === "object" && tree !== null ? Object.values(tree).reduce((sum, each) => sum + places(each), 0) : 0);

/** Inputs with one value, or one in a value, that is another. */
const spoilt = (inputs: fc.Arbitrary<Properties>): fc.Arbitrary<Properties> =>
  fc
    .tuple(inputs, fc.nat(), junk)
    .map(([news, at, value]) => replaced(news, 1 + (at % Math.max(1, places(news) - 1)), value) as Properties);

const some = <T>(...values: T[]) => fc.constantFrom(...values);
const mixed = fc.record(
  { bytesMax: some(1024, 65_536), rowsMax: some(1, 500), ageMsMax: some(10, 5_000) },
  { requiredKeys: [] },
);
const tableNames = some<unknown>("public.item", "public.event", "sales.orders", { schema: "public", name: "item" });
const tableOf = (table: unknown): string =>
  typeof table !== "object" || table === null
    ? String(table)
    : "table" in table
      ? tableOf(table.table)
      : Object.values(table).join(".");
const processInputs = {
  httpPort: fc.constant(undefined),
  startTimeoutMs: some(1_000, 20_000),
  stopTimeoutMs: some(1_000, 20_000),
  forceDelete: fc.boolean(),
  preflight: some("preview", "up"),
};

interface Program {
  lifecycle: Lifecycle;
  /** inputs without any that may be left out */
  needed: () => Properties;
  /** of these, and an update in place */
  change: Properties;
  /** built once the server and the folder are there */
  news: () => fc.Arbitrary<Properties>;
}

const programs: Record<string, Program> = {
  Connection: {
    lifecycle: connection,
    needed: () => ({ ...server.source() }),
    change: { connectTimeoutMs: 20_000 },
    news: () => {
      const { passwordEnv, password, ...source } = { ...server.source(), ...server };
      const { host, port, database, user } = source;
      return fc.record(
        {
          ...{
            host: fc.constant(host),
            port: fc.constant(port),
            database: fc.constant(database),
            user: fc.constant(user),
          },
          password: some<unknown>({ env: passwordEnv }, password),
          sslMode: fc.constant("disable"),
          connectTimeoutMs: some(5_000, 20_000),
          failoverHosts: some<unknown>([], [{ host, port }]),
          standby: fc.constant("refuse"),
          flavour: some("vanilla", "rds", "azure"),
          uncappedSlotWal: some("warn", "error", "ignore"),
          createsPublications: fc.boolean(),
          longTransactionMs: some(0, 60_000),
          preflight: some("preview", "up"),
        },
        { requiredKeys: ["host", "port", "database", "user", "password"] },
      );
    },
  },
  Publication: {
    lifecycle: publication,
    needed: () => ({ source: server.source(), tables: ["public.item"] }),
    change: { fullIdentity: ["public.item"] },
    news: () =>
      fc.record(
        {
          source: fc.constant(server.source()),
          tables: fc.uniqueArray(
            fc.oneof(
              tableNames,
              some<unknown>(
                { table: "public.item", columns: ["id", "n"], where: "id > 3" },
                { table: "public.item", replicaIdentity: { index: "item_pkey" } },
                { table: "public.event", replicaIdentity: "full" },
              ),
            ),
            { selector: (table) => tableOf(table), minLength: 1, maxLength: 3 },
          ),
          schemas: some<string[]>([], ["sales"]),
          allTables: some(false, false, false, true),
          operations: some(["insert"], ["insert", "update", "delete", "truncate"], ["delete", "insert"]),
          viaPartitionRoot: fc.boolean(),
          publicationName: some("pub_a", "pub_b"),
          pipelineId: some("one", "two"),
          fullIdentity: some<string[]>([], ["public.item"]),
          captureDdl: fc.boolean(),
          onDelete: fc.constant("drop"),
          strategy: some("blue-green", "stop-first"),
          preflight: some("preview", "up"),
        },
        { requiredKeys: ["source", "tables"] },
      ),
  },
  ReplicationSlot: {
    lifecycle: replicationSlot,
    needed: () => ({ source: server.source(), publicationName: "for_slots", pipelineId: "one" }),
    change: { forceDelete: true },
    news: () =>
      fc.record(
        {
          source: fc.constant(server.source()),
          publicationName: fc.constant("for_slots"),
          pipelineId: some("one", "two"),
          slotName: some("slot_a", "slot_b"),
          failover: fc.boolean(),
          createTimeoutMs: some(20_000, 30_000),
          deleteTimeoutMs: some(20_000, 30_000),
          forceDelete: fc.boolean(),
          strategy: some("blue-green", "stop-first"),
          preflight: some("preview", "up"),
        },
        { requiredKeys: ["source", "publicationName", "pipelineId"] },
      ),
  },
  Gateway: {
    lifecycle: gateway,
    needed: () => ({
      stateDir: join(folder, "state"),
      source: server.source(),
      publicationName: "pub_a",
      slotName: "slot_a",
      slotIncarnation: "1",
    }),
    change: { pollMs: 100 },
    news: () =>
      fc.record(
        {
          ...processInputs,
          stateDir: fc.constant(join(folder, "state")),
          deploymentId: some("here", "there"),
          source: some<unknown>(server.source(), { ...server.source(), connectTimeoutMs: 5_000, sslMode: "disable" }),
          publicationName: some("pub_a"),
          slotName: some("slot_a"),
          slotIncarnation: some("1"),
          stagingPath: some(join(folder, "staging")),
          batch: mixed,
          spool: some({}, { bytesMax: 1_048_576 }, { largeTransactions: "commit" }),
          snapshot: some({}, { workers: 3 }, { rangeBytes: 8192 }),
          types: some({}, { arrays: "nested" }, { unrepresentable: "stop", unconstrainedNumeric: "string" }),
          beforeImages: some<string[]>([], ["public.item"]),
          schemaChanges: some({}, { onRewrittenWidening: "follow" }),
          pollMs: some(100, 3_000),
          silenceMsMax: some(1_000, 30_000),
          onSlotLost: some("fail", "resnapshot"),
          heartbeatMs: some(0, 1_000),
          health: some({}, { lagMs: { warning: 1, critical: 2.5 } }),
          strategy: some("blue-green", "stop-first"),
          switchTimeoutMs: some(1_000, 2_000),
        },
        { requiredKeys: ["stateDir", "source", "publicationName", "slotName", "slotIncarnation"] },
      ),
  },
  IngestionPipeline: {
    lifecycle: pipeline,
    needed: () => ({
      stateDir: join(folder, "state"),
      deploymentId: "here",
      stagingPath: join(folder, "staging"),
      stagingIncarnation: "1",
      destination: { kind: "local", path: join(folder, "lake") },
    }),
    change: { runsKeptMax: 1 },
    news: () =>
      fc.record(
        {
          ...processInputs,
          stateDir: fc.constant(join(folder, "state")),
          deploymentId: some("here"),
          stagingPath: some(join(folder, "staging")),
          stagingIncarnation: some("1", "2"),
          destination: some(
            { kind: "local", path: join(folder, "lake") },
            { kind: "local", path: join(folder, "other") },
          ),
          trigger: some<unknown>(
            { kind: "once" },
            { kind: "continuous", rows: 5 },
            { kind: "schedule", cron: "0 3 * * *", timeZone: "Europe/Berlin" },
          ),
          tables: fc.uniqueArray(tableNames, { selector: (table) => JSON.stringify(table) }),
          onRemove: some("keep", "drop"),
          onDelete: some("keep", "drop"),
          tableOptions: some<unknown>(
            [],
            [{ table: "public.item", mode: "softDelete", hash: ["body"] }],
            [{ table: "public.item", mode: "scd2" }],
            [{ table: "public.item", onChange: "refresh", destination: { name: "articles" }, onRemove: "drop" }],
          ),
          maintenance: some({}, { compaction: false, timeShareMax: 0.5 }, { deletedShareMin: 0.1 }),
          runsKeptMax: some(1, 50),
          memoryBytesMax: some(67_108_864, 134_217_728),
        },
        {
          requiredKeys: ["stateDir", "deploymentId", "stagingPath", "stagingIncarnation", "destination"],
        },
      ),
  },
};

describe.each(Object.entries(programs))("%s", (kind, { lifecycle, news, needed, change }) => {
  it("is stored as it is, and has no difference", async () => {
    if (kind === "ReplicationSlot") await client.query("CREATE PUBLICATION for_slots FOR TABLE item");
    const reached = new Set<string>();
    await fc.assert(
      // Of the other program some inputs, a bit for each: two programs that differ in all are mostly a replacement.
      fc.asyncProperty(news(), news(), fc.nat({ max: 2 ** 20 }), async (first, other, bits) => {
        const changed = Object.entries(other).filter((_, index) => (bits & (1 << index)) !== 0);
        reached.add(await live(lifecycle, first, { ...first, ...Object.fromEntries(changed) }));
      }),
      {
        examples: [[needed(), change, -1]],
        ...propertyRuns(kind === "Gateway" || kind === "IngestionPipeline" ? 40 : 12),
      },
    );
    expect(reached).toContain("updated");
  });

  it("tells what is wrong with spoilt inputs, in what can be stored", async () => {
    const refused = { count: 0 };
    await fc.assert(
      fc.asyncProperty(news(), spoilt(news()), async (good, bad) => {
        // No server is asked, and no folder looked at: a shape alone is wrong.
        const of = (inputs: Properties) => ({ ...inputs, preflight: "up" });
        const olds = await check(lifecycle, {}, of(good));
        const news = await check(lifecycle, olds.inputs, of(bad));
        if (news.failures.length > 0) refused.count++;
        else diff(lifecycle, "id", olds.inputs, news.inputs);
      }),
      propertyRuns(150),
    );
    expect(refused.count).toBeGreaterThan(20);
    expectTold(said);
  });
});

// Contract: by `adopt: true` a slot that is there is taken over where it stands, and not one that is another's kind,
// temporary, invalidated or read by somebody; each refusal says its remedy, at preview. Without it no slot is taken. One
// that is to outlive its resource (retainOnDelete, onDelete: "keep") isn't taken for what an interrupted create has left.
// A preview tells what a slot costs that is new beside a publication, as after a refresh that found it dropped.
// Invariant 5: what isn't to stay goes, what was taken over too.
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { newPipelineId } from "../../../provider/lifecycle/names";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { diffReplicationSlot } from "../../../provider/lifecycle/replication-slot-inputs";
import { slotAdoptionProblem } from "../../../provider/lifecycle/slot-ownership";
import type { SlotFacts } from "../../../provider/postgres/slot-statements";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: "6" } });
  client = await server.client();
  await client.query("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t");
  vi.spyOn(console, "log").mockImplementation((line: string) => void said.push(line));
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
});

afterEach(async () => {
  said.length = 0;
  for (const name of await slots()) await client.query("SELECT pg_drop_replication_slot($1)", [name]);
});

async function slots(): Promise<string[]> {
  const { rows } = await client.query<{ slot_name: string }>("SELECT slot_name FROM pg_replication_slots ORDER BY 1");
  return rows.map((row) => row.slot_name);
}

const news = (more: Properties = {}): Properties => ({
  source: server.source(),
  publicationName: "pub",
  pipelineId: newPipelineId(),
  ...more,
});

/** A process remembers the slots that it made by their names: each test has its own. */
const theirs = (name: string, plugin = "pgoutput") =>
  client.query<{ lsn: string }>("SELECT lsn FROM pg_create_logical_replication_slot($1, $2)", [name, plugin]);

describe("adopt", () => {
  it("takes over the slot where it stands, at no cost, and it is this stack's from then on", async () => {
    const { lsn } = (await theirs("theirs")).rows[0];
    const wanted = news({ slotName: "theirs", adopt: true });
    const { inputs, failures } = await replicationSlot.check({}, wanted);
    expect(failures).toEqual([]);
    expect(inputs.changeCost).toEqual({ kind: "none", because: ["adopt"] });
    expect(said.join("\n")).toContain(`ReplicationSlot theirs: is taken over at ${lsn}`);
    const { id, outs } = await replicationSlot.create(inputs);
    expect(outs).toMatchObject({ slotName: "theirs", consistentPoint: lsn, lost: false });
    // One whose result was lost is taken over again.
    expect((await replicationSlot.create(inputs)).outs).toEqual(outs);
    expect((await replicationSlot.read(id, outs)).props).toEqual(outs);
    const { inputs: again } = await replicationSlot.check(outs, wanted);
    expect(diffReplicationSlot(outs, again).changes).toBe(false);
    // It decided when the slot was made.
    const { inputs: without } = await replicationSlot.check(outs, { ...wanted, adopt: undefined });
    expect(diffReplicationSlot(outs, without)).toMatchObject({ replaces: [] });
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual([]);
  });

  it("makes the slot where there is none", async () => {
    const { inputs } = await replicationSlot.check({}, news({ slotName: "fresh", adopt: true }));
    await replicationSlot.create(inputs);
    expect(await slots()).toEqual(["fresh"]);
  });

  it("leaves it at delete by onDelete", async () => {
    await theirs("kept");
    const { inputs } = await replicationSlot.check({}, news({ slotName: "kept", adopt: true, onDelete: "keep" }));
    const { id, outs } = await replicationSlot.create(inputs);
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual(["kept"]);
    expect(said.join("\n")).toContain("SELECT pg_drop_replication_slot('kept')");
  });

  it("refuses at preview, and at create, what another plug-in or database has", async () => {
    await theirs("texts", "test_decoding");
    const wanted = news({ slotName: "texts", adopt: true });
    const { inputs, failures } = await replicationSlot.check({}, wanted);
    expect(failures).toMatchObject([
      { property: "adopt", reason: expect.stringMatching(/is of plug-in test_decoding[\s\S]*remedy: Name a slot/) },
    ]);
    await expect(replicationSlot.create(inputs)).rejects.toMatchObject({ kind: "unsupported" });
  });

  it("refuses one that is read, and names the reader", async () => {
    await theirs("read");
    const { host, port, user, password, database } = server;
    const reader = new pg.Client({
      ...{ host, port, user, password, database, application_name: "their tool" },
      replication: "database",
    } as pg.ClientConfig);
    reader.on("error", () => {});
    await reader.connect();
    reader
      .query(`START_REPLICATION SLOT "read" LOGICAL 0/0 (proto_version '1', publication_names 'pub')`)
      .catch(() => {});
    try {
      await until("the slot is read", async () => {
        const { rowCount } = await client.query("SELECT FROM pg_replication_slots WHERE active");
        return rowCount === 1;
      });
      const { failures } = await replicationSlot.check({}, news({ slotName: "read", adopt: true }));
      expect(failures).toMatchObject([
        { property: "adopt", reason: expect.stringMatching(/is read by pid \d+ \(application their tool at/) },
      ]);
    } finally {
      await client.query("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
      await reader.end().catch(() => {});
      await until("it is idle", async () => {
        return (await client.query("SELECT FROM pg_replication_slots WHERE active")).rowCount === 0;
      });
    }
  });

  const facts: SlotFacts = {
    plugin: "pgoutput",
    database: "shop",
    activePid: null,
    walStatus: "reserved",
    failover: false,
    temporary: false,
    invalidationReason: null,
    confirmedFlushLsn: "0/1",
    reader: null,
  };
  it.each<[string, Partial<SlotFacts>, string | null]>([
    ["is as it should be", {}, null],
    ["keeps more than the least WAL", { walStatus: "extended" }, null],
    ["is physical", { plugin: null, database: null }, "unsupported"],
    ["is of another database", { database: "other" }, "unsupported"],
    ["is temporary", { temporary: true, activePid: 1 }, "unsupported"],
    ["has lost WAL", { walStatus: "lost" }, "slot-lost"],
    ["is invalidated", { walStatus: "lost", invalidationReason: "idle_timeout" }, "slot-lost"],
    ["is read", { activePid: 7 }, "slot-in-use"],
  ])("judges a slot that %s", (_what, more, kind) => {
    const problem = slotAdoptionProblem("theirs", { ...facts, ...more }, "shop");
    expect(problem?.kind ?? null).toBe(kind);
    if (problem !== null) expect(problem.remedy?.length).toBeGreaterThan(40);
  });
});

describe("a slot that is to stay", () => {
  /** A publication of this stack's, by its lifecycle. */
  async function published(pipelineId: string) {
    const wanted = { source: server.source(), tables: ["public.t"], pipelineId };
    const { inputs, failures } = await publication.check({}, wanted);
    expect(failures).toEqual([]);
    return publication.create(inputs);
  }
  const made = async (pipelineId: string, publicationName: string, more: Properties = {}) => {
    const { inputs, failures } = await replicationSlot.check({}, news({ pipelineId, publicationName, ...more }));
    expect(failures).toEqual([]);
    return replicationSlot.create(inputs);
  };

  it.each([{ retainOnDelete: true }, { onDelete: "keep" }])("outlives its publication's delete by %o", async (kept) => {
    const pipelineId = newPipelineId();
    const { id, outs } = await published(pipelineId);
    const slot = await made(pipelineId, id, kept);
    expect((await publication.read(id, outs)).props).toMatchObject({ drift: [] });
    // The mark of an altered publication still has it.
    const { inputs } = await publication.check(outs, { ...outs, operations: ["insert"] });
    const updated = await publication.update(id, outs, inputs);
    await publication.delete(id, updated.outs);
    expect(await slots()).toEqual([slot.id]);
    expect(said.join("\n")).toContain(`replication slot ${slot.id} stays, as its resource said`);
  });

  it("is no more, once its resource says otherwise; what nobody knows is dropped", async () => {
    const pipelineId = newPipelineId();
    const { id, outs } = await published(pipelineId);
    const slot = await made(pipelineId, id);
    const kept = { ...slot.outs, retainOnDelete: true };
    await replicationSlot.update(slot.id, slot.outs, kept);
    await replicationSlot.update(slot.id, kept, slot.outs);
    await publication.delete(id, outs);
    expect(await slots()).toEqual([]);
  });

  it("is taken by the create that is told so again, where its result was lost", async () => {
    const pipelineId = newPipelineId();
    const { id, outs } = await published(pipelineId);
    // By the name alone, without the memory of a process that made it.
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [`dbx_1_${pipelineId}`]);
    await client.query(`COMMENT ON PUBLICATION "${id}" IS 'sluice:${pipelineId} keeps dbx_1_${pipelineId}'`);
    const wanted = news({ pipelineId, publicationName: id, slotName: `dbx_1_${pipelineId}` });
    expect((await replicationSlot.check({}, wanted)).failures).toMatchObject([{ property: "slotName" }]);
    const { inputs, failures } = await replicationSlot.check({}, { ...wanted, retainOnDelete: true });
    expect(failures).toEqual([]);
    await replicationSlot.create(inputs);
    await publication.delete(id, outs);
  });
});

it("a preview tells what a slot costs that is new beside a publication", async () => {
  const { inputs } = await replicationSlot.check({}, news());
  expect(said).toEqual([`ReplicationSlot ${inputs.slotName}: new; "public"."t" is copied`]);
  expect(inputs.changeCost).toMatchObject({ kind: "newSlot", tables: ['"public"."t"'] });
});

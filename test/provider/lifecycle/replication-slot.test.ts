// Contract: a slot is made after its publication, within a deadline that names who blocks it; a slot that isn't ours is
// neither taken nor dropped; delete ends the slot's consumer, drops it and verifies it; a lost slot can only be replaced;
// a delete that can't reach the database says the SQL to run.
// Invariant 5: after delete no slot of ours remains.
import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Properties } from "../../../provider/lifecycle/lifecycle";
import { newPipelineId } from "../../../provider/lifecycle/names";
import { rememberOwn } from "../../../provider/lifecycle/own-names";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { checkReplicationSlot, diffReplicationSlot } from "../../../provider/lifecycle/replication-slot-inputs";
import { unknownValue } from "../../../provider/lifecycle/unknown-value";
import { findFailoverProblems } from "../../../provider/postgres/slot-failover";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
const clients: pg.Client[] = [];

beforeAll(async () => {
  server = await startPostgres({ settings: { max_replication_slots: "3" } });
  client = await server.client();
  await client.query("CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION pub FOR TABLE t");
});

afterAll(async () => {
  await client?.end();
  await server?.stop();
});

afterEach(async () => {
  for (const one of clients.splice(0)) await one.end().catch(() => {});
  await until("no slot is left", async () => {
    await client.query(
      "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL",
    );
    await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE active_pid IS NULL");
    return (await slots()).length === 0;
  });
});

async function slots(): Promise<string[]> {
  const { rows } = await client.query<{ slot_name: string }>("SELECT slot_name FROM pg_replication_slots ORDER BY 1");
  return rows.map((row) => row.slot_name);
}

function news(more: Properties = {}): Properties {
  return { source: server.source(), publicationName: "pub", pipelineId: newPipelineId(), ...more };
}

async function created(more: Properties = {}) {
  const { inputs, failures } = await replicationSlot.check({}, news(more));
  expect(failures).toEqual([]);
  return replicationSlot.create(inputs);
}

/** A walsender that reads the slot, as our gateway or anybody's tool. */
async function consume(name: string, options = "(proto_version '1', publication_names 'pub')"): Promise<pg.Client> {
  const consumer = new pg.Client({
    ...{
      host: server.host,
      port: server.port,
      user: server.user,
      password: server.password,
      database: server.database,
    },
    replication: "database",
  } as pg.ClientConfig);
  clients.push(consumer);
  consumer.on("error", () => {});
  await consumer.connect();
  consumer.query(`START_REPLICATION SLOT "${name}" LOGICAL 0/0 ${options}`).catch(() => {});
  await until("the slot is read", async () => {
    const { rows } = await client.query("SELECT FROM pg_replication_slots WHERE slot_name = $1 AND active", [name]);
    return rows.length === 1;
  });
  return consumer;
}

async function readerOf(name: string): Promise<number> {
  const { rows } = await client.query("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", [name]);
  return rows[0].active_pid;
}

describe("check", () => {
  it("makes a name that a preview shows and an incarnation, and both stay", async () => {
    const wanted = news();
    const { inputs } = await replicationSlot.check({}, wanted);
    expect(inputs.slotName).toMatch(new RegExp(`^dbx_\\d+_${wanted.pipelineId}$`));
    expect((await replicationSlot.check(inputs, wanted)).inputs).toEqual(inputs);
    expect((await replicationSlot.check({}, wanted)).inputs.incarnation).not.toBe(inputs.incarnation);
  });

  it("says that Databricks' pipelines want a full refresh, where another slot is what they read next", async () => {
    const said: string[] = [];
    const log = vi.spyOn(console, "log").mockImplementation((line: string) => void said.push(line));
    const wanted = news({ reader: "databricks" });
    const { inputs } = await replicationSlot.check({}, wanted);
    expect((await replicationSlot.check(inputs, { ...wanted, deleteTimeoutMs: 20_000 })).failures).toEqual([]);
    expect(said.join("\n")).not.toMatch(/full refresh/);
    await replicationSlot.check({ ...inputs, lost: true }, wanted);
    log.mockRestore();
    const refresh = said.filter((line) => line.includes("full refresh"));
    expect(refresh).toHaveLength(1);
    expect(refresh[0]).toMatch(
      new RegExp(`^warning: ReplicationSlot ${inputs.slotName}: .*sluice refresh --pipeline ID --all --full`),
    );
    expect(said.join("\n")).toMatch(/stays until Databricks' pipelines have gone over to the new one/);
  });

  it("lets unknown values pass, and asks no server then", async () => {
    const wanted = news({ source: unknownValue, publicationName: unknownValue, pipelineId: unknownValue });
    expect((await replicationSlot.check({}, wanted)).failures).toEqual([]);
  });

  it("refuses a name that PostgreSQL would", () => {
    expect(checkReplicationSlot({}, news({ slotName: "Slot-1" })).failures).toMatchObject([{ property: "slotName" }]);
  });

  it("knows a slot that is another stack's, with the SQL that drops it", async () => {
    await client.query("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    const other = await replicationSlot.check({}, news({ slotName: "theirs" }));
    expect(other.failures).toMatchObject([
      { property: "slotName", reason: expect.stringContaining("SELECT pg_drop_replication_slot('theirs')") },
    ]);
  });

  it("knows that no slot is free", async () => {
    for (const name of ["a", "b", "c"]) {
      await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    }
    // Under another name: at the server's own a slot of this stack was seen, which a replacement would free.
    const source = { ...server.source(), host: "localhost" };
    const { failures } = await replicationSlot.check({}, news({ source }));
    expect(failures).toMatchObject([{ reason: expect.stringMatching(/no free replication slot: 3 of .*= 3/) }]);
    await expect(created({ preflight: "up" })).rejects.toMatchObject({ kind: "source-setting" });
  });
});

describe("diff", () => {
  it("replaces for another publication, name, database or pipeline, and for a lost slot", async () => {
    const wanted = news();
    const olds: Properties = { ...checkReplicationSlot({}, wanted).inputs, slotName: "made", lost: false };
    const diff = (more: Properties, before = olds) =>
      diffReplicationSlot(before, checkReplicationSlot(before, { ...wanted, ...more }).inputs);
    expect(diff({})).toMatchObject({ changes: false });
    expect(diff({ deleteTimeoutMs: 5_000 })).toMatchObject({ changes: true, replaces: [] });
    expect(diff({ publicationName: "other" })).toMatchObject({
      replaces: ["publicationName"],
      deleteBeforeReplace: false,
    });
    // Of a given name there can't be two.
    expect(diff({ publicationName: "other", slotName: "made" }).deleteBeforeReplace).toBe(true);
    expect(diff({ publicationName: "other", strategy: "stop-first" }).deleteBeforeReplace).toBe(true);
    expect(diff({ slotName: "other" }).replaces).toEqual(["slotName"]);
    expect(diff({ pipelineId: newPipelineId() }).replaces).toEqual(["pipelineId"]);
    expect(diff({ source: server.source("other") }).replaces).toEqual(["source"]);
    expect(diff({ source: { ...server.source(), host: "moved" } })).toMatchObject({ changes: true, replaces: [] });
    expect(diff({}, { ...olds, lost: true })).toMatchObject({ replaces: ["lost"], deleteBeforeReplace: false });
  });
});

describe("create", () => {
  it("makes a pgoutput slot and tells its consistent point", async () => {
    const { id, outs } = await created();
    expect(outs).toMatchObject({
      slotName: id,
      consistentPoint: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
      lost: false,
    });
    const read = await replicationSlot.read(id, outs);
    expect(read.props).toEqual(outs);
  });

  it("needs the publication first", async () => {
    await expect(created({ publicationName: "gone" })).rejects.toMatchObject({ kind: "missing-object" });
    expect(await slots()).toEqual([]);
  });

  it("takes no slot that exists", async () => {
    await client.query("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    const { inputs } = checkReplicationSlot({}, news({ slotName: "theirs" }));
    await expect(replicationSlot.create(inputs)).rejects.toMatchObject({ kind: "name-taken" });
  });

  it("makes anew what a create left whose result was lost", async () => {
    const wanted = news();
    const { inputs } = await replicationSlot.check({}, wanted);
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [inputs.slotName]);
    const again = await replicationSlot.check({}, wanted);
    expect(again.failures).toEqual([]);
    const { id } = await replicationSlot.create(again.inputs);
    expect(await slots()).toEqual([id]);
  });

  it("gives up after its deadline, names the open transaction, and leaves nothing", async () => {
    const writer = await server.client();
    clients.push(writer);
    await writer.query("BEGIN; INSERT INTO t VALUES (1)");
    await expect(created({ createTimeoutMs: 400 })).rejects.toMatchObject({
      kind: "timeout",
      message: expect.stringMatching(/could not be created within 400 ms[\s\S]*INSERT INTO t/),
      remedy: expect.stringContaining("pg_terminate_backend"),
    });
    await writer.query("ROLLBACK");
    expect(await slots()).toEqual([]);
    await created();
  });
});

// An engine shows no olds then, and deletes the old slot at the end. What it has in its state is told by the publication.
describe("a slot that an engine is told to replace (pulumi up --replace)", () => {
  async function recorded(pipelineId: string, isRead: boolean) {
    const { rows } = await client.query("SELECT oid FROM pg_database WHERE datname = current_database()");
    const name = `dbx_${rows[0].oid}_${pipelineId}`;
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [name]);
    if (isRead) await consume(name);
    return name;
  }
  const ownPipeline = (pipelineId = newPipelineId()) => {
    rememberOwn("pipeline", pipelineId);
    return pipelineId;
  };

  it.each(["preview", "up"])("takes another name beside the one that is read (preflight: %s)", async (preflight) => {
    for (const pipelineId of [ownPipeline(), ownPipeline(`given_${preflight}`)]) {
      const name = await recorded(pipelineId, true);
      const { id, outs } = await created({ pipelineId, preflight });
      expect(id).toBe(`${name}_${String(outs.incarnation).slice(0, 6)}`);
      expect(await slots()).toEqual([name, id]);
      await replicationSlot.delete(name, { ...outs, slotName: name, incarnation: "former" });
      expect(await slots()).toEqual([id]);
      await replicationSlot.delete(id, outs);
    }
  });

  it("is made anew under its name where nobody reads it, and goes on when the old one is deleted", async () => {
    const pipelineId = ownPipeline();
    const name = await recorded(pipelineId, false);
    const { id, outs } = await created({ pipelineId });
    expect(id).toBe(name);
    await replicationSlot.delete(name, { ...outs, incarnation: "former" });
    expect(await slots()).toEqual([name]);
  });

  it("is refused with the way that goes where its name is given, or another stack's may be meant", async () => {
    const pipelineId = ownPipeline();
    await client.query("SELECT pg_create_logical_replication_slot('given', 'pgoutput')");
    await consume("given");
    const given = await replicationSlot.check({}, news({ pipelineId, slotName: "given" }));
    expect(given.failures).toMatchObject([
      { property: "slotName", reason: expect.stringContaining("give slotName another value instead") },
    ]);
    const unknown = newPipelineId();
    const name = await recorded(unknown, true);
    const { failures } = await replicationSlot.check({}, news({ pipelineId: unknown }));
    expect(failures).toMatchObject([{ property: "slotName", reason: expect.stringContaining(`${name} exists`) }]);
    expect(failures[0].reason).not.toContain("--replace");
  });
});

describe("read", () => {
  it("finds it gone, and another's in its place", async () => {
    const { id, outs } = await created();
    await client.query("SELECT pg_drop_replication_slot($1)", [id]);
    expect(await replicationSlot.read(id, outs)).toEqual({ id: "" });
    await client.query("SELECT pg_create_physical_replication_slot($1)", [id]);
    expect(await replicationSlot.read(id, outs)).toEqual({ id: "" });
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual([id]);
  });

  it("takes one of another plug-in for another's, whose reader reads on through a delete of ours", async () => {
    const { id, outs } = await created();
    await client.query("SELECT pg_drop_replication_slot($1)", [id]);
    await client.query("SELECT pg_create_logical_replication_slot($1, 'test_decoding')", [id]);
    await consume(id, "");
    const before = await readerOf(id);
    expect(await replicationSlot.read(id, outs)).toEqual({ id: "" });
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual([id]);
    expect(await readerOf(id)).toBe(before);
  });
});

describe("delete", () => {
  it("ends the consumer, drops the slot, and is done when it is gone", async () => {
    const { id, outs } = await created();
    await consume(id);
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual([]);
    await replicationSlot.delete(id, outs);
  });

  it("gives up after its deadline on a consumer that doesn't end, names it, and the next goes through", async () => {
    const { id, outs } = await created();
    await consume(id);
    const pid = await readerOf(id);
    // It gets the signal to end, and can't obey.
    process.kill(pid, "SIGSTOP");
    try {
      await expect(replicationSlot.delete(id, { ...outs, deleteTimeoutMs: 300 })).rejects.toMatchObject({
        kind: "slot-in-use",
        message: expect.stringContaining(`held by pid ${pid} after 300 ms`),
        remedy: expect.stringContaining(`SELECT pg_drop_replication_slot('${id}')`),
      });
      expect(await slots()).toEqual([id]);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await replicationSlot.delete(id, outs);
    expect(await slots()).toEqual([]);
  });

  it("says the SQL to run where the database can't be reached", async () => {
    const { id, outs } = await created();
    const source = { ...(outs.source as object), port: 1, connectTimeoutMs: 500 };
    await expect(replicationSlot.delete(id, { ...outs, source })).rejects.toMatchObject({
      kind: "unreachable",
      remedy: expect.stringContaining(`SELECT pg_drop_replication_slot('${id}')`),
    });
  });
});

describe("failover", () => {
  const facts = { versionNumber: 180_000, version: "18.0", inRecovery: false, synchronizedStandbySlots: "standby_1" };
  it.each([
    ["everything is there", facts, []],
    ["no standby is waited for", { ...facts, synchronizedStandbySlots: "" }, ["warning"]],
    ["the server is too old", { ...facts, versionNumber: 160_000, synchronizedStandbySlots: null }, ["error"]],
    ["the server is a standby", { ...facts, inRecovery: true }, ["error"]],
  ])("is judged when %s", (_name, given, severities) => {
    const problems = findFailoverProblems(given);
    expect(problems.map(({ severity }) => severity)).toEqual(severities);
    for (const { remedy } of problems) expect(remedy.length).toBeGreaterThan(20);
  });

  it("is refused by a server before 17, at create and update, with nothing made or changed", async ({ skip }) => {
    const version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
    if (version >= 170_000) skip("PostgreSQL 17 has failover slots");
    const refusal = { kind: "unsupported", remedy: expect.stringContaining("Leave failover out") };
    const slots = async () => (await client.query("SELECT slot_name FROM pg_replication_slots")).rows;
    const before = await slots();
    await expect(created({ failover: true, preflight: "up" })).rejects.toMatchObject(refusal);
    expect(await slots()).toEqual(before);
    const { id, outs } = await created({});
    const { incarnation: _, ...inputs } = outs;
    await expect(replicationSlot.update(id, outs, { ...outs, failover: true })).rejects.toMatchObject(refusal);
    // One that an earlier version recorded as made with it, which the server doesn't know.
    const updated = await replicationSlot.update(id, { ...outs, failover: true }, { ...inputs, failover: false });
    expect(updated.outs.failover).toBe(false);
  });

  it("is set at create, changed in place under a reader, and seen by refresh", async ({ skip }) => {
    const version = Number((await client.query("SHOW server_version_num")).rows[0].server_version_num);
    if (version < 170_000) skip("failover slots need PostgreSQL 17");
    const { id, outs } = await created({ failover: true });
    const actual = async () =>
      (await client.query("SELECT failover FROM pg_replication_slots WHERE slot_name = $1", [id])).rows[0].failover;
    expect(await actual()).toBe(true);
    const { inputs } = await replicationSlot.check(outs, { ...news({ pipelineId: outs.pipelineId }) });
    expect(diffReplicationSlot(outs, inputs)).toMatchObject({ changes: true, replaces: [] });
    await consume(id);
    const updated = await replicationSlot.update(id, outs, inputs);
    expect(await actual()).toBe(false);
    const read = await replicationSlot.read(id, { ...updated.outs, failover: true });
    expect(read.props?.failover).toBe(false);
    expect(diffReplicationSlot(read.props as Properties, { ...inputs, failover: true }).changes).toBe(true);
  });
});

describe("get", () => {
  it("reads what exists, whoever made it, and never drops it; not what a gateway couldn't read", async () => {
    const looked = { source: server.source() };
    await client.query("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    const { id, props } = await replicationSlot.read("theirs", looked);
    expect({ id, ...props }).toMatchObject({ id: "theirs", slotName: "theirs", lost: false, failover: false });
    await replicationSlot.delete("theirs", props!);
    expect(await slots()).toEqual(["theirs"]);

    await client.query("SELECT pg_create_logical_replication_slot('texts', 'test_decoding')");
    await client.query("SELECT pg_create_physical_replication_slot('bytes')");
    const read = (name: string, source = server.source()) => replicationSlot.read(name, { source });
    await expect(read("texts")).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("test_decoding"),
    });
    await expect(read("bytes")).rejects.toMatchObject({
      kind: "unsupported",
      message: expect.stringContaining("is physical"),
    });
    await expect(read("theirs", server.source("template1"))).rejects.toMatchObject({ kind: "unsupported" });
    await expect(read("none")).rejects.toMatchObject({ kind: "missing-object" });
  });
});

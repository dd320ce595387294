// Contract: `sluice slots` lists every slot of a server and whose it is: ours by the comment of its publication, never by a
// name alone; claimed by a stack whose state is given, or unclaimed. It drops on demand what is ours, idle and unclaimed,
// and verifies that it is gone; a claimed or unsure one by force only; a foreign one never, and tells the SQL.
// Invariants 5 (after delete nothing of ours remains) and 6 (no secret leaves its place).
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { slots } from "../../../provider/commands/slots";
import { publication } from "../../../provider/lifecycle/publication";
import { replicationSlot } from "../../../provider/lifecycle/replication-slot";
import { type SlotEntry, slotOwnership } from "../../../provider/postgres/slot-inventory";
import { runCommand } from "../../support/command-run";
import { until } from "../../support/conditions";
import { startPostgres, type TestPostgres } from "../../support/postgres-server";

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  folder = mkdtempSync(join(tmpdir(), "sluice-slots-"));
  await client.query("CREATE DATABASE other");
  await client.query("CREATE TABLE public.t (id int PRIMARY KEY)");
  const other = await server.client("other");
  await other.query("CREATE TABLE public.t (id int PRIMARY KEY)");
  await other.end();
  vi.spyOn(console, "log").mockImplementation(() => {});
});

beforeEach(async () => {
  await client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
});

afterAll(async () => {
  vi.restoreAllMocks();
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const sluice = (...argv: string[]) => {
  const from = `postgres://postgres@${server.host}:${server.port}/postgres`;
  return runCommand(slots, ["--from", from, "--password-env", server.passwordEnv, ...argv]);
};

/** A publication and a slot as a stack makes them. */
async function pair(database = "postgres", tables = ["public.t"]) {
  const source = server.source(database);
  const made = await publication.create((await publication.check({}, { source, tables })).inputs);
  const { publicationName, pipelineId } = made.outs as { publicationName: string; pipelineId: string };
  const { inputs } = await replicationSlot.check({}, { source, publicationName, pipelineId });
  const slot = await replicationSlot.create(inputs);
  const { slotName } = slot.outs as { slotName: string };
  const remove = async () => {
    await replicationSlot.delete(slot.id, slot.outs);
    await publication.delete(made.id, made.outs);
  };
  return { publicationName, pipelineId, slotName, remove, outs: { slot: slot.outs, publication: made.outs } };
}

/** What `pulumi stack export` writes. */
function exported(outs: Awaited<ReturnType<typeof pair>>["outs"]): string {
  const urn = (kind: string) => `urn:pulumi:prod::shop::pulumi-nodejs:dynamic/sluice:${kind}::orders`;
  const one = (kind: string, outputs: unknown) => ({
    urn: urn(kind),
    type: `pulumi-nodejs:dynamic/sluice:${kind}`,
    outputs,
  });
  const stack = { urn: "urn:pulumi:prod::shop::pulumi:pulumi:Stack::shop-prod", type: "pulumi:pulumi:Stack" };
  const resources = [stack, one("ReplicationSlot", outs.slot), one("Publication", outs.publication)];
  const file = join(folder, `${Math.random()}.json`);
  writeFileSync(file, JSON.stringify({ version: 3, deployment: { resources } }));
  return file;
}

const slotNames = async () =>
  (await client.query<{ name: string }>("SELECT slot_name AS name FROM pg_replication_slots ORDER BY 1")).rows.map(
    ({ name }) => name,
  );

describe("the list", () => {
  it("tells whose each is, in every database, and what of ours no stack has", async () => {
    const [claimed, orphan, elsewhere] = [await pair(), await pair(), await pair("other")];
    await client.query("SELECT pg_create_physical_replication_slot('standby1', true)");
    await client.query("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    const halfway = claimed.slotName.replace(claimed.pipelineId, "0b6c1c62_0a4e_4b0f_9d0f_0a5a4e4b0f9d");
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [halfway]);
    try {
      const { code, stdout } = await sluice("--json", "--stack-state", exported(claimed.outs), "--check");
      expect(code).toBe(1);
      const { publications, unclaimed, unseen, ...listed } = JSON.parse(stdout);
      const of = (name: string) => listed.slots.find((slot: { name: string }) => slot.name === name);
      const urn = expect.stringMatching(/ReplicationSlot::orders$/);
      const marked = { kind: "marked", pipelineId: claimed.pipelineId };
      expect(of(claimed.slotName)).toMatchObject({
        stack: urn,
        ownership: marked,
        walStatus: "reserved",
        activePid: null,
      });
      expect(of(claimed.slotName).retainedBytes).toBeGreaterThanOrEqual(0);
      expect(of(orphan.slotName)).toMatchObject({ stack: null, ownership: { kind: "marked" } });
      expect(of(elsewhere.slotName)).toMatchObject({ database: "other", ownership: { kind: "marked" } });
      expect(of(halfway)).toMatchObject({ ownership: { kind: "named" } });
      for (const name of ["standby1", "theirs"]) expect(of(name).ownership).toEqual({ kind: "foreign" });
      expect(publications).toHaveLength(3);
      expect([...unclaimed].sort()).toEqual(
        [orphan, elsewhere]
          .flatMap((one) => [one.slotName, one.publicationName])
          .concat(halfway)
          .sort(),
      );
      expect(unseen).toEqual([]);

      const words = await sluice();
      expect(words.code).toBe(0);
      expect(words.stdout).toMatch(new RegExp(`${orphan.slotName} +postgres +ours, unclaimed`));
      expect(words.stdout).toMatch(/standby1 +- +foreign/);
      expect(words.stdout).toMatch(new RegExp(`${halfway} +postgres +by its name ours, unmarked`));
      expect(words.stdout + words.stderr).not.toContain(server.password);
    } finally {
      for (const one of [claimed, orphan, elsewhere]) await one.remove();
    }
    expect((await sluice("--check")).code).toBe(1);
    await client.query("SELECT pg_drop_replication_slot($1)", [halfway]);
    expect(await sluice("--check")).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing of ours") });
  });
});

describe("a drop on demand", () => {
  it("of an unclaimed slot and its publication needs --yes, and leaves nothing", async () => {
    const orphan = await pair();
    expect(await sluice("--drop", orphan.publicationName, "--yes")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`sluice slots --drop ${orphan.slotName}`),
    });
    expect(await sluice("--drop", orphan.slotName)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("--yes"),
    });
    expect(await slotNames()).toContain(orphan.slotName);
    expect(await sluice("--drop", orphan.slotName, "--yes", "--json")).toMatchObject({ code: 0 });
    expect(await slotNames()).not.toContain(orphan.slotName);
    expect(await sluice("--drop", orphan.publicationName, "--yes")).toMatchObject({ code: 0 });
    const { rows } = await client.query("SELECT FROM pg_publication WHERE pubname = $1", [orphan.publicationName]);
    expect(rows).toEqual([]);
    expect(await sluice("--drop", orphan.slotName, "--yes")).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/there is no slot/),
    });
  });

  it("of a publication puts back the replica identities that its mark tells, unless another publishes the table", async () => {
    await client.query("CREATE TABLE one (n int); CREATE TABLE shared (n int)");
    await client.query("CREATE PUBLICATION others FOR TABLE shared");
    const identities = async () =>
      (
        await client.query<{ is: string }>(
          "SELECT string_agg(relreplident::text, '' ORDER BY relname) AS is FROM pg_class WHERE relname IN ('one', 'shared')",
        )
      ).rows[0].is;
    const orphan = await pair("postgres", ["public.one", "public.shared"]);
    expect(await identities()).toBe("ff");
    await sluice("--drop", orphan.slotName, "--yes");
    const { stdout, code } = await sluice("--drop", orphan.publicationName, "--yes");
    expect(stdout).toContain(
      'identities of 1 table(s) are as they were before it; those of "public"."shared", published elsewhere',
    );
    expect(code).toBe(0);
    expect(await identities()).toBe("df");
    await client.query("DROP TABLE one, shared; DROP PUBLICATION others");
  });

  it("is refused for what is claimed, unmarked or foreign; the first two go by force, the last never", async () => {
    const claimed = await pair();
    const state = exported(claimed.outs);
    const unmarked = claimed.slotName.replace(claimed.pipelineId, "0b6c1c62_0a4e_4b0f_9d0f_0a5a4e4b0f9d");
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [unmarked]);
    await client.query("SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')");
    const attempt = (name: string, ...more: string[]) =>
      sluice("--stack-state", state, "--drop", name, "--yes", ...more);
    expect(await attempt(claimed.slotName)).toMatchObject({
      code: 78,
      stderr: expect.stringMatching(/pulumi destroy/),
    });
    expect(await attempt(unmarked)).toMatchObject({ code: 78, stderr: expect.stringMatching(/Lakeflow Connect/) });
    for (const more of [[], ["--force"]]) {
      expect(await attempt("theirs", ...more)).toMatchObject({
        code: 78,
        stderr: expect.stringContaining("SELECT pg_drop_replication_slot('theirs')"),
      });
    }
    expect(await slotNames()).toEqual([claimed.slotName, unmarked, "theirs"].sort());
    expect(await attempt(unmarked, "--force")).toMatchObject({ code: 0 });
    expect(await attempt(claimed.slotName, "--force")).toMatchObject({ code: 0 });
    expect(await slotNames()).toEqual(["theirs"]);
    await claimed.remove();
  });

  it("is refused while it is read, but by force, which ends the reader", async () => {
    const orphan = await pair();
    // A walsender that streams from it.
    const options = { host: server.host, port: server.port, user: "postgres", password: server.password };
    const reader = new pg.Client({ ...options, database: "postgres", replication: "database" } as pg.ClientConfig);
    reader.on("error", () => {});
    await reader.connect();
    const reading = reader.query(
      `START_REPLICATION SLOT "${orphan.slotName}" LOGICAL 0/0 (proto_version '1', publication_names '"${orphan.publicationName}"')`,
    );
    const ended = reading.catch((error: { code?: string }) => error.code);
    const pidOf = async () =>
      (await client.query("SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1", [orphan.slotName]))
        .rows[0]?.pid as number | null;
    await until("the slot is read", async () => (await pidOf()) !== null);
    const pid = await pidOf();
    expect(await sluice("--drop", orphan.slotName, "--yes")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`is read by pid ${pid}`),
    });
    expect(await pidOf()).toBe(pid);
    expect(await sluice("--drop", orphan.slotName, "--yes", "--force")).toMatchObject({ code: 0 });
    expect(await ended).toBe("57P01");
    expect(await slotNames()).not.toContain(orphan.slotName);
    await reader.end().catch(() => {});
    await orphan.remove();
  });
});

describe("whose a slot is", () => {
  const slot = (more: Partial<SlotEntry>): SlotEntry => ({
    name: "dbx_5_abc",
    database: "postgres",
    databaseOid: 5,
    plugin: "pgoutput",
    temporary: false,
    activePid: null,
    walStatus: "reserved",
    restartLsn: "0/1",
    confirmedLsn: "0/1",
    retainedBytes: 0,
    inactiveSince: null,
    ...more,
  });
  const ours = { name: "any", database: "postgres", tables: 1, comment: "sluice:abc" };

  it.each<[Partial<SlotEntry>, Parameters<typeof slotOwnership>[1], string]>([
    [{}, [ours], "marked"],
    [{ name: "dbx_5_abc_2f" }, [ours], "marked"],
    [{ name: "dbx_5_abcd" }, [ours], "named"],
    [{}, [{ ...ours, database: "other" }], "named"],
    [{}, [{ ...ours, comment: "sluice:abc and more" }], "named"],
    [{}, null, "unseen"],
    [{ databaseOid: 6 }, [ours], "foreign"],
    [{ plugin: "wal2json" }, [ours], "foreign"],
    [{ name: "abc" }, [ours], "foreign"],
    [{ database: null, databaseOid: null, plugin: null }, [ours], "foreign"],
  ])("%j beside %j is %s", (more, publications, kind) => {
    expect(slotOwnership(slot(more), publications).kind).toBe(kind);
  });
});

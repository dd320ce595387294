// Contract: what forces a new publication or slot makes both, and a gateway, beside the old ones, under a running
// workload: the tables stay readable, the pipeline is switched when the new gateway has caught up, and then the old ones
// go, and the tables' replica identities are handed on and restored at the end; an update that is killed at any step of it (all of them with SLUICE_TEST_KILLS=all) is gone on with by the next one, or undone by a destroy. A given name
// makes it stop-first, which the preview says. By `onDelete: "drop"` a destroy takes the tables along, no replacement does.
// Invariants 3 (each change exactly once, also where history is kept), 4 (the destination equals the source) and 5
// (after delete no slot, publication or process remains).
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { OperationResult } from "../engine/engine";
import { until } from "../support/conditions";
import { openDelta, readDeltaRows } from "../support/delta-reader";
import { compareTable } from "../support/equality";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import {
  endProcesses,
  knownIds,
  knownUrns,
  openIngestion,
  processesNaming,
  publicationNames,
  slotNames,
} from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;
let writer: { stop(): Promise<void> } | undefined;
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres({
    settings: {
      max_slot_wal_keep_size: "32MB",
      min_wal_size: "32MB",
      max_wal_size: "64MB",
      max_replication_slots: "4",
    },
  });
  client = await server.client();
  await client.query(`
    CREATE TABLE public.item (id serial PRIMARY KEY, n int, body text);
    CREATE TABLE public.event (n int, at timestamptz DEFAULT now());
    CREATE TABLE public.story (id serial PRIMARY KEY, n int);
    CREATE TABLE public.unpublished (body text);
    INSERT INTO public.item (n, body) SELECT g, 'item ' || g FROM generate_series(1, 2000) g;
    INSERT INTO public.event SELECT g FROM generate_series(1, 500) g;
    INSERT INTO public.story (n) SELECT g FROM generate_series(1, 300) g`);
  folder = mkdtempSync(join(tmpdir(), "sluice-replacement-"));
});

afterAll(async () => {
  await writer?.stop().catch(() => {});
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const tables = ["item", "event", "story"];
/** What the provider's processes have in their environment, and no other process. */
const mark = `SLUICE_TEST_STACK=${process.pid}`;

const open = (more: Record<string, unknown> = {}) =>
  openIngestion(
    folder,
    "switch",
    {
      source: server.source(),
      tables: tables.map((name) => `public.${name}`),
      tableOptions: [{ table: "public.story", mode: "append" }],
      destination: { kind: "local", path: join(folder, "lake") },
      stateDir: join(folder, "state"),
      applier: { onDelete: "drop" },
      ...more,
    },
    {},
    { env: { SLUICE_TEST_STACK: String(process.pid) }, onLine: (line) => said.push(line) },
  );

const changes = (result: OperationResult) =>
  result.steps
    .filter(({ op, type }) => !["same", "refresh", "read", "replace"].includes(op) && type.startsWith("pulumi-nodejs:"))
    .map(({ op, type }) => `${type.split(":").at(-1)} ${op}`);

async function fullIdentities(): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relreplident = 'f' ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

/** Inserts, updates and deletes in all tables until it is stopped. */
function write(): { stop(): Promise<void> } {
  let stopped = false;
  const running = (async () => {
    const own = await server.client();
    try {
      for (let turn = 1; !stopped; turn++) {
        await own.query(
          `BEGIN; INSERT INTO item (n, body) VALUES (${turn}, 'new'); UPDATE item SET n = n + 1 WHERE id = ${(turn % 2000) + 1};
           INSERT INTO event VALUES (${turn}); INSERT INTO event VALUES (${turn}); DELETE FROM event WHERE n = ${turn % 500} AND ctid = (SELECT min(ctid) FROM event WHERE n = ${turn % 500});
           INSERT INTO story (n) VALUES (${turn}); COMMIT`,
        );
        await pause(2);
      }
    } finally {
      await own.end();
    }
  })();
  return {
    async stop() {
      stopped = true;
      await running;
    },
  };
}

const lake = (name: string) => join(folder, "lake", "public", name);
const firstCommit = (name: string) => join(lake(name), "_delta_log", `${"0".repeat(20)}.json`);

/** Looks at a table again and again: how few rows a reader met. */
function read(name: string) {
  let least = Number.POSITIVE_INFINITY;
  let stopped = false;
  const running = (async () => {
    while (!stopped) {
      least = Math.min(least, (await openDelta(lake(name))).rowCount);
      await pause(30);
    }
  })();
  return async () => {
    stopped = true;
    await running;
    return least;
  };
}

async function expectEqual(): Promise<void> {
  for (const name of ["item", "event"]) {
    const table = { schema: "public", name };
    await until(`${name} is equal`, async () => (await compareTable(client, table, await openDelta(lake(name)))).equal);
  }
  const { rows } = await client.query<{ id: number }>("SELECT id FROM story ORDER BY id");
  await until("the story is whole", async () => {
    const told = await readDeltaRows(lake("story"));
    const inserted = told.filter(({ _op }) => _op === "insert").map(({ id }) => Number(id));
    // A row is inserted once, however many snapshots tell it too.
    expect(new Set(inserted).size).toBe(inserted.length);
    return new Set(told.map(({ id }) => Number(id))).size === rows.length;
  });
}

const applied = async () => {
  for (const name of tables) await until(`${name} is in the lake`, () => existsSync(firstCommit(name)));
};

async function expectOne(result: OperationResult): Promise<void> {
  expect(await slotNames(client)).toEqual([result.outputs.slotName]);
  expect(await publicationNames(client)).toEqual([result.outputs.publicationName]);
  expect(processesNaming(join(folder, "state"))).toHaveLength(4);
  expect(readdirSync(join(folder, "state"))).toEqual([result.outputs.slotName]);
}

longTest(
  "replaces publication, slot and gateway beside the old ones, under load",
  async () => {
    const first = ok(await (await open()).up());
    await applied();
    writer = write();
    const least = read("item");
    let both = 0;
    const watch = setInterval(() => {
      slotNames(client).then(
        (names) => {
          both = Math.max(both, names.length);
        },
        () => {},
      );
    }, 50);
    const result = ok(await (await open({ publicationName: "another" })).up());
    clearInterval(watch);
    expect(changes(result)).toEqual([
      "Publication create-replacement",
      "ReplicationSlot create-replacement",
      "Gateway create-replacement",
      "IngestionPipeline update",
      "Gateway delete-replaced",
      "ReplicationSlot delete-replaced",
      "Publication delete-replaced",
    ]);
    expect(both).toBe(2);
    expect(said.join("\n")).toMatch(/it has caught up: the pipeline is switched to it/);
    expect(await least()).toBeGreaterThanOrEqual(2000);
    await writer.stop();
    await expectOne(result);
    expect(await fullIdentities()).toEqual(["event", "item"]);
    expect(result.outputs.slotName).not.toBe(first.outputs.slotName);
    await expectEqual();
    expect(changes(ok(await (await open({ publicationName: "another" })).up()))).toEqual([]);
  },
  240_000,
);

longTest(
  "replaces a lost slot so too, and tells the cost",
  async () => {
    const args = { publicationName: "another" };
    const [name] = await slotNames(client);
    await endProcesses(join(folder, "state", name, "gateway"));
    await until("the slot is lost", async () => {
      for (let segment = 0; segment < 4; segment++) {
        await client.query("INSERT INTO unpublished VALUES ('x'); SELECT pg_switch_wal()");
      }
      await client.query("CHECKPOINT");
      const { rows } = await client.query<{ status: string }>(
        "SELECT wal_status AS status FROM pg_replication_slots WHERE slot_name = $1",
        [name],
      );
      return rows[0]?.status === "lost";
    });
    await client.query("DELETE FROM item WHERE id % 10 = 0; INSERT INTO item (n) VALUES (0)");
    // Whatever autovacuum has done: without statistics nothing is known of the rows.
    await client.query("ANALYZE");
    ok(await (await open(args)).refresh());
    said.length = 0;
    ok(await (await open(args)).preview());
    expect(said.join("\n")).toMatch(
      /ReplicationSlot \S+: lost: a new one in its place; "public"."event", .* are copied \(about .* rows/,
    );
    expect(said.join("\n")).toMatch(/ReplicationSlot \S+: stays until the gateway of the new one has caught up/);
    const result = ok(await (await open(args)).up());
    expect(changes(result)).toContain("ReplicationSlot create-replacement");
    expect(changes(result).join()).not.toContain("Publication");
    await expectOne(result);
    expect(result.outputs.slotName).toMatch(
      new RegExp(`^${(name.match(/^dbx_\d+/) ?? [""])[0]}_[0-9a-f_]{36}_[0-9a-f]{6}$`),
    );
    await expectEqual();
  },
  240_000,
);

/** Runs an update, and kills the provider's process when something is seen. */
async function killed(args: Record<string, unknown>, seen: () => boolean | Promise<boolean>): Promise<void> {
  const stack = await open(args);
  const running = stack.up();
  await until("the moment of the kill", seen, 90_000);
  const pids = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isProvider(pid));
  expect(pids.length).toBeGreaterThan(0);
  for (const pid of pids) process.kill(Number(pid), "SIGKILL");
  expect((await running).failed).toBe(true);
}

function isProvider(pid: string): boolean {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
    return command.includes("dynamic-provider") && readFileSync(`/proc/${pid}/environ`, "utf8").includes(mark);
  } catch {
    return false;
  }
}

/** Histories of runs stay, of deployments that the pipeline went over from. */
function expectNoTables(): void {
  expect(readdirSync(join(folder, "lake")).filter((name) => name !== ".sluice")).toEqual([]);
  const own = readdirSync(join(folder, "lake", ".sluice"));
  expect(own.filter((name) => !/^runs-.*\.jsonl$/.test(name))).toEqual([]);
}

longTest(
  "goes on where an update was killed, at each step, and a destroy leaves nothing",
  async () => {
    writer = write();
    const args = { publicationName: "third" };
    const [old] = await slotNames(client);
    await killed(args, async () => (await slotNames(client)).length > 1);
    const applier = () =>
      readdirSync(join(folder, "state")).some(
        (name) => name !== old && existsSync(join(folder, "state", name, "applier", "process.json")),
      );
    if (process.env.SLUICE_TEST_KILLS === "all") {
      await killed(args, () => readdirSync(join(folder, "state")).length > 1);
      await killed(args, applier);
    }
    const result = ok(await (await open(args)).up());
    await writer.stop();
    await expectOne(result);
    await expectEqual();

    // The gateway is started, and nothing knows of it.
    const [kept] = await slotNames(client);
    await killed({ publicationName: "fourth" }, () =>
      readdirSync(join(folder, "state")).some(
        (name) => name !== kept && existsSync(join(folder, "state", name, "gateway", "process.json")),
      ),
    );
    ok(await (await open(args)).destroy());
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
    // The identities of before the first publication, handed on through all replacements.
    expect(await fullIdentities()).toEqual([]);
    expect(processesNaming(join(folder, "state"))).toEqual([]);
    expect(readdirSync(join(folder, "state"))).toEqual([]);
    expect(knownIds(folder, "switch", "Gateway")).toEqual([]);
    expectNoTables();
  },
  400_000,
);

longTest(
  "replaces a slot at the user's word (--replace) beside the old one, under load",
  async () => {
    ok(await (await open()).up());
    await applied();
    const [old] = await slotNames(client);
    const [id] = knownUrns(folder, "switch", "ReplicationSlot");
    writer = write();
    said.length = 0;
    ok(await (await open()).preview({ replace: [id] }));
    expect(said.join("\n")).toMatch(
      new RegExp(`ReplicationSlot ${old}: is there and stays until the gateway of the new one`),
    );
    expect(said.join("\n")).toMatch(
      /ReplicationSlot \S+: new; "public"."event", "public"."item", "public"."story" are copied/,
    );
    const result = ok(await (await open()).up({ replace: [id] }));
    await writer.stop();
    expect(changes(result)).toEqual([
      "ReplicationSlot create-replacement",
      "Gateway create-replacement",
      "IngestionPipeline update",
      "Gateway delete-replaced",
      "ReplicationSlot delete-replaced",
    ]);
    await expectOne(result);
    expect(result.outputs.slotName).toMatch(new RegExp(`^${old}_[0-9a-f]{6}$`));
    await expectEqual();
  },
  240_000,
);

longTest(
  "keeps the tables where the pipeline is deleted first, and drops them at destroy",
  async () => {
    const strategy = "stop-first";
    ok(await (await open({ strategy })).up());
    await applied();
    const beginning = () => tables.map((name) => readFileSync(firstCommit(name)));
    const before = beginning();
    said.length = 0;
    // One table leaves meanwhile: the new staging log will never fill it, and the pipeline knows it all the same.
    const fewer = { strategy, publicationName: "fifth", tables: ["public.item", "public.story"] };
    const result = ok(await (await open(fewer)).up());
    expect(changes(result)).toContain("IngestionPipeline delete-replaced");
    expect(said.join("\n")).toMatch(/IngestionPipeline \S+: is replaced, its Delta tables stay/);
    await expectOne(result);
    await expectEqual();
    expect(beginning()).toEqual(before);
    said.length = 0;
    ok(await (await open(fewer)).destroy());
    const dropped = said.flatMap((line) => line.match(/Delta table \S+\/(\w+) is dropped/)?.[1] ?? []);
    expect(new Set(dropped)).toEqual(new Set(tables));
    expectNoTables();
    expect(readdirSync(join(folder, "state"))).toEqual([]);
  },
  240_000,
);

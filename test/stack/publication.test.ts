// Contract: a stack with row filters, column lists and a partitioned table by its root has exactly the rows and columns
// that are published; refresh shows what a hand changed of its publication, the next update repairs it, and the one after
// is none; an adopted publication is taken over with nothing copied again; a slot with retainOnDelete is warned of, and stays.
// Invariants 4 (the destination equals the source, as far as it is published) and 5 (after delete nothing of ours remains).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { OperationResult } from "../engine/engine";
import { until } from "../support/conditions";
import { openDelta } from "../support/delta-reader";
import { compareTable } from "../support/equality";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { awaitCaughtUp, type StatusPaths } from "../support/stack-status";
import { endProcesses, openIngestion, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE TABLE public.event (id int, day int, kind text, secret text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE public.event_1 PARTITION OF public.event FOR VALUES FROM (0) TO (10);
    CREATE TABLE public.event_2 PARTITION OF public.event FOR VALUES FROM (10) TO (20);
    CREATE TABLE public.item (id int PRIMARY KEY, state text, price int);
    CREATE SCHEMA published;
    CREATE VIEW published.event AS SELECT id, day, kind FROM public.event WHERE id % 3 > 0;
    CREATE VIEW published.item AS SELECT * FROM public.item WHERE price > 50;
    INSERT INTO public.event SELECT g, g % 20, 'k' || g, 's' FROM generate_series(1, 200) g;
    INSERT INTO public.item SELECT g, 'new', g FROM generate_series(1, 100) g;
    CREATE PUBLICATION shop FOR TABLE public.event (id, day, kind) WHERE (id % 3 > 0), public.item WHERE (price > 50)
      WITH (publish_via_partition_root = true)`);
  folder = mkdtempSync(join(tmpdir(), "sluice-publication-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const tables = [
  { table: "public.event", columns: ["id", "day", "kind"], where: "id % 3 > 0" },
  { table: "public.item", where: "price > 50" },
];

const open = (config?: Record<string, string>) =>
  openIngestion(
    folder,
    "published",
    {
      source: server.source(),
      tables,
      publicationName: "shop",
      publication: { viaPartitionRoot: true, adopt: true },
      destination: { kind: "local", path: join(folder, "lake") },
      stateDir: join(folder, "state"),
    },
    config,
  );

const changed = ({ steps }: OperationResult) =>
  steps.filter(({ op }) => !["same", "read", "refresh"].includes(op)).map(({ op, name }) => `${op} ${name}`);

async function differing() {
  const found = [];
  for (const name of ["event", "item"]) {
    const delta = await openDelta(join(folder, "lake", "public", name));
    const { differing: count, differences } = await compareTable(client, { schema: "published", name }, delta);
    found.push({ name, count, differences });
  }
  return found;
}

async function expectEqual(paths: StatusPaths): Promise<void> {
  await awaitCaughtUp(client, paths, ["event", "item"], { timeoutMs: 60_000 });
  const none = (name: string) => ({ name, count: 0, differences: [] });
  expect(await differing()).toEqual([none("event"), none("item")]);
}

const memberships = async () =>
  (await client.query("SELECT oid, prrelid FROM pg_publication_rel ORDER BY 1")).rows as unknown[];

longTest(
  "has what is published, adopted and not touched; drift is shown and repaired",
  async () => {
    const before = await memberships();
    const stack = await open();
    const up = ok(await stack.up());
    expect(up.outputs.costs).toMatchObject({ publication: { kind: "none", because: ["adopt"] } });
    expect(await memberships()).toEqual(before);
    const paths = up.outputs as unknown as StatusPaths;
    await expectEqual(paths);

    // Rows that enter and leave the filter, move between partitions, or change what isn't published.
    await client.query(`
    UPDATE public.item SET price = 101 - price, state = 'moved';
    DELETE FROM public.item WHERE id % 10 = 0;
    INSERT INTO public.item VALUES (1000, 'dear', 1000), (1001, 'cheap', 1);
    UPDATE public.event SET day = (day + 10) % 20 WHERE id % 5 = 0;
    UPDATE public.event SET id = id + 1000 WHERE id % 7 = 0;
    UPDATE public.event SET kind = 'other', secret = 'x' WHERE id < 50;
    DELETE FROM public.event WHERE id BETWEEN 60 AND 80;
    INSERT INTO public.event SELECT g, g % 20, 'late', 's' FROM generate_series(2000, 2100) g`);
    await expectEqual(paths);
    expect(changed(ok(await stack.up()))).toEqual([]);
    expect(changed(ok(await stack.refresh()))).toEqual([]);

    await client.query("ALTER PUBLICATION shop SET TABLE public.event (id, day, kind), public.item WHERE (price > 99)");
    ok(await stack.refresh());
    const repaired = ok(await stack.up());
    expect(changed(repaired)).toEqual(["update ingestion"]);
    expect(repaired.outputs.costs).toMatchObject({
      publication: { kind: "resnapshot", because: ["tables"], tables: ['"public"."event"', '"public"."item"'] },
    });
    await until("what the hand changed is copied again", async () => {
      await awaitCaughtUp(client, paths, ["event", "item"], { timeoutMs: 60_000 });
      return (await differing()).every(({ count }) => count === 0);
    });
    expect(changed(ok(await (await open()).up()))).toEqual([]);

    // One that exists is read by its name, and outlives its reader.
    await client.query("CREATE PUBLICATION theirs FOR TABLE public.item");
    await client.query("SELECT pg_create_logical_replication_slot('their_slot', 'pgoutput')");
    const config = {
      "sluice-test:look": "theirs",
      "sluice-test:lookSlot": "their_slot",
      "sluice-test:retain": "theirs",
    };
    const looking = await open(config);
    const looked = ok(await looking.up());
    const pinned = [
      expect.stringMatching(/^retainOnDelete: .* the server, which keeps WAL for it until its disk is full/),
    ];
    const warnings = ({ diagnostics }: OperationResult) =>
      // The CLI tells more, of its plug-ins.
      diagnostics
        .filter(({ severity, urn }) => severity === "warning" && urn?.includes(":ReplicationSlot::"))
        .map(({ message }) => message);
    expect(warnings(looked)).toEqual(pinned);
    const { found, foundSlot } = looked.outputs;
    expect(foundSlot).toEqual({ slotName: "their_slot", lost: false });
    expect(found).toEqual({
      tables: [{ schema: "public", name: "item" }],
      owner: server.source().user,
      publicationName: "theirs",
    });
    expect(changed(ok(await looking.up()))).toEqual([]);
    ok(await looking.refresh());
    // Of the component it holds for its slot.
    expect(warnings(ok(await (await open({ "sluice-test:retainAll": "true" })).preview()))).toEqual(pinned);
    ok(await (await open(config)).destroy());
    expect(await publicationNames(client)).toEqual(["theirs"]);
    expect(await slotNames(client)).toEqual(["kept_slot", "their_slot"]);
  },
  300_000,
);

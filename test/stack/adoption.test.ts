// Contract: a stack whose state was lost is gone on with by another one, by `adopt: true`: publication, slot and staging
// are taken over where they are, no table is copied again, and the pipeline goes on in its Delta tables; a slot that is
// still read is refused before anything is touched.
// Invariants 3 (each change exactly once, also where history is kept), 4 (the destination equals the source) and 5
// (after delete no slot, publication or process remains).
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import { processFiles } from "../../provider/deploy/process-files";
import type { OperationResult } from "../engine/engine";
import { until } from "../support/conditions";
import { openDelta, readDeltaRows } from "../support/delta-reader";
import { compareTable } from "../support/equality";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { awaitCaughtUp, readStackStatus, type StatusPaths } from "../support/stack-status";
import { endProcesses, errorsOf, openIngestion, processesNaming, publicationNames, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;
const said: string[] = [];
const tables = ["item", "story"];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE TABLE public.item (id serial PRIMARY KEY, n int, body text);
    CREATE TABLE public.story (id serial PRIMARY KEY, n int);
    INSERT INTO public.item (n, body) SELECT g, 'item ' || g FROM generate_series(1, 1000) g;
    INSERT INTO public.story (n) SELECT g FROM generate_series(1, 300) g`);
  folder = mkdtempSync(join(tmpdir(), "sluice-adoption-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

/** Each stack has a state of its own; folders and tables are the same. */
const open = (stack: string, more: Record<string, unknown> = {}) =>
  openIngestion(
    folder,
    stack,
    {
      source: server.source(),
      tables: tables.map((name) => `public.${name}`),
      tableOptions: [{ table: "public.story", mode: "append" }],
      destination: { kind: "local", path: join(folder, "lake") },
      stateDir: join(folder, "state"),
      ...more,
    },
    {},
    { onLine: (line) => said.push(line) },
  );

/** What a machine that goes down does to the stack's processes. */
async function crash(): Promise<void> {
  const state = join(folder, "state");
  for (const name of readdirSync(state, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(processFiles.supervisor)) continue;
    const { pid, child } = JSON.parse(readFileSync(join(state, name), "utf8")) as Record<"child", { pid: number }> & {
      pid: number;
    };
    for (const one of [pid, child.pid]) process.kill(one, "SIGKILL");
  }
  await until("the processes are gone", () => processesNaming(state).length === 0);
  await until("the slot is idle", async () => {
    return (await client.query("SELECT FROM pg_replication_slots WHERE active")).rowCount === 0;
  });
}

const write = (turn: number) =>
  client.query(`
    INSERT INTO item (n, body) SELECT g, 'turn ${turn}' FROM generate_series(1, 50) g;
    UPDATE item SET n = n + 1 WHERE id % 7 = ${turn}; DELETE FROM item WHERE id % 31 = ${turn};
    INSERT INTO story (n) SELECT g FROM generate_series(1, 20) g`);

async function expectEqual(result: OperationResult): Promise<void> {
  const paths = result.outputs as unknown as StatusPaths;
  await awaitCaughtUp(client, paths, tables, { timeoutMs: 90_000 });
  const lake = (name: string) => join(folder, "lake", "public", name);
  expect(await compareTable(client, { schema: "public", name: "item" }, await openDelta(lake("item")))).toMatchObject({
    equal: true,
  });
  const told = (await readDeltaRows(lake("story"))).filter(({ _op }) => _op === "insert").map(({ id }) => Number(id));
  expect(new Set(told).size).toBe(told.length);
  const { rows } = await client.query<{ id: number }>("SELECT id FROM story");
  const all = new Set((await readDeltaRows(lake("story"))).map(({ id }) => Number(id)));
  expect(rows.filter(({ id }) => !all.has(id))).toEqual([]);
}

/** How often each table was copied in the life of the staging log. */
const copies = (result: OperationResult) =>
  readStackStatus(result.outputs as unknown as StatusPaths).gateway?.tables.map(({ snapshots }) => snapshots);

longTest(
  "goes on where a stack left whose state was lost, and copies no table again",
  async () => {
    const first = ok(await (await open("former")).up());
    await write(1);
    await expectEqual(first);
    const logId = () =>
      readFileSync(join(folder, "state", String(first.outputs.slotName), "staging", "log.json"), "utf8");
    const before = logId();
    await write(2);
    // The test engine's state, or the CLI's.
    for (const state of ["former.json", "former.json.backend"])
      rmSync(join(folder, state), { force: true, recursive: true });

    const { slotName, publicationName } = first.outputs;
    const adopting = { adopt: true, slotName, publicationName };
    const early = await (await open("latter", adopting)).preview();
    expect(errorsOf(early)).toMatch(/is read by pid \d+ \(application sluice \S+ stream/);
    await crash();
    await write(3);

    said.length = 0;
    ok(await (await open("latter", adopting)).preview());
    const lines = said.join("\n");
    expect(lines).toMatch(/Publication \S+: adopt: no effect on data or processes/);
    expect(lines).toMatch(/ReplicationSlot \S+: adopt: no effect on data or processes/);
    expect(lines).toMatch(/Gateway \S+: goes on with the staging in /);
    expect(lines).not.toMatch(/are copied/);

    const second = ok(await (await open("latter", adopting)).up());
    await write(4);
    await expectEqual(second);
    expect(copies(second)).toEqual([1, 1]);
    expect(logId()).toBe(before);

    ok(await (await open("latter", adopting)).destroy());
    expect(await slotNames(client)).toEqual([]);
    expect(await publicationNames(client)).toEqual([]);
    expect(processesNaming(join(folder, "state"))).toEqual([]);
    expect(existsSync(join(folder, "state", String(slotName)))).toBe(false);
  },
  400_000,
);

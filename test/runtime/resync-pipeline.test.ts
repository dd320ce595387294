// Contract: a table whose Delta table is damaged waits alone, and `sluice resync` heals it, asked while nothing runs,
// whatever is killed between its steps (invariants 3 and 4); the slot is left alone; commands tell all of it from files.
import { execFileSync } from "node:child_process";
import { readdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ApplierStatus } from "../../runtime/status";
import { Pipeline } from "../support/pipeline";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

let postgres: TestPostgres;
let pipeline: Pipeline;
beforeAll(async () => {
  postgres = await startPostgres();
  pipeline = await Pipeline.open(
    postgres,
    `CREATE TABLE damaged (id int PRIMARY KEY, name text); INSERT INTO damaged SELECT i, 'a' || i FROM generate_series(1, 200) i;
     CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 20)`,
  );
});
afterAll(async () => {
  await pipeline.close();
  await postgres.stop();
});

const main = resolve(__dirname, "../../dist/runtime/main.js");
const sluice = (command: string, role: "gateway" | "applier", ...more: string[]) =>
  execFileSync(process.execPath, [main, command, "--config", join(pipeline.folder, `${role}.json`), ...more], {
    encoding: "utf8",
    stdio: "pipe",
  });
const tableOf = (status: ApplierStatus | null, name: string) => status?.tables.find((table) => table.name === name);

it("heals a damaged table through kills at each step", { timeout: 120_000 }, async () => {
  const { client, gateway, applier } = pipeline;
  pipeline.start();
  await pipeline.settled();
  const slotBefore = await client.query(
    "SELECT slot_name, xmin, catalog_xmin IS NOT NULL AS held FROM pg_replication_slots",
  );

  await applier.kill();
  for (const name of readdirSync(join(pipeline.lakePath({ name: "damaged" }), "_delta_log"))) {
    writeFileSync(join(pipeline.lakePath({ name: "damaged" }), "_delta_log", name), "damaged");
  }
  applier.start();
  await client.query("UPDATE damaged SET name = 'b' WHERE id <= 10; INSERT INTO other VALUES (21)");
  const told = await applier.untilStatus(
    "the damaged table waits alone",
    (status) => tableOf(status, "damaged")?.state.kind === "quarantined" && tableOf(status, "other")?.rows === 21,
  );
  expect(tableOf(told, "damaged")?.state).toMatchObject({
    errorKind: "destination",
    remedy: expect.stringContaining("sluice resync"),
  });
  expect(sluice("status", "applier")).toMatch(
    /public\.damaged +scd1 +quarantined[\s\S]*is damaged[\s\S]*sluice resync/,
  );
  expect(sluice("status", "applier")).toMatch(/\nmaintenance: .* checkpoints; .* small files now\nstaging: .* purged/);
  expect(sluice("status", "gateway")).toMatch(/public\.damaged +streaming +200/);
  expect(JSON.parse(sluice("status", "applier", "--json"))).toMatchObject({ role: "applier", pid: applier.pid });

  await applier.kill();
  await gateway.kill();
  for (let asked = 0; asked < 2; asked++) {
    const { requests } = JSON.parse(sluice("resync", "gateway", "--table", "public.damaged", "--json"));
    expect(requests).toMatchObject([{ table: "public.damaged" }]);
  }
  await client.query("DELETE FROM damaged WHERE id = 200; INSERT INTO damaged VALUES (201, 'c')");
  // The last one last: with it the whole snapshot may be staged.
  const places = ["before-record", "before-snapshot-end", "after-record"];
  for (const place of places) {
    gateway.start({ SLUICE_FAILPOINT: `gateway.${place}` });
    expect((await gateway.exited()).signal, place).toBe("SIGKILL");
    await client.query("UPDATE damaged SET name = name || '!' WHERE id % 7 = 0");
  }
  gateway.start();
  for (const place of ["before-commit", "after-commit"]) {
    applier.start({ SLUICE_FAILPOINT: `applier.${place}` });
    expect((await applier.exited()).signal, place).toBe("SIGKILL");
    await client.query("UPDATE other SET id = id + 100 WHERE id = (SELECT min(id) FROM other)");
  }
  applier.start();
  await pipeline.settled();
  expect(await pipeline.differences("damaged")).toEqual([]);
  expect(await pipeline.differences("other")).toEqual([]);
  expect(tableOf(applier.status(), "damaged")?.state).toEqual({ kind: "idle" });
  // Once more for each kill that came in the midst of it: its updates may leave values out, so it isn't resumed.
  const { snapshots } = pipeline.table("damaged");
  expect(snapshots).toBeGreaterThanOrEqual(2);
  expect(snapshots).toBeLessThanOrEqual(2 + places.length);
  await gateway.kill();
  gateway.start();
  await client.query("UPDATE damaged SET name = 'last' WHERE id = 1");
  await pipeline.settled();
  expect(pipeline.table("damaged").snapshots).toBe(snapshots);
  expect(pipeline.table("other").snapshots).toBe(1);
  expect(readdirSync(join(pipeline.folder, "staging", "requests", "resync"))).toEqual([]);
  const slotAfter = await client.query(
    "SELECT slot_name, xmin, catalog_xmin IS NOT NULL AS held FROM pg_replication_slots",
  );
  expect(slotAfter.rows).toEqual(slotBefore.rows);

  await applier.stop();
  const { runs } = JSON.parse(sluice("runs", "applier", "--table", "public.damaged", "--json", "--limit", "100"));
  const statuses = new Set(runs.map((run: { status: string }) => run.status));
  expect(statuses).toContain("succeeded");
  expect([...statuses].some((status) => status === "quarantined" || status === "interrupted")).toBe(true);
  expect(sluice("status", "applier")).toMatch(/: stopped/);
});

it("copies all tables again on --all", { timeout: 60_000 }, async () => {
  pipeline.applier.start();
  const before = new Map(pipeline.gateway.status()?.tables.map(({ name, snapshots }) => [name, snapshots]));
  const asked = sluice("resync", "applier", "--all");
  expect(asked.split("\n").filter((line) => line !== "")).toHaveLength(2);
  await pipeline.gateway.untilStatus("all are copied again", ({ tables }) =>
    tables.every(({ name, snapshots, state }) => state.kind === "streaming" && snapshots > (before.get(name) ?? 0)),
  );
  await pipeline.settled();
  expect(await pipeline.differences("damaged")).toEqual([]);
  expect(await pipeline.differences("other")).toEqual([]);
});

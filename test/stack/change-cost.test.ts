// Contract: an edit that the preview says has no effect on data or processes has none: the same walsender streams on; a
// restart of the applier leaves capture alone; what a preview says is an output after the update.
// Invariant 5 (after delete nothing of ours remains).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { OperationResult } from "../engine/engine";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { endProcesses, openIngestion, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query("CREATE TABLE public.a (id int PRIMARY KEY); CREATE TABLE public.b (id int PRIMARY KEY)");
  folder = mkdtempSync(join(tmpdir(), "sluice-change-cost-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const open = (more: Record<string, unknown>) =>
  openIngestion(folder, "cost", {
    source: server.source(),
    tables: ["public.a"],
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
    ...more,
  });

function costsOf(result: OperationResult): Record<string, unknown> {
  return ok(result).outputs.costs as Record<string, unknown>;
}

const walsender = () =>
  until("a walsender streams", async () => {
    const { rows } = await client.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_replication WHERE state = 'streaming'",
    );
    return rows[0]?.pid;
  });

it("an edit of the provider's own settings, or of the applier's, leaves the walsender streaming", async () => {
  ok(await (await open({})).up());
  const pid = await walsender();

  const quiet = await open({ preflight: "up" });
  expect(costsOf(await quiet.up())).toMatchObject({
    publication: { kind: "none", because: ["preflight"] },
    gateway: { kind: "none", because: ["preflight"] },
    pipeline: { kind: "none", because: ["preflight"] },
  });
  expect(await walsender()).toBe(pid);

  const slower = await open({ preflight: "up", applier: { trigger: { kind: "continuous", intervalMs: 700 } } });
  expect(costsOf(await slower.up())).toMatchObject({ pipeline: { kind: "restart", because: ["trigger"] } });
  expect(await walsender()).toBe(pid);

  const grown = await open({ tables: ["public.a", "public.b"] });
  expect(costsOf(await grown.up())).toMatchObject({
    publication: { kind: "resnapshot", because: ["tables"], tables: ['"public"."b"'] },
  });
  expect(await walsender()).toBe(pid);

  const bigger = await open({ tables: ["public.a", "public.b"], gateway: { batch: { rowsMax: 1_000 } } });
  expect(costsOf(await bigger.up())).toMatchObject({ gateway: { kind: "restart", because: ["batch"] } });
  expect(await walsender()).not.toBe(pid);

  ok(await bigger.destroy());
  expect(await slotNames(client)).toEqual([]);
}, 120_000);

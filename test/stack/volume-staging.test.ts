// Contract: a stack whose staging is in a Unity Catalog volume is made, is unchanged by the next preview, changed in place by
// a setting, and destroyed so that the volume is as before; the tables equal the source, and stay.
// Invariants 4 (the destination equals the source), 5 (after delete nothing of ours remains), 6 (no secret leaves its place).
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import { DatabricksWorkspace } from "../support/databricks-workspace";
import { openDelta } from "../support/delta-reader";
import { compareTable } from "../support/equality";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { awaitCaughtUp, type StatusPaths } from "../support/stack-status";
import { endProcesses, errorsOf, filesHolding, openIngestion, publicationNames, slotNames } from "./ingestion-stack";
import { changedResources, ok } from "./operation-outcome";

const volume = "main.sluice.staging";
let server: TestPostgres;
let client: pg.Client;
let folder: string;
let workspace: DatabricksWorkspace;
let secret: { clientId: string; clientSecret: string };
const said: string[] = [];

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query(`
    CREATE TABLE public.item (id int PRIMARY KEY, state text, price int);
    INSERT INTO public.item SELECT g, 'new', g FROM generate_series(1, 5000) g`);
  folder = mkdtempSync(join(tmpdir(), "sluice-volume-stack-"));
  workspace = await DatabricksWorkspace.open();
  await workspace.files.makeVolume(volume);
  secret = workspace.addServicePrincipal();
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await client?.end();
  await server?.stop();
  await workspace?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const open = (settings: Record<string, unknown> = {}) =>
  openIngestion(
    folder,
    "volume",
    {
      source: server.source(),
      tables: ["public.item"],
      destination: { kind: "local", path: join(folder, "lake") },
      stateDir: join(folder, "state"),
      gateway: {
        staging: {
          kind: "volume",
          volume,
          workspace: {
            host: workspace.host,
            clientId: secret.clientId,
            clientSecret: { env: "SLUICE_TEST_CLIENT_SECRET" },
          },
          ...settings,
        },
      },
    },
    {},
    { env: { SLUICE_TEST_CLIENT_SECRET: secret.clientSecret }, onLine: (line) => said.push(line) },
  );

const staged = () => readdirSync(workspace.files.local(`/Volumes/${volume.replaceAll(".", "/")}`));

async function differences() {
  const delta = await openDelta(join(folder, "lake", "public", "item"));
  return (await compareTable(client, { schema: "public", name: "item" }, delta)).differences;
}

longTest("is refused at the preview where a privilege is missing, with the GRANT", async () => {
  workspace.catalog.grantVolume(volume, secret.clientId);
  workspace.catalog.revoke(volume, secret.clientId, "WRITE_VOLUME");
  const result = await (await open()).preview();
  expect(errorsOf(result)).toMatch(/GRANT WRITE VOLUME ON VOLUME `main`\.`sluice`\.`staging` TO/);
  workspace.catalog.grantVolume(volume, secret.clientId);
});

longTest("is made, staged there, applied and changed in place", async () => {
  const made = ok(await (await open()).up());
  const outputs = made.outputs as unknown as StatusPaths;
  await client.query(
    "UPDATE public.item SET price = price + 1 WHERE id % 3 = 0; DELETE FROM public.item WHERE id < 10",
  );
  await awaitCaughtUp(client, outputs, ["item"], { timeoutMs: 60_000 });
  expect(await differences()).toEqual([]);
  expect(staged()).toHaveLength(1);
  expect(changedResources(ok(await (await open()).preview()))).toEqual([]);
  expect(changedResources(ok(await (await open({ uploadsMax: 2 })).up()))).toEqual([
    "update Gateway",
    "update IngestionPipeline",
  ]);
  await client.query("INSERT INTO public.item VALUES (9001, 'last', 1)");
  await awaitCaughtUp(client, outputs, ["item"], { timeoutMs: 60_000 });
  expect(await differences()).toEqual([]);
});

longTest("keeps its secret where it is", () => {
  expect(filesHolding(folder, secret.clientSecret)).toEqual([]);
  expect(said.join("\n")).not.toContain(secret.clientSecret);
});

longTest("is destroyed, with its folder of the volume; the tables stay", async () => {
  ok(await (await open({ uploadsMax: 2 })).destroy());
  expect(staged()).toEqual([]);
  expect(await slotNames(client)).toEqual([]);
  expect(await publicationNames(client)).toEqual([]);
  expect(await differences()).toEqual([]);
});

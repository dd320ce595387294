// Contract: where a stack's source can't be reached, a preview of a change and the drift job (`refresh --preview-only`) fail,
// name the server and the remedy, and change nothing: no resource is told as gone, and once the source is back neither
// finds a difference.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterAll, beforeAll, expect } from "vitest";
import type { OperationResult } from "../engine/engine";
import { longTest } from "../support/long-test";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy";
import { endProcesses, errorsOf, knownIds, openIngestion, slotNames } from "./ingestion-stack";
import { ok } from "./operation-outcome";

let server: TestPostgres;
let client: pg.Client;
let proxy: TcpProxy;
let folder: string;

beforeAll(async () => {
  server = await startPostgres();
  client = await server.client();
  await client.query("CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE two (id int PRIMARY KEY)");
  proxy = await startTcpProxy(server);
  folder = mkdtempSync(join(tmpdir(), "sluice-unreachable-"));
});

afterAll(async () => {
  if (folder !== undefined) await endProcesses(folder);
  await proxy?.close();
  await client?.end();
  await server?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const open = (...tables: string[]) =>
  openIngestion(folder, "away", {
    source: { ...server.source(), port: proxy.port, connectTimeoutMs: 5_000 },
    tables,
    destination: { kind: "local", path: join(folder, "lake") },
    stateDir: join(folder, "state"),
  });

const changes = ({ steps }: OperationResult) =>
  steps.filter(({ op }) => !["same", "read", "refresh"].includes(op)).map(({ op, name }) => `${op} ${name}`);

function expectTold(result: OperationResult): void {
  expect(result.failed).toBe(true);
  expect(errorsOf(result)).toMatch(new RegExp(`127\\.0\\.0\\.1:${proxy.port}[\\s\\S]*\n  remedy: `));
  expect(changes(result).filter((change) => change.startsWith("delete") || change.startsWith("create"))).toEqual([]);
}

const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];
const known = () => kinds.map((kind) => knownIds(folder, "away", kind));

longTest(
  "preview and drift job say so, and nothing changes",
  async () => {
    ok(await (await open("public.one")).up());
    const before = known();
    const [slot] = await slotNames(client);
    proxy.cut();
    expectTold(await (await open("public.one", "public.two")).preview());
    const drift = await (await open("public.one")).refresh({ previewOnly: true });
    expectTold(drift);
    // Each that is on the source says so; the processes are of this machine.
    const failed = drift.diagnostics.filter(({ severity, urn }) => severity === "error" && urn !== undefined);
    expect(new Set(failed.map(({ urn }) => urn?.match(/sluice:(\w+)::/)?.[1]))).toEqual(
      new Set(["Connection", "Publication", "ReplicationSlot"]),
    );
    expect(known()).toEqual(before);
    proxy.restore();
    expect(changes(ok(await (await open("public.one")).refresh({ previewOnly: true })))).toEqual([]);
    expect(changes(ok(await (await open("public.one")).preview()))).toEqual([]);
    expect(await slotNames(client)).toEqual([slot]);
    const status = readFileSync(join(folder, "state", slot, "gateway", "status.json"), "utf8");
    expect(JSON.parse(status)).toMatchObject({ role: "gateway" });
    ok(await (await open("public.one")).destroy());
    expect(await slotNames(client)).toEqual([]);
  },
  240_000,
);

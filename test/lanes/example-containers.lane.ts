// Contract: examples/docker runs end to end on an engine that is reached by TLS, else by its socket: rows are carried, a
// second up and a refresh change nothing, and a destroy leaves the tables' volume alone. Invariants 5 and 6: no container,
// slot or publication remains; the password is neither in the state nor in any container's inspect.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Docker from "dockerode";
import type { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { framedText } from "../../provider/deploy/container-health";
import { labels } from "../../provider/deploy/container-spec";
import type { ApplierStatus } from "../../runtime/status";
import { openStack } from "../engine/deployer";
import type { OperationResult } from "../engine/engine";
import { errorsOf, publicationNames, slotNames } from "../stack/ingestion-stack";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

const docker = new Docker();
const { SLUICE_LANE_TLS_HOST: engine, SLUICE_LANE_TLS_FOLDER: certificates } = process.env;
let server: TestPostgres;
let client: Client;
let folder: string;

beforeAll(async () => {
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  client = await server.client();
  await client.query("CREATE TABLE public.orders (id int PRIMARY KEY, note text)");
  await client.query("INSERT INTO public.orders SELECT n, 'order ' || n FROM generate_series(1, 5000) n");
  folder = mkdtempSync(join(tmpdir(), "sluice-example-"));
});

afterAll(async () => {
  for (const { Id } of await containers()) await docker.getContainer(Id).remove({ force: true });
  await client?.end();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const mine = { all: true, filters: { label: [labels.directory] } };
const containers = async () =>
  (await docker.listContainers(mine)).filter(({ Labels }) => Labels[labels.directory].startsWith("/sluice/"));

async function volumes(): Promise<string[]> {
  const { Volumes } = await docker.listVolumes({ filters: mine.filters });
  return (Volumes ?? []).map(({ Name }) => Name);
}

async function exec(container: string, ...command: string[]): Promise<string> {
  const run = await docker.getContainer(container).exec({ Cmd: command, AttachStdout: true });
  const chunks: Buffer[] = [];
  for await (const chunk of await run.start({})) chunks.push(chunk as Buffer);
  return framedText(Buffer.concat(chunks));
}

function changes(result: OperationResult): string[] {
  expect(errorsOf(result)).toBe("");
  expect(result.failed).toBe(false);
  return result.steps
    .filter(({ op, type }) => op !== "same" && op !== "refresh" && type.startsWith("pulumi-nodejs:"))
    .map(({ op, name, type }) => `${name} ${type.split(":").at(-1)} ${op}`);
}

it("is deployed, asked, and destroyed", async () => {
  const { host, port, database, user, password } = server;
  const config = { host, port: String(port), database, user, tables: '["public.orders"]', network: "host" };
  const stateFile = join(folder, "docker.json");
  const stack = await openStack({
    projectDir: join(process.cwd(), "examples/docker"),
    stack: "lane",
    stateFile,
    config: Object.fromEntries(
      Object.entries(engine === undefined ? config : { ...config, engine }).map(([key, value]) => [
        `sluice-docker:${key}`,
        value,
      ]),
    ),
    secretConfig: { "sluice-docker:password": password },
    env: {
      PULUMI_NODEJS_TRANSPILE_ONLY: "true",
      ...(certificates === undefined ? {} : { DOCKER_CERT_PATH: certificates }),
    },
  });
  const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];
  const startedMs = Date.now();
  const made = await stack.up();
  expect(changes(made)).toEqual(kinds.map((kind) => `orders ${kind} create`));
  const {
    containers: names,
    look,
    image,
  } = made.outputs as { containers: { gateway: string; applier: string }; look: string; image: string };
  expect(image).toMatch(/sha256:[0-9a-f]{64}$/);
  expect(look).toBe(`docker exec ${names.applier} sluice status`);
  const status = async () => JSON.parse(await exec(names.applier, "sluice", "status", "--json")) as ApplierStatus;
  await until("the rows are there", async () => (await status()).tables[0]?.rows === 5000, 60_000);
  console.log(`examples/docker: 5,000 rows are in the volume ${Date.now() - startedMs} ms after pulumi up began`);
  expect(readFileSync(stateFile, "utf8")).not.toContain(password);
  for (const name of Object.values(names)) {
    expect(JSON.stringify(await docker.getContainer(name).inspect())).not.toContain(password);
  }
  expect(changes(await stack.up())).toEqual([]);
  expect(changes(await stack.refresh())).toEqual([]);
  await client.query("DELETE FROM public.orders WHERE id <= 10");
  await until("deletes arrive", async () => (await status()).tables[0]?.rows === 4990, 60_000);

  expect(changes(await stack.destroy()).sort()).toEqual(kinds.map((kind) => `orders ${kind} delete`).sort());
  expect([await slotNames(client), await publicationNames(client)]).toEqual([[], []]);
  expect([await containers(), await volumes()]).toEqual([[], ["sluice-lake"]]);
  await docker.getVolume("sluice-lake").remove();
}, 240_000);

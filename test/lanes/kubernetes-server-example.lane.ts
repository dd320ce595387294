// Contract: examples/kubernetes is previewed as it stands against a real API server, which tries its objects, and a real
// source; what the cluster lacks fails the preview, and nothing is made.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { openStack } from "../engine/deployer";
import { errorsOf } from "../stack/ingestion-stack";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import { ClusterUnderTest } from "./cluster-under-test";

vi.setConfig({ testTimeout: 90_000 });
const cluster = new ClusterUnderTest();
let server: TestPostgres;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-example-"));
  server = await startPostgres({ settings: { max_slot_wal_keep_size: "1GB" } });
  const client = await server.client();
  await client.query("CREATE TABLE orders (id int PRIMARY KEY)");
  await client.end();
  await cluster.furnish(0);
  await cluster.turnTo("example");
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

it("examples/kubernetes is previewed where cluster and source are reached", async () => {
  const preview = async (namespace: string) => {
    const { port, database, user } = server;
    // The same address by another name: one that is known as a loopback address is the pod itself.
    const given = { host: "127.1", port: String(port), database, user, namespace, image: "registry/sluice:1" };
    const config = Object.entries({ ...given, tables: '["public.orders"]', sslMode: "disable" });
    const stack = await openStack({
      projectDir: resolve(__dirname, "../../examples/kubernetes"),
      stack: "lane",
      stateFile: join(folder, `${namespace}.json`),
      config: Object.fromEntries(config.map(([key, value]) => [`sluice-kubernetes:${key}`, value])),
      env: {
        PULUMI_NODEJS_TRANSPILE_ONLY: "true",
        SLUICE_PASSWORD: server.password,
        KUBECONFIG: join(process.env.SLUICE_LANE_KUBERNETES as string, "admin.kubeconfig"),
      },
    });
    return stack.preview();
  };
  const result = await preview("example");
  expect(errorsOf(result)).toBe("");
  const made = result.steps.filter(({ op, type }) => op === "create" && type.startsWith("pulumi-nodejs:"));
  const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];
  expect(made.map(({ type }) => type.split(":").at(-1))).toEqual(kinds);
  const refused = await preview("absent");
  expect(refused.failed).toBe(true);
  expect(errorsOf(refused)).toContain("has no namespace absent");
  expect(await cluster.left()).toEqual([]);
});

// Contract: on a real node (kubelet, containerd, runc, a network and volumes of its own) the image runs in the pods that we make:
// examples/kubernetes is deployed, carries rows, answers by exec, goes on after its pod was deleted, has no drift and is
// destroyed; two pods share a volume; why a pod can't run is told by what a kubelet says. Invariants 3 (each change once), 5 (nothing of ours remains
// but the destination) and 6 (no secret in a pod, nor in its environment). Nothing here enforces a NetworkPolicy.
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { ProcessSpec } from "../../provider/deploy/deployment";
import { defaultImage } from "../../provider/deploy/docker-image";
import { openCluster } from "../../provider/deploy/kubernetes-cluster";
import { tablePath } from "../../runtime/destination/table-path";
import type { GatewayStatus } from "../../runtime/status";
import { openStack } from "../engine/deployer";
import type { OperationResult } from "../engine/engine";
import { errorsOf, publicationNames, slotNames } from "../stack/ingestion-stack";
import { until } from "../support/conditions";
import { openDelta } from "../support/delta-reader";
import { compareTable } from "../support/equality";
import { startPostgres, type TestPostgres } from "../support/postgres-server";
import {
  applier,
  ClusterUnderTest,
  directories,
  gateway,
  owner,
  rejection,
  stagingPath,
  stopTimeoutMs,
} from "./cluster-under-test";
import type { Thing } from "./kubernetes-api";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 180_000 });
const node = process.env.SLUICE_LANE_NODE as string;
/** The node, as pods see it. */
const address = "192.0.2.1";
const cluster = new ClusterUnderTest();
const { api } = cluster;
let server: TestPostgres;
let client: Client;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sluice-node-"));
  await until("the node takes pods", async () => {
    const { taints = [] } = (await api.ask("GET", "/api/v1/nodes/node")).spec as { taints?: object[] };
    return taints.length === 0;
  });
  await cluster.furnish(0);
  for (let count = 0; count < 12; count++) await makeVolume(`volume-${count}`);
  const settings = { max_slot_wal_keep_size: "1GB", listen_addresses: `127.0.0.1,${address}` };
  server = await startPostgres({ settings });
  client = await server.client();
  appendFileSync(join(server.dataFolder, "pg_hba.conf"), "\nhost all,replication all 192.0.2.0/24 scram-sha-256\n");
  await client.query("SELECT pg_reload_conf()");
  await client.query("CREATE TABLE orders (id int PRIMARY KEY, note text)");
  await client.query("INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 5000) n");
});
afterAll(async () => {
  await client?.end();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A folder of the node, whose owner the kubelet makes the pod's group. */
async function makeVolume(name: string): Promise<void> {
  const path = join(node, "volumes", name);
  mkdirSync(path, { recursive: true });
  const here = { key: "kubernetes.io/hostname", operator: "In", values: ["node"] };
  await api.put("/api/v1/persistentvolumes", {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      storageClassName: "lane",
      capacity: { storage: "500Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      local: { path },
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [here] }] } },
    },
  });
}

/** Where the files of the claim are whose name ends so. */
async function folderOf(ending: string): Promise<string> {
  const { items } = await api.ask("GET", cluster.core("persistentvolumeclaims"));
  const claim = items.find(({ metadata }) => metadata.name.endsWith(ending)) as Thing;
  return join(node, "volumes", claim.spec.volumeName as string);
}

function changes(result: OperationResult): string[] {
  expect(errorsOf(result)).toBe("");
  expect(result.failed).toBe(false);
  return result.steps
    .filter(({ op, type }) => op !== "same" && op !== "refresh" && type.startsWith("pulumi-nodejs:"))
    .map(({ op, type }) => `${type.split(":").at(-1)} ${op}`);
}

/** One run of the applier's schedule, now: kubectl create job --from=cronjob/…, with the CronJob as its owner. */
async function runNow(name: string): Promise<void> {
  const path = cluster.group("batch/v1", "cronjobs");
  const [{ metadata, spec }] = (await api.ask("GET", path)).items;
  const { metadata: labelled, spec: template } = spec.jobTemplate as { metadata: object; spec: object };
  const maker = { apiVersion: "batch/v1", kind: "CronJob", name: metadata.name, uid: metadata.uid, controller: true };
  await api.put(cluster.group("batch/v1", "jobs"), {
    ...{ apiVersion: "batch/v1", kind: "Job", spec: template },
    metadata: { ...labelled, name, ownerReferences: [maker] },
  });
  await until(
    `the run ${name}`,
    async () => {
      const { status } = await api.ask("GET", cluster.group("batch/v1", "jobs", name));
      if (status?.failed !== undefined) throw new Error(JSON.stringify(status));
      return status?.succeeded === 1;
    },
    90_000,
  );
}

it("examples/kubernetes runs end to end", async () => {
  await cluster.turnTo("example");
  const given = { host: address, port: String(server.port), database: server.database, user: server.user };
  const config = {
    ...given,
    namespace: "example",
    image: defaultImage,
    tables: '["public.orders"]',
    sslMode: "disable",
  };
  const stateFile = join(folder, "example.json");
  const stack = await openStack({
    projectDir: resolve(__dirname, "../../examples/kubernetes"),
    stack: "lane",
    stateFile,
    config: Object.fromEntries(Object.entries(config).map(([key, value]) => [`sluice-kubernetes:${key}`, value])),
    env: {
      PULUMI_NODEJS_TRANSPILE_ONLY: "true",
      SLUICE_PASSWORD: server.password,
      KUBECONFIG: join(process.env.SLUICE_LANE_KUBERNETES as string, "admin.kubeconfig"),
    },
  });
  const kinds = ["Connection", "Publication", "ReplicationSlot", "Gateway", "IngestionPipeline"];
  const startedMs = Date.now();
  const made = await stack.up();
  expect(changes(made)).toEqual(kinds.map((kind) => `${kind} create`));
  expect(made.outputs.image).toMatch(/sha256:[0-9a-f]{64}$/);
  console.log(`examples/kubernetes: the gateway's pod is ready ${Date.now() - startedMs} ms after pulumi up began`);

  const opened = await openCluster(cluster.options());
  const gatewayPod = async () => (await cluster.podOf("gateway")) as Thing;
  const status = async () => {
    const { metadata } = await gatewayPod();
    const text = await opened.run(metadata.name, "gateway", ["sluice", "status", "--json"]);
    return text === null ? null : (JSON.parse(text) as GatewayStatus);
  };
  const streams = () =>
    until("it streams", async () => (await status())?.tables.every(({ state }) => state.kind === "streaming"), 60_000);
  await streams();
  const first = await gatewayPod();
  expect(first.spec).toMatchObject({ securityContext: { runAsUser: 65532, runAsNonRoot: true } });
  const processes = JSON.stringify(first) + readFileSync(stateFile, "utf8");
  expect(processes).not.toContain(server.password);
  expect(await opened.run(first.metadata.name, "gateway", ["node", "-p", "JSON.stringify(process.env)"])).not.toContain(
    server.password,
  );

  await runNow("first");
  const lake = await folderOf("-destination");
  const table = { schema: "public", name: "orders" };
  const equality = async () => compareTable(client, table, await openDelta(tablePath(lake, table)));
  expect(await equality()).toMatchObject({ equal: true, rows: 5000 });

  expect(changes(await stack.up())).toEqual([]);
  await api.ask("DELETE", cluster.core("pods", first.metadata.name));
  await client.query("DELETE FROM orders WHERE id <= 10");
  await client.query("UPDATE orders SET note = 'changed' WHERE id % 7 = 0");
  await until("another pod", async () => {
    const pod = await cluster.podOf("gateway");
    return pod !== undefined && pod.metadata.uid !== first.metadata.uid && pod.metadata.deletionTimestamp === undefined;
  });
  await streams();
  const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn() AS lsn");
  await until(
    "all is staged",
    async () => {
      const slots = await client.query("SELECT confirmed_flush_lsn >= $1 AS ok FROM pg_replication_slots", [
        rows[0].lsn,
      ]);
      return slots.rows[0]?.ok === true;
    },
    60_000,
  );
  await runNow("second");
  expect(await equality()).toMatchObject({ equal: true, rows: 4990 });
  expect(changes(await stack.refresh())).toEqual([]);

  expect(changes(await stack.destroy()).sort()).toEqual(kinds.map((kind) => `${kind} delete`).sort());
  expect([await slotNames(client), await publicationNames(client)]).toEqual([[], []]);
  const left = (await cluster.left()).filter((one) => !/^persistentvolumeclaims\/sluice-.*-destination$/.test(one));
  expect(left).toEqual([]);
  expect(await equality()).toMatchObject({ equal: true, rows: 4990 });
});

const password = "SHOP_PASSWORD";
const wanted = (more: object = {}): ProcessSpec => {
  const source = { host: address, port: server.port, database: server.database, user: server.user };
  const config = { source: { ...source, password: { env: password }, sslMode: "disable" }, ...more };
  return { ...gateway(config), startTimeoutMs: 60_000 };
};

it("a gateway and a continuous applier share a volume; an update goes on; a Job drops the tables", async () => {
  await cluster.turnTo("shared");
  vi.stubEnv(password, server.password);
  await client.query("CREATE PUBLICATION shared FOR TABLE orders");
  await client.query("SELECT pg_create_logical_replication_slot('shared', 'pgoutput')");
  const target = cluster.target();
  const from = { publication: "shared", slot: "shared" };
  const continuous = { ...applier({ kind: "continuous" }), startTimeoutMs: 60_000 };
  await cluster.makeStaging();
  await target.apply(wanted(from));
  await target.apply(continuous);
  const table = { schema: "public", name: "orders" };
  const path = tablePath(await folderOf("-destination"), table);
  const arrived = () =>
    until(
      "the rows are there",
      async () =>
        existsSync(join(path, "_delta_log")) && (await compareTable(client, table, await openDelta(path))).equal,
      90_000,
    );
  await arrived();
  await target.apply(wanted({ ...from, heartbeatMs: 5_000 }));
  await client.query("INSERT INTO orders VALUES (100000, 'late')");
  await arrived();

  await target.remove(directories.applier, stopTimeoutMs);
  const written = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
  await target.dropTables(continuous);
  written.mockRestore();
  expect(existsSync(path)).toBe(false);
  await target.remove(directories.gateway, stopTimeoutMs);
  expect(await target.staging.remove(stagingPath, owner)).toBe(true);
  expect(await cluster.left()).toEqual(["persistentvolumeclaims/sluice-orders-destination"]);
  await client.query("SELECT pg_drop_replication_slot('shared')");
  await client.query("DROP PUBLICATION shared");
  vi.unstubAllEnvs();
});

describe("a pod that can't run", () => {
  const failure = async (options: object, spec = wanted()) => {
    vi.stubEnv(password, server.password);
    await cluster.turnTo(`bad-${Math.random().toString(36).slice(2, 8)}`);
    try {
      const target = cluster.target({ imagePullPolicy: "Never", ...options });
      await cluster.makeStaging();
      const error = await rejection(target.apply(spec));
      expect(await cluster.left()).toEqual(["persistentvolumeclaims/sluice-orders-staging"]);
      return error;
    } finally {
      await api.ask("DELETE", `/api/v1/namespaces/${cluster.namespace}`);
      vi.unstubAllEnvs();
    }
  };

  it("for want of memory is told with its limit", async () => {
    const error = await failure({ resources: { limits: { memory: "24Mi" } } });
    expect(error.message).toMatch(/exit 137 \(it needed more than its limit of 24Mi\)/);
    expect(error.remedy).toContain("deployment.resources.limits.memory");
  });

  it("as its image isn't there, or isn't ours, is told", async () => {
    expect((await failure({ image: "sluice-nobody-has-this:1" })).message).toContain("ErrImageNeverPull");
    const pulled = { image: "127.0.0.1:9/sluice:1", imagePullPolicy: "Always" };
    expect((await failure(pulled)).message).toContain("ImagePullBackOff");
  });

  it("as its image is of another architecture than the node is told", async () => {
    const error = await failure({ image: "sluice-lane-foreign:1" });
    expect(error.message).toContain("exec format error");
    expect(error.remedy).toContain("another architecture");
  });

  it("with its settings tells its last words", async () => {
    const error = await failure({}, wanted({ batch: { rowsMax: -1 } }));
    expect(error.message).toMatch(/can't run with its settings[\s\S]*rowsMax/);
  });
});

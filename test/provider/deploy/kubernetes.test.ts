// Contract: on a cluster apply makes one process run by server-side apply, and returns when its pod is ready; why a pod isn't,
// is told from its conditions, exit codes and events; another's objects are refused, another's fields set back or refused; an
// apply that fails leaves what it found; drift is told object by object; remove leaves nothing but the destination. What a
// cluster lacks or forbids is told at the preview. Invariants 5 and 6 (no secret in errors, configuration or ConfigMap). The
// API server here answers from memory (test/support/cluster-stand-in.ts); test/lanes/kubernetes-*.lane.ts have a real one.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Deployment, ProcessSpec } from "../../../provider/deploy/deployment";
import { kubernetesDeployment } from "../../../provider/deploy/kubernetes";
import { judgePod } from "../../../provider/deploy/kubernetes-health";
import { instanceName, workloadName } from "../../../provider/deploy/kubernetes-names";
import { kubernetesOptionsSchema } from "../../../provider/deploy/kubernetes-options";
import { isClusterCron } from "../../../provider/deploy/kubernetes-workload";
import { objectDifference } from "../../../provider/deploy/object-difference";
import { stagingPlaceOf } from "../../../provider/deploy/target";
import { compare } from "../../../provider/lifecycle/comparison";
import { gatewayEffects } from "../../../provider/lifecycle/gateway-inputs";
import { processDrift } from "../../../provider/lifecycle/supervised-process";
import { SluiceError } from "../../../runtime/errors";
import { ClusterStandIn } from "../../support/cluster-stand-in";

const directory = "/var/lib/sluice/orders/gateway";
const name = "sluice-orders-gateway";
const secret = "hunter2";
let cluster: ClusterStandIn;
let folder: string;

beforeEach(async () => {
  cluster = await ClusterStandIn.start();
  folder = mkdtempSync(join(tmpdir(), "sluice-kubernetes-"));
  writeFileSync(join(folder, "kubeconfig"), cluster.kubeconfig);
  cluster.put("namespaces", "shop");
  cluster.put("storageclasses", "standard", {
    metadata: { annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
  });
  vi.stubEnv("SHOP_PASSWORD", secret);
  playController(ready);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await cluster.stop();
  rmSync(folder, { recursive: true, force: true });
});

const container = (more: object) => ({ name: "gateway", restartCount: 0, ready: false, ...more });
const ready = {
  phase: "Running",
  containerStatuses: [container({ ready: true, imageID: "registry/sluice@sha256:1", state: { running: {} } })],
};

/** Each workload has one pod of its template, with this status. */
function playController(status: object, end: object = { conditions: [{ type: "Complete", status: "True" }] }): void {
  cluster.onApplied = (kind, { metadata, spec }) => {
    if (!["StatefulSet", "Deployment", "Job"].includes(kind)) return;
    const { template } = spec as { template: { metadata: object } };
    cluster.put("pods", `${metadata.name}-0`, { ...template, owner: metadata.uid, status });
    if (kind === "Job") (cluster.get("jobs", metadata.name) as Record<string, unknown>).status = end;
  };
}

const optionsOf = (more: object = {}) =>
  kubernetesOptionsSchema.parse({
    kind: "kubernetes",
    namespace: "shop",
    kubeconfig: join(folder, "kubeconfig"),
    ...more,
  });
const target = (more: object = {}): Deployment =>
  kubernetesDeployment(optionsOf({ destinationClaim: "lake", ...more }));

function gateway(more: object = {}): ProcessSpec {
  const source = { host: "db", database: "shop", user: "u", password: { env: "SHOP_PASSWORD" } };
  return {
    directory,
    config: {
      version: 1,
      role: "gateway",
      id: "orders",
      statusPath: join(directory, "status.json"),
      source,
      publication: "p",
      slot: "s",
      stagingPath: "/var/lib/sluice/orders/staging",
      ...more,
    },
    secretVariables: ["SHOP_PASSWORD"],
    secretFiles: {},
    startTimeoutMs: 1_500,
    stopTimeoutMs: 1_000,
  };
}

function applier(trigger: object): ProcessSpec {
  const own = "/var/lib/sluice/orders/applier";
  const config = {
    version: 1,
    role: "applier",
    id: "orders",
    statusPath: join(own, "status.json"),
    stagingPath: "/var/lib/sluice/orders/staging",
    destination: { kind: "local", path: "/lake" },
    trigger,
  };
  return { ...gateway(), directory: own, config: config as ProcessSpec["config"], secretVariables: [] };
}

const owner = { deploymentId: "orders", incarnation: "one" };
const makeStaging = () => target().staging.make("/var/lib/sluice/orders/staging", owner);

async function rejection(promise: Promise<unknown>): Promise<SluiceError> {
  const error = await promise.then(
    () => new Error("it went through"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(SluiceError);
  expect((error as SluiceError).describe()).not.toContain(secret);
  return error as SluiceError;
}

describe("a process", () => {
  it("is applied, is ready with its image's digest, and is the same when applied again", async () => {
    await makeStaging();
    expect(await target().apply(gateway())).toEqual({ imageDigest: "registry/sluice@sha256:1" });
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([
      `configmaps/${name}`,
      `networkpolicies/${name}`,
      "persistentvolumeclaims/sluice-orders-staging",
      `poddisruptionbudgets/${name}`,
      `pods/${name}-0`,
      `secrets/${name}`,
      `serviceaccounts/${name}`,
      `statefulsets/${name}`,
    ]);
    const before = JSON.stringify(cluster.get("statefulsets", name)?.spec);
    await target().apply(gateway());
    expect(JSON.stringify(cluster.get("statefulsets", name)?.spec)).toBe(before);
    const found = await target().inspect(directory);
    expect(found.kind).toBe("running");
    expect(processDrift(found, gateway())).toEqual([]);
    expect(JSON.stringify(cluster.get("configmaps", name))).not.toContain(secret);
  });

  it("goes with all that is its own; staging goes by its owner, and the destination stays", async () => {
    cluster.put("persistentvolumeclaims", "lake");
    cluster.put("configmaps", "unrelated");
    await makeStaging();
    await target({ service: true }).apply(gateway());
    await target().apply(applier({ kind: "continuous" }));
    await target().remove("/var/lib/sluice/orders/applier", 1_000);
    await target().remove(directory, 1_000);
    await target().remove(directory, 1_000);
    expect(await target().staging.remove("/var/lib/sluice/orders/staging", { ...owner, incarnation: "two" })).toBe(
      false,
    );
    expect(await target().staging.remove("/var/lib/sluice/orders/staging", owner)).toBe(true);
    expect(cluster.names()).toEqual([
      "configmaps/unrelated",
      "namespaces/shop",
      "persistentvolumeclaims/lake",
      "storageclasses/standard",
    ]);
    expect(await target().inspect(directory)).toEqual({ kind: "absent" });
  });

  it("runs by its trigger: another one ends the workload of before", async () => {
    await target().apply(applier({ kind: "continuous" }));
    await target().apply(applier({ kind: "schedule", cron: "0 * * * *" }));
    expect(cluster.get("deployments", "sluice-orders-applier")).toBeUndefined();
    const found = await target().inspect("/var/lib/sluice/orders/applier");
    expect(found).toMatchObject({ kind: "running" });
    expect(processDrift(found, applier({ kind: "schedule", cron: "0 * * * *" }))).toEqual([]);
    await target().apply(applier({ kind: "once" }));
    expect(cluster.get("cronjobs", "sluice-orders-applier")).toBeUndefined();
    expect(await target().inspect("/var/lib/sluice/orders/applier")).toMatchObject({ kind: "finished" });
  });

  it("without a service has none any more", async () => {
    await target({ service: true }).apply(gateway());
    expect(cluster.get("services", name)).toBeDefined();
    await target().apply(gateway());
    expect(cluster.get("services", name)).toBeUndefined();
  });

  it("that has made tables drops them by a Job with its claims, which leaves nothing", async () => {
    let args: unknown;
    const play = cluster.onApplied;
    cluster.onApplied = (kind, object) => {
      if (kind === "Job") args = JSON.stringify(object).match(/"args":(\[.*?\])/)?.[1];
      play(kind, object);
    };
    cluster.logs.set("sluice-orders-applier-0", "Delta table /lake/public/orders is dropped\n");
    const written = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
    await target().dropTables(applier({ kind: "continuous" }));
    expect(written.mock.calls.flat().join()).toContain("/lake/public/orders is dropped");
    expect(args).toBe('["drop-tables","--yes"]');
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([]);
    playController(
      { phase: "Failed", containerStatuses: [container({ state: { terminated: { exitCode: 1, message: "disk" } } })] },
      { conditions: [{ type: "Failed", status: "True" }] },
    );
    const error = await rejection(target().dropTables(applier({ kind: "continuous" })));
    expect(error.describe()).toMatch(/could not all be dropped[\s\S]*disk[\s\S]*onDelete: "keep"/);
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([]);
  });

  it("whose create was killed is swept from the machine that began it, with its staging", async () => {
    await makeStaging();
    await target().apply(gateway(), { tethered: true });
    await target().sweep("/var/lib/sluice", 1_000);
    const tether = "pulumi-sluice.com/tether";
    const annotations = cluster.get("statefulsets", name)?.metadata.annotations as Record<string, string>;
    expect(JSON.parse(annotations[tether]).pid).toBe(process.pid);
    annotations[tether] = JSON.stringify({ ...JSON.parse(annotations[tether]), startTime: "another" });
    await target().sweep("/elsewhere", 1_000);
    expect(cluster.get("statefulsets", name)).toBeDefined();
    await target().sweep("/var/lib/sluice", 1_000);
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([]);
    await target().apply(gateway(), { tethered: true });
    await target().keep(directory);
    expect(cluster.get("statefulsets", name)?.metadata.annotations).not.toHaveProperty(tether);
  });
});

describe("drift", () => {
  it("is told by object and field, and repaired, with whose it was", async () => {
    await target().apply(gateway());
    cluster.edit("statefulsets", name, "spec.replicas", 0, "kubectl-scale");
    cluster.remove("networkpolicies", name);
    const found = await target().inspect(directory);
    expect(found.kind).toBe("dead");
    expect("changed" in found && found.changed).toEqual([
      `the NetworkPolicy ${name} is gone`,
      `the StatefulSet ${name} was changed by hand: spec.replicas`,
    ]);
    expect((await rejection(target({ onConflict: "refuse" }).apply(gateway()))).message).toContain(
      "spec.replicas (kubectl-scale)",
    );
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    await target().apply(gateway());
    expect(log.mock.calls.flat().join()).toContain("what others have set is set back: spec.replicas (kubectl-scale)");
    expect(processDrift(await target().inspect(directory), gateway())).toEqual([]);
  });

  it("of the configuration is told by setting", async () => {
    await target().apply(gateway());
    const data = cluster.get("configmaps", name)?.data as Record<string, string>;
    data["config.json"] = data["config.json"].replace('"publication": "p"', '"publication": "other"');
    expect(processDrift(await target().inspect(directory), gateway())).toEqual([
      "the gateway's configuration was changed by hand, or by another version of Sluice: publication",
    ]);
  });

  it("of a secret that is a value is told; that of a variable is no input", async () => {
    const source = { host: "db", database: "shop", user: "u", password: { file: join(directory, "password.secret") } };
    const spec = { ...gateway({ source }), secretVariables: [], secretFiles: { "password.secret": secret } };
    await target().apply(spec);
    expect(processDrift(await target().inspect(directory), spec)).toEqual([]);
    (cluster.get("secrets", name)?.data as Record<string, string>)["password.secret"] = "b3RoZXI=";
    expect(processDrift(await target().inspect(directory), spec)[0]).toContain(
      "password.secret is another than it should be",
    );
    cluster.denied.add("get secrets");
    expect(processDrift(await target().inspect(directory), spec)).toEqual([]);
  });

  it("is no default of a server, and no other way to write a quantity", () => {
    const metadata = { name: "x", namespace: "n", labels: { a: "b" } };
    const wanted = {
      apiVersion: "v1",
      kind: "X",
      metadata,
      spec: { list: [{ a: 1 }], none: [], resources: { limits: { cpu: "1000m", memory: "1.5Gi" } } },
    };
    const live = {
      metadata: { labels: { a: "b", more: "c" } },
      apiVersion: "v1",
      kind: "X",
      spec: { extra: 1, list: [{ a: 1, b: 2 }], resources: { limits: { cpu: "1", memory: "1536Mi" } } },
    };
    expect(objectDifference(wanted, live)).toEqual([]);
    const other = { ...live, metadata: {}, spec: { list: [{}, {}], resources: { limits: { cpu: "2" } } } };
    expect(objectDifference(wanted, other)).toEqual([
      "spec.list",
      "spec.resources.limits.cpu",
      "spec.resources.limits.memory",
      "metadata.labels.a",
    ]);
  });
});

describe("a pod that isn't ready", () => {
  const spec = { containers: [{ resources: { limits: { memory: "256Mi" } } }] };
  const failing = (status: object) => judgePod({ metadata: { name: "p", uid: "1" }, spec, status });
  const exited = (exitCode: number, more: object = {}) => ({
    phase: "Running",
    containerStatuses: [
      container({
        restartCount: 3,
        state: { waiting: { reason: "CrashLoopBackOff" } },
        lastState: { terminated: { exitCode, ...more } },
      }),
    ],
  });

  it.each([
    [
      "ImagePullBackOff",
      {
        phase: "Pending",
        containerStatuses: [container({ state: { waiting: { reason: "ImagePullBackOff", message: "not found" } } })],
      },
      /ImagePullBackOff: not found/,
    ],
    ["OOMKilled", exited(137, { reason: "OOMKilled" }), /exit 137 \(it needed more than its limit of 256Mi\)/],
    ["killed", exited(137), /exit 137 \(killed: out of its limit of 256Mi, or by somebody\)/],
    [
      "a wrong configuration",
      exited(78, { message: "line 1\nmemoryBytesMax is wrong" }),
      /can't run with its settings[\s\S]*last log lines:[\s\S]*memoryBytesMax is wrong/,
    ],
    ["a crash", exited(1), /crashes at every start: exit 1/],
    ["an eviction", { phase: "Failed", reason: "Evicted", message: "low on disk" }, /Evicted: low on disk/],
  ])("for %s says so", (_, status, message) => {
    const verdict = failing(status);
    expect(verdict.kind).toBe("failed");
    expect(verdict.kind === "failed" && verdict.message).toMatch(message);
  });

  it("for a first crash, an image that is pulled or a node that is awaited may become so", () => {
    const first = {
      phase: "Running",
      containerStatuses: [
        container({ restartCount: 1, state: { running: {} }, lastState: { terminated: { exitCode: 1 } } }),
      ],
    };
    expect(failing(first)).toMatchObject({ kind: "waiting", isUp: true });
    const pulled = {
      phase: "Pending",
      containerStatuses: [container({ state: { waiting: { reason: "ErrImagePull" } } })],
    };
    expect(failing(pulled)).toMatchObject({ kind: "waiting", isUp: false });
    const unscheduled = {
      phase: "Pending",
      conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes" }],
    };
    expect(failing(unscheduled)).toMatchObject({
      kind: "waiting",
      reason: "no node takes its pod: Unschedulable: 0/3 nodes",
    });
  });

  it("of a new process leaves nothing; the message has the events of pod and claim", async () => {
    playController({
      phase: "Pending",
      conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/1 nodes" }],
    });
    cluster.put("events", "e", {
      type: "Warning",
      reason: "ProvisioningFailed",
      message: "no volume",
      involvedObject: { name: "sluice-orders-staging" },
    });
    const error = await rejection(target().apply(gateway()));
    expect(error.message).toMatch(
      /not healthy after 1500 ms: no node takes its pod: Unschedulable: 0\/1 nodes\n {2}ProvisioningFailed: no volume/,
    );
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([]);
  });

  it("of an update leaves the process of before", async () => {
    await target().apply(gateway());
    cluster.onApplied = (kind, { metadata, spec }) => {
      if (kind !== "StatefulSet") return;
      const { template } = spec as { template: { metadata: object; spec: { containers: { image: string }[] } } };
      const isBroken = template.spec.containers[0].image === "broken";
      const waiting = {
        phase: "Pending",
        containerStatuses: [container({ state: { waiting: { reason: "ImagePullBackOff", message: "no broken" } } })],
      };
      cluster.put("pods", `${metadata.name}-0`, {
        ...template,
        owner: metadata.uid,
        status: isBroken ? waiting : ready,
      });
    };
    const error = await rejection(target({ image: "broken" }).apply(gateway({ pollMs: 500 })));
    expect(error.message).toContain("can't start: ImagePullBackOff: no broken");
    expect(error.message).not.toContain("nor does it run");
    const found = await target().inspect(directory);
    expect(processDrift(found, gateway())).toEqual([]);
    expect(found.kind).toBe("running");
  });

  it("as a quota forbids it is told at once", async () => {
    cluster.onApplied = (kind, { metadata }) => {
      if (kind !== "StatefulSet") return;
      cluster.put("events", "quota", {
        type: "Warning",
        reason: "FailedCreate",
        count: 2,
        message: "exceeded quota: pods",
        involvedObject: { name: metadata.name },
      });
    };
    expect((await rejection(target().apply({ ...gateway(), startTimeoutMs: 30_000 }))).message).toContain(
      "can't have a pod: exceeded quota: pods",
    );
  });

  it("of a template that others have changed isn't taken for that of now: its revision tells", async () => {
    cluster.onApplied = (kind, object) => {
      if (kind !== "StatefulSet") return;
      object.status = { observedGeneration: 1, updateRevision: "now" };
      const { template } = object.spec as { template: { metadata: { labels: object } } };
      const labels = { ...template.metadata.labels, "controller-revision-hash": "before" };
      const metadata = { ...template.metadata, labels };
      cluster.put("pods", `${object.metadata.name}-0`, {
        ...template,
        metadata,
        owner: object.metadata.uid,
        status: ready,
      });
    };
    expect((await rejection(target().apply(gateway()))).message).toContain("its pod isn't made yet");
  });

  it("of a Job, as a quota forbids it, is told at once: each try has an event of its own", async () => {
    cluster.onApplied = (kind, { metadata }) => {
      if (kind !== "Job") return;
      for (const end of ["a", "b"]) {
        cluster.put("events", end, {
          type: "Warning",
          reason: "FailedCreate",
          count: 1,
          message: `pods "${metadata.name}-${end}" is forbidden: exceeded quota`,
          involvedObject: { name: metadata.name },
        });
      }
    };
    const run = { ...applier({ kind: "once" }), startTimeoutMs: 30_000 };
    expect((await rejection(target().apply(run))).message).toContain("can't have a pod: pods");
  });

  it("as its Job failed is told by its pod", async () => {
    const status = {
      phase: "Failed",
      containerStatuses: [container({ state: { terminated: { exitCode: 78, message: "wrong" } } })],
    };
    playController(status, {
      conditions: [{ type: "Failed", status: "True", reason: "PodFailurePolicy", message: "78" }],
    });
    expect((await rejection(target().apply(applier({ kind: "once" })))).message).toContain(
      "can't run with its settings",
    );
  });
});

describe("what isn't ours", () => {
  it("is refused, looked at and left alone", async () => {
    cluster.put("statefulsets", name, { spec: { replicas: 1 } });
    expect(await target().inspect(directory)).toEqual({ kind: "foreign", what: `the StatefulSet ${name} in shop` });
    expect((await rejection(target().apply(gateway()))).kind).toBe("name-taken");
    expect((await target().preflight(gateway()))?.remedy).toContain(`kubectl -n shop delete statefulsets ${name}`);
    await target().remove(directory, 1_000);
    expect(cluster.names().filter((key) => key.includes("orders"))).toEqual([`statefulsets/${name}`]);
    cluster.put("persistentvolumeclaims", "sluice-orders-staging");
    expect(await target().staging.inspect("/var/lib/sluice/orders/staging", "orders")).toEqual({ kind: "foreign" });
    expect((await rejection(makeStaging())).kind).toBe("name-taken");
    expect(await target().staging.remove("/var/lib/sluice/orders/staging", owner)).toBe(false);
  });

  it("by a deployment of another folder is refused, too", async () => {
    await target().apply(gateway());
    const other = { ...gateway(), directory: "/elsewhere/orders/gateway" };
    expect((await rejection(target().apply(other))).kind).toBe("name-taken");
  });
});

describe("a preview", () => {
  const problem = async (more: object = {}, spec: ProcessSpec | null = gateway()) => {
    const found = await target(more).preflight(spec);
    return found === null ? "" : found.describe();
  };

  it("tries every object, and changes nothing", async () => {
    const before = cluster.names();
    expect(await problem()).toBe("");
    expect(cluster.names()).toEqual(before);
    expect(cluster.requests).toContain(`PATCH statefulsets/${name} (dry)`);
    expect(cluster.requests.filter((request) => /^(PATCH|DELETE)/.test(request) && !request.endsWith("(dry)"))).toEqual(
      [],
    );
  });

  it("tells what the cluster lacks", async () => {
    expect(await problem({ namespace: "absent" }, null)).toContain("kubectl create namespace absent");
    expect(await problem({ context: "absent" })).toContain("Set deployment.context to one of: stand-in");
    expect(await problem({ kubeconfig: join(folder, "absent") })).toContain("can't be read");
    expect(await problem({ existingSecret: "absent" })).toContain("there is no Secret absent");
    cluster.put("secrets", "given", { data: { other: "" } });
    expect(await problem({ existingSecret: "given" })).toContain("the Secret given lacks SHOP_PASSWORD");
    expect(await problem({ staging: { storageClass: "fast" } })).toContain("one of: standard");
    expect(await problem({}, applier({ kind: "once" }))).toContain("there is no PersistentVolumeClaim lake");
    expect(await problem({ service: true, serviceMonitor: {} })).toContain("Install the Prometheus operator");
    cluster.remove("storageclasses", "standard");
    expect(await problem()).toContain("no default storage class");
    vi.stubEnv("KUBECONFIG", "");
    vi.stubEnv("HOME", folder);
    expect(await problem({ kubeconfig: undefined })).toContain("there is no kubeconfig");
  });

  it("tells which rights this user lacks, and isn't stopped by those that only explain", async () => {
    cluster.denied.add("create statefulsets").add("patch statefulsets").add("delete configmaps");
    expect(await problem()).toMatch(
      /may not, in the namespace shop: delete configmaps; create, patch statefulsets\.apps/,
    );
    cluster.denied.add("get persistentvolumeclaims");
    expect(await problem()).toMatch(/may not, in the namespace shop: get persistentvolumeclaims; /);
    cluster.denied.clear();
    for (const one of ["list events", "get namespaces", "list storageclasses"]) cluster.denied.add(one);
    expect(await problem()).toBe("");
    expect(await target().apply(gateway())).toMatchObject({ imageDigest: expect.anything() });
  });

  it("tells a refusal of the server, and tries again what is transient", async () => {
    cluster.failing.set("PATCH statefulsets", [422]);
    expect(await problem()).toContain("trying the StatefulSet sluice-orders-gateway: scripted 422");
    cluster.failing.set("PATCH statefulsets", [503, 429]);
    expect(await problem()).toBe("");
    cluster.failing.set("GET namespaces", [401]);
    expect(await problem()).toContain("Log in to stand-in");
    await cluster.stop();
    expect(await problem()).toContain("can't be reached");
    cluster = await ClusterStandIn.start();
  });

  it("needs no claim where staging is in a volume", async () => {
    const workspace = { host: "https://workspace.example", token: { env: "SHOP_TOKEN" } };
    const spec = gateway({ staging: { kind: "volume", workspace, localPath: join(directory, "staging") } });
    const staged = { ...spec, secretVariables: ["SHOP_PASSWORD", "SHOP_TOKEN"] };
    vi.stubEnv("SHOP_TOKEN", "t0ken-of-shop");
    cluster.denied.add("get persistentvolumeclaims");
    expect(await problem({}, staged)).toBe("");
    await target().apply(staged);
    expect(cluster.names().filter((one) => one.startsWith("persistentvolumeclaims/"))).toEqual([]);
    expect(Object.keys(cluster.get("secrets", name)?.data as object)).toEqual(["SHOP_PASSWORD", "SHOP_TOKEN"]);
    expect(JSON.stringify(cluster.get("configmaps", name))).not.toContain("t0ken-of-shop");
    expect(JSON.stringify(cluster.get("configmaps", name)?.data)).toContain("/etc/sluice/secrets/SHOP_TOKEN");
    expect(JSON.stringify(cluster.get("statefulsets", name))).not.toContain("podAffinity");
    expect(processDrift(await target().inspect(directory), staged)).toEqual([]);
  });

  it("tells what a pod can't reach", async () => {
    const source = { host: "127.0.0.1", database: "shop", user: "u" };
    expect(await problem({}, gateway({ source }))).toContain("is the pod itself");
    const { config, ...rest } = applier({ kind: "once" });
    const destination = { kind: "databricks", mode: "warehouse" };
    const warehouse = { ...rest, config: { ...config, destination } as unknown as ProcessSpec["config"] };
    expect(await problem({}, warehouse)).toContain("can't write to a warehouse");
  });

  it("tells a variable without its value before anything is applied", async () => {
    vi.stubEnv("SHOP_PASSWORD", undefined);
    expect((await rejection(target().apply(gateway()))).message).toContain("SHOP_PASSWORD is not set");
    expect(cluster.requests.some((request) => request.startsWith("PATCH"))).toBe(false);
  });
});

describe("names", () => {
  it("of Kubernetes are made of any deployment's id, without two for one", () => {
    expect(workloadName("/s/dbx_5_ab/gateway")).toBe("sluice-dbx-5-ab-gateway");
    const long = ["a", "b"].map((end) => instanceName(`${"x".repeat(62)}${end}`));
    expect(long[0]).not.toBe(long[1]);
    for (const id of [...long, instanceName("___"), instanceName("A.b_C-")]) {
      expect(`sluice-${id}-destination`).toMatch(/^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])$/);
    }
  });

  it("of schedules mean the same to the cluster, or a process waits for them", () => {
    expect(["*/15 * * * *", "0 6 * JAN-MAR MON,FRI", "0 0 1 * *"].filter((cron) => !isClusterCron(cron))).toEqual([]);
    expect(
      ["0 */5 * * * *", "0 0 L * *", "0 0 * * 7", "0 0 1 * 1", "0 0 * * 5#2", "@daily"].filter(isClusterCron),
    ).toEqual([]);
  });
});

it("another place of staging is another gateway; another setting of the same place isn't", () => {
  const place = { kind: "kubernetes", namespace: "shop" };
  const replaced = (olds: object | undefined, news: object | undefined) =>
    compare(gatewayEffects, { deployment: olds }, { deployment: news }).replaces.length > 0;
  expect(replaced(place, { ...place, image: "other", service: true })).toBe(false);
  expect(replaced(undefined, { kind: "docker" })).toBe(false);
  for (const other of [
    undefined,
    { kind: "docker" },
    { ...place, namespace: "other" },
    { ...place, context: "other" },
  ]) {
    expect(replaced(place, other)).toBe(true);
  }
  expect(stagingPlaceOf({ kind: "nonsense" })).toEqual({ kind: "nonsense" });
});

// Contract: with a real API server, controllers and scheduler (the nodes are played, so no process runs), gateway and applier
// become pods, are waited for, updated, set back, gone back with, stopped before their successor, and removed in order, also by
// a user who has only the rights that the documentation names; pods of one volume run on one node; why a pod isn't to be had is
// told at once. Invariants 5 (nothing of ours remains but the destination, and the namespace stays) and 6 (no secret in the
// ConfigMap).
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { ProcessSpec } from "../../provider/deploy/deployment";
import { processDrift } from "../../provider/lifecycle/supervised-process";
import { until } from "../support/conditions";
import {
  applier,
  ClusterUnderTest,
  directories,
  gateway,
  hourly,
  names,
  owner,
  rejection,
  secret,
  served,
  stagingPath,
  stopTimeoutMs,
} from "./cluster-under-test";
import { ended, healthy, PlayedNodes, waiting } from "./kubernetes-nodes";

vi.setConfig({ testTimeout: 90_000 });
const cluster = new ClusterUnderTest();
const { api } = cluster;
const continuous = { kind: "continuous" };
const once = { kind: "once" };
const destination = "persistentvolumeclaims/sluice-orders-destination";
const staging = "persistentvolumeclaims/sluice-orders-staging";
let nodes: PlayedNodes;
let count = 0;

beforeAll(async () => {
  nodes = await PlayedNodes.start(api, ["one", "two"]);
  await cluster.furnish(60);
});
afterAll(() => nodes.stop());
beforeEach(async () => {
  vi.stubEnv("SHOP_PASSWORD", secret);
  nodes.play = healthy;
  await cluster.turnTo(`pods-${++count}`);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  expect((await api.ask("GET", `/api/v1/namespaces/${cluster.namespace}`)).status?.phase).toBe("Active");
});

const target = (more: object = {}) => cluster.target(more);
const gatewayPath = () => cluster.group("apps/v1", "statefulsets", names.gateway);
const drift = async (more: object = {}, spec = gateway()) =>
  processDrift(await target(more).inspect(spec.directory), spec);

async function removeAll(as = target()): Promise<void> {
  await as.remove(directories.applier, stopTimeoutMs);
  await as.remove(directories.gateway, stopTimeoutMs);
  expect(await as.staging.remove(stagingPath, owner)).toBe(true);
}

describe("a gateway and its applier", () => {
  it("run on one node, as declared; applied again nothing changes; removed they leave the destination", async () => {
    await cluster.makeStaging();
    expect(await target(served).apply(gateway())).toEqual({ imageDigest: "registry/sluice@sha256:1" });
    expect(await target(served).preflight(applier(continuous))).toBeNull();
    await target(served).apply(applier(continuous));
    const made = (await cluster.left()).filter((one) => !/^(pods|replicasets|controllerrevisions)\//.test(one));
    expect(made).toEqual(
      [
        ...Object.values(names).flatMap((name) =>
          [
            "configmaps",
            "networkpolicies",
            "poddisruptionbudgets",
            "serviceaccounts",
            "servicemonitors",
            "services",
          ].map((kind) => `${kind}/${name}`),
        ),
        ...[`statefulsets/${names.gateway}`, `deployments/${names.applier}`, `secrets/${names.gateway}`],
        ...[destination, staging],
      ].sort(),
    );
    const pods = [await cluster.podOf("gateway"), await cluster.podOf("applier")];
    expect(pods[0]?.spec.nodeName).toMatch(/one|two/);
    expect(pods[1]?.spec.nodeName).toBe(pods[0]?.spec.nodeName);
    expect(await drift(served)).toEqual([]);
    expect(await drift(served, applier(continuous))).toEqual([]);

    const versions = () =>
      Promise.all(
        [
          gatewayPath(),
          cluster.group("apps/v1", "deployments", names.applier),
          cluster.core("configmaps", names.gateway),
        ].map(
          async (path) => (await api.ask("GET", path)).spec ?? (await api.ask("GET", path)).metadata.resourceVersion,
        ),
      );
    const before = await versions();
    await target(served).apply(gateway());
    await target(served).apply(applier(continuous));
    expect(await versions()).toEqual(before);
    expect(JSON.stringify(await api.ask("GET", cluster.core("configmaps", names.gateway)))).not.toContain(secret);

    await removeAll(target(served));
    expect(await cluster.left()).toEqual([destination]);
    expect(await target().inspect(directories.gateway)).toEqual({ kind: "absent" });
  });

  it("run on any node with a volume of many", async () => {
    const accessMode = "ReadWriteMany";
    const many = { staging: { size: "1Gi", accessMode }, destinationClaim: { size: "1Gi", accessMode } };
    await target(many).staging.make(stagingPath, owner);
    await target(many).apply(gateway());
    await target(many).apply(applier(continuous));
    for (const component of ["gateway", "applier"]) {
      expect((await cluster.podOf(component))?.spec).not.toHaveProperty("affinity.podAffinity");
    }
  });

  it("that stage in a Unity Catalog volume have no claim for it, and run on any node", async () => {
    const inVolume = (spec: ProcessSpec): ProcessSpec => {
      const workspace = { host: "https://workspace.example", token: { env: "SHOP_PASSWORD" } };
      const staging = { kind: "volume" as const, workspace, localPath: `${spec.directory}/staging` };
      const config = { ...spec.config, stagingPath: "/Volumes/main/s/v/orders", staging } as ProcessSpec["config"];
      return { ...spec, config, secretVariables: ["SHOP_PASSWORD"] };
    };
    for (const spec of [inVolume(gateway()), inVolume(applier(continuous))]) {
      expect(await target().preflight(spec)).toBeNull();
      await target().apply(spec);
      expect(await drift({}, spec)).toEqual([]);
    }
    const claims = (await cluster.left()).filter((one) => one.startsWith("persistentvolumeclaims/"));
    expect(claims).toEqual([destination]);
    await target().remove(directories.applier, stopTimeoutMs);
    await target().remove(directories.gateway, stopTimeoutMs);
    expect(await cluster.left()).toEqual([destination]);
  });

  it("go with the rights that the documentation names", async () => {
    await cluster.grantDocumented();
    const visitor = cluster.visitor(served);
    await until("the rights are known", async () => (await visitor.preflight(gateway())) === null);
    await visitor.staging.make(stagingPath, owner);
    await visitor.apply(gateway());
    for (const trigger of [continuous, hourly, once]) await visitor.apply(applier(trigger));
    expect((await visitor.inspect(directories.gateway)).kind).toBe("running");
    await visitor.remove(directories.applier, stopTimeoutMs);
    const written = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
    await visitor.dropTables(applier(continuous));
    written.mockRestore();
    await removeAll(visitor);
    expect(await cluster.left()).toEqual([destination]);
  });
});

describe("an applier", () => {
  it("runs by its trigger, of which none outlives the next", async () => {
    await cluster.makeStaging();
    const kinds = { continuous: "deployments", schedule: "cronjobs", once: "jobs" } as const;
    for (const trigger of [continuous, hourly, once, once, continuous]) {
      await target().apply(applier(trigger));
      const found = await target().inspect(directories.applier);
      expect(found.kind).toBe(trigger.kind === "once" ? "finished" : "running");
      expect(processDrift(found, applier(trigger))).toEqual([]);
      const workloads = (await cluster.left()).filter((one) => /^(deployments|cronjobs|jobs)\//.test(one));
      expect(workloads).toEqual([`${kinds[trigger.kind as keyof typeof kinds]}/${names.applier}`]);
    }
  });

  it("that runs once is another Job where it is specified otherwise; its tables are dropped by one", async () => {
    await cluster.makeStaging();
    await target().apply(applier(once));
    const job = () => api.ask("GET", cluster.group("batch/v1", "jobs", names.applier));
    const first = (await job()).metadata.uid;
    await target({ imagePullPolicy: "Always" }).apply(applier(once));
    expect((await job()).metadata.uid).not.toBe(first);
    await target().remove(directories.applier, stopTimeoutMs);
    const written = vi.spyOn(process.stdout, "write").mockImplementation(() => true);
    await target().dropTables(applier(continuous));
    written.mockRestore();
    expect(await cluster.left()).toEqual([destination, staging]);
  });

  it("whose Job can't run says why, with its last words, and leaves nothing", async () => {
    await cluster.makeStaging();
    nodes.play = ended(78, "memoryBytesMax is wrong");
    const error = await rejection(target().apply(applier(once)));
    expect(error.message).toContain("can't run with its settings");
    expect(error.message).toContain("memoryBytesMax is wrong");
    expect(await cluster.left()).toEqual([destination, staging]);
  });
});

describe("what others have changed", () => {
  it("is told as drift, refused, or set back, in lists too; what we don't set stays theirs", async () => {
    await cluster.makeStaging();
    await target(served).apply(gateway());
    await api.merge(gatewayPath(), { spec: { replicas: 0 } }, "kubectl-scale");
    await api.ask("DELETE", cluster.group("networking.k8s.io/v1", "networkpolicies", names.gateway));
    await api.merge(
      cluster.core("services", names.gateway),
      { metadata: { labels: { mine: "kept" } } },
      "kubectl-label",
    );
    await until("the pod is gone", async () => (await cluster.podOf("gateway")) === undefined);
    const found = await target(served).inspect(directories.gateway);
    expect(found.kind).toBe("dead");
    expect("changed" in found && found.changed).toEqual([
      `the NetworkPolicy ${names.gateway} is gone`,
      `the StatefulSet ${names.gateway} was changed by hand: spec.replicas`,
    ]);
    const refusal = await rejection(target({ ...served, onConflict: "refuse" }).apply(gateway()));
    expect(refusal.kind).toBe("conflict");
    expect(refusal.message).toContain("spec.replicas (kubectl-scale)");
    vi.spyOn(console, "log").mockImplementation(() => {});
    await target(served).apply(gateway());
    expect(await drift(served)).toEqual([]);
    const { labels } = (await api.ask("GET", cluster.core("services", names.gateway))).metadata;
    expect(labels).toMatchObject({ mine: "kept" });

    const patch = { spec: { template: { spec: { containers: [{ name: "gateway", image: "other" }] } } } };
    await api.ask(
      "PATCH",
      `${gatewayPath()}?fieldManager=kubectl-set`,
      patch,
      "application/strategic-merge-patch+json",
    );
    const drifted = await target(served).inspect(directories.gateway);
    expect("changed" in drifted && drifted.changed?.join()).toContain("spec.template.spec.containers");
    await target(served).apply(gateway());
    expect(await drift(served)).toEqual([]);
  });
});

describe("an update", () => {
  it("that can't run leaves the gateway as it was; options that make less take away what there was", async () => {
    await cluster.makeStaging();
    await target(served).apply(gateway());
    nodes.play = (pod) =>
      (pod.spec.containers as { image: string }[])[0].image === "broken"
        ? waiting("ImagePullBackOff", "no broken")(pod)
        : healthy(pod);
    const error = await rejection(target({ ...served, image: "broken" }).apply(gateway({ pollMs: 500 })));
    expect(error.message).toContain("can't start: ImagePullBackOff: no broken");
    expect(error.message).not.toContain("nor does it run");
    expect((await target(served).inspect(directories.gateway)).kind).toBe("running");
    expect(await drift(served)).toEqual([]);
    await target().apply(gateway({ pollMs: 500 }));
    expect((await cluster.left()).filter((one) => /^service/.test(one))).toEqual([`serviceaccounts/${names.gateway}`]);
    expect(await drift({}, gateway({ pollMs: 500 }))).toEqual([]);
  });

  it("of its claim lets it grow", async () => {
    await cluster.makeStaging();
    await target().apply(gateway());
    const grown = { staging: { size: "2Gi" } };
    expect(await target(grown).preflight(gateway())).toBeNull();
    await target(grown).apply(gateway());
    const claim = await api.ask("GET", cluster.core("persistentvolumeclaims", "sluice-orders-staging"));
    expect(claim.spec.resources).toEqual({ requests: { storage: "2Gi" } });
    expect((await target({ staging: { size: "1Gi" } }).preflight(gateway()))?.describe()).toContain(
      "spec.resources.requests.storage: Forbidden",
    );
  });
});

describe("a first create that fails leaves nothing but its staging", () => {
  it("as its image can't be pulled", async () => {
    await cluster.makeStaging();
    nodes.play = waiting("ImagePullBackOff", "no image");
    expect((await rejection(target(served).apply(gateway()))).message).toContain("ImagePullBackOff: no image");
    expect(await cluster.left()).toEqual([staging]);
  });

  it("as a quota forbids its pod, told long before its deadline", async () => {
    await cluster.makeStaging();
    await cluster.limit({ pods: "0" });
    await until("the quota is held", async () => {
      const { status } = await api.ask("GET", cluster.core("resourcequotas", "q"));
      return status?.hard !== undefined;
    });
    for (const spec of [gateway(), applier(continuous), applier(once)]) {
      const error = await rejection(target().apply({ ...spec, startTimeoutMs: 60_000 }));
      expect(error.message).toMatch(/can't have a pod: [\s\S]*exceeded quota: q/);
    }
    expect(await cluster.left()).toEqual([destination, staging]);
  });

  it("as no node has room: the reason is the scheduler's", async () => {
    await cluster.makeStaging();
    const large = target({ resources: { requests: { cpu: "64" } } });
    const error = await rejection(large.apply({ ...gateway(), startTimeoutMs: 4_000 }));
    expect(error.message).toMatch(/no node takes its pod: Unschedulable: 0\/2 nodes are available: .*Insufficient cpu/);
    expect(await cluster.left()).toEqual([staging]);
  });

  it("as its provider was killed: the next create sweeps it, with its staging; one that is kept stays", async () => {
    await cluster.makeStaging();
    await target().apply(gateway(), { tethered: true });
    const tether = "pulumi-sluice.com/tether";
    const { metadata } = await api.ask("GET", gatewayPath());
    const gone = { ...JSON.parse(metadata.annotations?.[tether] as string), startTime: "another" };
    await api.merge(gatewayPath(), { metadata: { annotations: { [tether]: JSON.stringify(gone) } } }, "lane");
    await target().sweep("/var/lib/sluice", stopTimeoutMs);
    expect(await cluster.left()).toEqual([]);
    await cluster.makeStaging();
    await target().apply(gateway(), { tethered: true });
    await target().keep(directories.gateway);
    expect((await api.ask("GET", gatewayPath())).metadata.annotations).not.toHaveProperty([tether]);
    await target().sweep("/var/lib/sluice", stopTimeoutMs);
    expect(await drift()).toEqual([]);
  });
});

// Contract: a real API server takes every manifest strictly, by its own OpenAPI schemas; what it forbids is told at the
// preview: rights, a quota, names of others, what isn't there, what can't be changed; an applier by schedule, which needs no
// controller, is applied by our field manager, is the same when applied again, its drift is told, set back or refused, and a
// failed update goes back. What runs in pods, and what removal leaves: kubernetes-pods.lane.ts.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Deployment, ProcessSpec } from "../../provider/deploy/deployment";
import { openCluster } from "../../provider/deploy/kubernetes-cluster";
import type { ClusterObject } from "../../provider/deploy/kubernetes-object";
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
} from "./cluster-under-test";

vi.setConfig({ testTimeout: 60_000 });
const cluster = new ClusterUnderTest();
const { api } = cluster;
let count = 0;

beforeAll(() => cluster.furnish(0));
beforeEach(async () => {
  vi.stubEnv("SHOP_PASSWORD", secret);
  await cluster.turnTo(`server-${++count}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

const problem = async (target: Deployment, spec: ProcessSpec = gateway()) =>
  (await target.preflight(spec))?.describe() ?? "";

describe("the golden manifests", () => {
  const fixtures = resolve(__dirname, "../fixtures/manifests");
  const files = readdirSync(fixtures).filter((file) => file.endsWith(".golden.yaml"));
  it.each(files)("%s are taken strictly", async (file) => {
    const text = readFileSync(join(fixtures, file), "utf8");
    const objects = parseAllDocuments(text).map((document) => document.toJS() as ClusterObject);
    expect(objects.length).toBeGreaterThan(3);
    for (const object of objects) {
      const { namespace, name } = object.metadata;
      await cluster.makeNamespace(namespace);
      const into = await openCluster(cluster.options({ namespace }));
      await into.apply(object, { isDryRun: true });
      expect((await into.apply(object)).metadata.name).toBe(name);
    }
  });

  it("with a field that the server doesn't know are refused", async () => {
    const into = await openCluster(cluster.options());
    const metadata = { name: "x", namespace: cluster.namespace, labels: {} };
    const wrong = { apiVersion: "v1", kind: "ServiceAccount", metadata, automountToken: false };
    expect((await rejection(into.apply(wrong))).describe()).toMatch(/automountToken[\s\S]*older than this field/);
  });
});

describe("a preview", () => {
  it("tries all objects, and leaves none", async () => {
    expect(await problem(cluster.target(served))).toBe("");
    for (const trigger of [{ kind: "continuous" }, hourly, { kind: "once" }]) {
      expect(await problem(cluster.target(served), applier(trigger))).toBe("");
    }
    expect(await cluster.left()).toEqual([]);
  });

  it("names the rights that are lacking; those that the documentation names are enough", async () => {
    expect(await problem(cluster.visitor(served))).toMatch(
      /this user may not, in the namespace server-\d+: get, list, create, patch, delete persistentvolumeclaims; [\s\S]*statefulsets\.apps; list pods/,
    );
    await cluster.grantDocumented();
    await until("the rights are known", async () => (await problem(cluster.visitor(served))) === "");
    for (const trigger of [{ kind: "continuous" }, hourly, { kind: "once" }]) {
      expect(await problem(cluster.visitor(served), applier(trigger))).toBe("");
    }
    await cluster.visitor(served).staging.make(stagingPath, owner);
    await cluster.visitor(served).apply(applier(hourly));
    expect((await cluster.visitor(served).inspect(directories.applier)).kind).toBe("running");
  });

  it("tells a quota of claims", async () => {
    await cluster.limit({ persistentvolumeclaims: "0" });
    // A server without controllers: nobody else counts what is used.
    const status = { hard: { persistentvolumeclaims: "0" }, used: { persistentvolumeclaims: "0" } };
    await api.merge(`${cluster.core("resourcequotas", "q")}/status`, { status }, "lane");
    await until("the quota is held", async () => /exceeded quota: q/.test(await problem(cluster.target())));
    expect(await problem(cluster.target())).toContain("trying the PersistentVolumeClaim sluice-orders-staging");
    expect(await cluster.left()).toEqual([]);
  });

  it("tells what isn't there, and what is somebody else's", async () => {
    expect(await problem(cluster.target({ namespace: "absent" }))).toContain("has no namespace absent");
    expect(await problem(cluster.target({ existingSecret: "absent" }))).toContain("there is no Secret absent");
    expect(await problem(cluster.target({ staging: { size: "1Gi", storageClass: "absent" } }))).toContain(
      "no storage class absent",
    );
    expect(await problem(cluster.target({ destinationClaim: "absent" }), applier(hourly))).toContain(
      "no PersistentVolumeClaim absent",
    );
    await api.put(cluster.core("configmaps"), {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: names.gateway },
    });
    expect(await problem(cluster.target())).toContain(`the ConfigMap ${names.gateway} exists in ${cluster.namespace}`);
    expect((await rejection(cluster.target().apply(gateway()))).kind).toBe("name-taken");
    expect(await cluster.left()).toEqual([`configmaps/${names.gateway}`]);
  });

  it("tells what of a claim can't be changed", async () => {
    await cluster.makeStaging();
    const wrong = [
      { size: "2Gi", storageClass: "other" },
      { size: "2Gi", accessMode: "ReadWriteMany" },
    ];
    for (const staging of wrong) {
      expect(await problem(cluster.target({ staging }))).toContain("PersistentVolumeClaim sluice-orders-staging");
    }
  });
});

describe("an applier by schedule", () => {
  const target = (more: object = {}) => cluster.target(more);
  const path = () => cluster.group("batch/v1", "cronjobs", names.applier);
  const drift = async (spec = applier(hourly)) => processDrift(await target().inspect(directories.applier), spec);

  it("is applied, and applied again changes nothing", async () => {
    await target().apply(applier(hourly));
    expect(await cluster.left()).toEqual([
      `configmaps/${names.applier}`,
      `cronjobs/${names.applier}`,
      `networkpolicies/${names.applier}`,
      "persistentvolumeclaims/sluice-orders-destination",
      `serviceaccounts/${names.applier}`,
    ]);
    expect(await drift()).toEqual([]);
    const versions = () =>
      Promise.all(
        [path(), cluster.core("configmaps", names.applier)].map(
          async (one) => (await api.ask("GET", one)).metadata.resourceVersion,
        ),
      );
    const before = await versions();
    await target().apply(applier(hourly));
    expect(await versions()).toEqual(before);
    const changed = applier({ ...hourly, cron: "30 * * * *" });
    await target().apply(changed);
    expect((await api.ask("GET", path())).spec.schedule).toBe("30 * * * *");
    expect(await drift(changed)).toEqual([]);
  });

  it("which others have changed: told field by field, refused or set back; what we don't set stays theirs", async () => {
    await target().apply(applier(hourly));
    await api.merge(path(), { spec: { schedule: "1 1 * * *", startingDeadlineSeconds: 60 } }, "kubectl-edit");
    await api.ask("DELETE", cluster.group("networking.k8s.io/v1", "networkpolicies", names.applier));
    const found = await target().inspect(directories.applier);
    expect("changed" in found && found.changed).toEqual([
      `the NetworkPolicy ${names.applier} is gone`,
      `the CronJob ${names.applier} was changed by hand: spec.schedule`,
    ]);
    const refusal = await rejection(target({ onConflict: "refuse" }).apply(applier(hourly)));
    expect(refusal.kind).toBe("conflict");
    expect(refusal.message).toContain("spec.schedule (kubectl-edit)");
    expect((await api.ask("GET", path())).spec.schedule).toBe("1 1 * * *");
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    await target().apply(applier(hourly));
    expect(log.mock.calls.flat().join()).toContain("spec.schedule (kubectl-edit)");
    expect(await drift()).toEqual([]);
    expect((await api.ask("GET", path())).spec).toMatchObject({ schedule: "0 * * * *", startingDeadlineSeconds: 60 });
  });

  it("whose update the server refuses is as it was", async () => {
    await target().apply(applier(hourly));
    const before = (await api.ask("GET", path())).spec;
    const wrong = target({ resources: { requests: { memory: "2Gi" }, limits: { memory: "1Gi" } } });
    const changed = applier({ ...hourly, cron: "5 5 * * *" });
    const refused = /CronJob [\s\S]*must be less than or equal to memory limit/;
    expect(await problem(wrong, changed)).toMatch(refused);
    expect((await rejection(wrong.apply(changed))).message).toMatch(refused);
    expect((await api.ask("GET", path())).spec).toEqual(before);
    expect(await drift()).toEqual([]);
  });
});

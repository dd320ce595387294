import { join } from "node:path";
import { expect } from "vitest";
import type { ProcessSpec } from "../../provider/deploy/deployment";
import { kubernetesDeployment } from "../../provider/deploy/kubernetes";
import { kubernetesOptionsSchema } from "../../provider/deploy/kubernetes-options";
import { SluiceError } from "../../runtime/errors";
import { until } from "../support/conditions";
import { ApiServer, type Thing } from "./kubernetes-api";
import { serviceMonitors } from "./service-monitors";

export const secret = "hunter2";
export const owner = { deploymentId: "orders", incarnation: "one" };
export const stagingPath = "/var/lib/sluice/orders/staging";
export const directories = { gateway: "/var/lib/sluice/orders/gateway", applier: "/var/lib/sluice/orders/applier" };
export const names = { gateway: "sluice-orders-gateway", applier: "sluice-orders-applier" };
export const stopTimeoutMs = 5_000;
/** All options that make objects. */
export const served = {
  service: true,
  serviceMonitor: {},
  resources: { requests: { cpu: "1000m" }, limits: { memory: "1.5Gi" } },
};
export const hourly = { kind: "schedule", cron: "0 * * * *" };
export const rbac = "rbac.authorization.k8s.io";

export function gateway(more: object = {}): ProcessSpec {
  const directory = directories.gateway;
  return {
    directory,
    config: {
      version: 1,
      role: "gateway",
      id: "orders",
      statusPath: join(directory, "status.json"),
      source: { host: "db", database: "shop", user: "u", password: { env: "SHOP_PASSWORD" } },
      publication: "p",
      slot: "s",
      stagingPath,
      ...more,
    },
    secretVariables: ["SHOP_PASSWORD"],
    secretFiles: {},
    startTimeoutMs: 30_000,
    stopTimeoutMs,
  };
}

export function applier(trigger: object): ProcessSpec {
  const directory = directories.applier;
  const config = {
    version: 1,
    role: "applier",
    id: "orders",
    statusPath: join(directory, "status.json"),
    stagingPath,
    destination: { kind: "local", path: "/lake" },
    trigger,
  };
  return { ...gateway(), directory, config: config as ProcessSpec["config"], secretVariables: [] };
}

export async function rejection(promise: Promise<unknown>): Promise<SluiceError> {
  const error = await promise.then(
    () => new Error("it went through"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SluiceError)) throw error;
  expect(error.describe()).not.toContain(secret);
  return error;
}

/** The lane's cluster (SLUICE_LANE_KUBERNETES: the folder of its kubeconfigs), in one namespace after another. */
export class ClusterUnderTest {
  private readonly folder = process.env.SLUICE_LANE_KUBERNETES as string;
  readonly api = new ApiServer(join(this.folder, "admin.kubeconfig"));
  namespace = "";

  /** A definition, a default storage class, and this many volumes, which are nowhere. */
  async furnish(volumes: number): Promise<void> {
    await this.api.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", serviceMonitors);
    await this.api.put("/apis/storage.k8s.io/v1/storageclasses", {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: "lane", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner: "kubernetes.io/no-provisioner",
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
    });
    for (let volume = 0; volume < volumes; volume++) {
      await this.api.put("/api/v1/persistentvolumes", {
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name: `${process.pid}-${volume}` },
        spec: {
          storageClassName: "lane",
          capacity: { storage: "10Gi" },
          accessModes: ["ReadWriteOnce", "ReadWriteMany"],
          persistentVolumeReclaimPolicy: "Retain",
          hostPath: { path: `/nowhere/${volume}` },
        },
      });
    }
    await until("ServiceMonitors are served", () =>
      this.api.find("/apis/monitoring.coreos.com/v1/servicemonitors").catch(() => null),
    );
  }

  /** The strictest of the pod security standards is enforced in it by the server itself. */
  async makeNamespace(name: string): Promise<void> {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await this.api.put("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  }

  /** What follows is in a namespace of its own. */
  async turnTo(name: string): Promise<void> {
    await this.makeNamespace(name);
    this.namespace = name;
  }

  options(more: object = {}) {
    return kubernetesOptionsSchema.parse({
      kind: "kubernetes",
      namespace: this.namespace,
      kubeconfig: join(this.folder, "admin.kubeconfig"),
      destinationClaim: { size: "1Gi" },
      staging: { size: "1Gi" },
      ...more,
    });
  }

  target(more: object = {}) {
    return kubernetesDeployment(this.options(more));
  }

  /** By a user who has no rights but those that a case grants. */
  visitor(more: object = {}) {
    return this.target({ kubeconfig: join(this.folder, "visitor.kubeconfig"), ...more });
  }

  makeStaging = () => this.target().staging.make(stagingPath, owner);

  core(resource: string, which = ""): string {
    return `/api/v1/namespaces/${this.namespace}/${resource}${which && `/${which}`}`;
  }

  group(of: string, resource: string, which = ""): string {
    return `/apis/${of}/namespaces/${this.namespace}/${resource}${which && `/${which}`}`;
  }

  async podOf(component: string): Promise<Thing | undefined> {
    const labels = `app.kubernetes.io/component%3D${component}`;
    return (await this.api.ask("GET", `${this.core("pods")}?labelSelector=${labels}`)).items[0];
  }

  /** All that is in the namespace, but for what a cluster puts there by itself. */
  async left(): Promise<string[]> {
    const paths = [
      ...["serviceaccounts", "configmaps", "secrets", "persistentvolumeclaims", "services", "pods"].map((one) =>
        this.core(one),
      ),
      ...["statefulsets", "deployments", "replicasets", "controllerrevisions"].map((one) => this.group("apps/v1", one)),
      ...["jobs", "cronjobs"].map((one) => this.group("batch/v1", one)),
      this.group("networking.k8s.io/v1", "networkpolicies"),
      this.group("policy/v1", "poddisruptionbudgets"),
      this.group("monitoring.coreos.com/v1", "servicemonitors"),
    ];
    const found = await Promise.all(
      paths.map(async (path) => {
        const { items } = await this.api.ask("GET", path);
        return items.map(({ metadata }) => `${path.split("/").at(-1)}/${metadata.name}`);
      }),
    );
    const own = new Set(["serviceaccounts/default", "configmaps/kube-root-ca.crt"]);
    return found
      .flat()
      .filter((one) => !own.has(one))
      .sort();
  }

  async limit(hard: Record<string, string>): Promise<void> {
    const quota = { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "q" }, spec: { hard } };
    await this.api.put(this.core("resourcequotas"), quota);
  }

  /** The rights that docs/kubernetes.md names, and no more. */
  async grantDocumented(): Promise<void> {
    const verbs = ["get", "list", "create", "patch", "delete"];
    const rule = (of: string, resources: string[], allowed = verbs) => ({
      apiGroups: [of],
      resources,
      verbs: allowed,
    });
    await this.api.put(this.group(`${rbac}/v1`, "roles"), {
      apiVersion: `${rbac}/v1`,
      kind: "Role",
      metadata: { name: "sluice" },
      rules: [
        rule("", ["serviceaccounts", "configmaps", "secrets", "persistentvolumeclaims", "services"]),
        rule("apps", ["statefulsets", "deployments"]),
        rule("batch", ["cronjobs", "jobs"]),
        rule("networking.k8s.io", ["networkpolicies"]),
        rule("policy", ["poddisruptionbudgets"]),
        rule("monitoring.coreos.com", ["servicemonitors"]),
        rule("", ["pods"], ["list"]),
      ],
    });
    await this.api.put(this.group(`${rbac}/v1`, "rolebindings"), {
      apiVersion: `${rbac}/v1`,
      kind: "RoleBinding",
      metadata: { name: "sluice" },
      roleRef: { apiGroup: rbac, kind: "Role", name: "sluice" },
      subjects: [{ kind: "User", name: "visitor", apiGroup: rbac }],
    });
  }
}

import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { stagingClaim } from "./kubernetes-claims";
import { type Cluster, type LiveObject, resourceOf } from "./kubernetes-cluster";
import { findWorkloads } from "./kubernetes-inspect";
import { annotations, deploymentIdOf, stagingClaimName } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import { processObjects, secretObject } from "./kubernetes-objects";
import type { KubernetesOptions } from "./kubernetes-options";
import { idOf, requireOurs } from "./kubernetes-record";

/** What would fail, as far as it can be known without changing anything; objects are tried by the server (dry run). */
export async function preflightCluster(
  cluster: Cluster,
  spec: ProcessSpec | null,
  options: KubernetesOptions,
): Promise<void> {
  await requireNamespace(cluster);
  if (spec === null) return;
  const rendered = processObjects(spec, options);
  const { secret, configuration, workload } = rendered;
  const keys = Object.keys(configuration.secrets);
  const others = [
    ...(secret?.isOurs === true ? [secretObject(spec, options, Object.fromEntries(keys.map((key) => [key, ""])))] : []),
    ...rendered.objects,
  ];
  // First of all, as looking needs rights itself; a gateway's claim is asked for by its kind.
  const claimKind = hasStagingClaim(spec) ? [{ apiVersion: "v1", kind: "PersistentVolumeClaim" }] : [];
  await requireRights(cluster, [...claimKind, ...others]);
  const claim = await stagingOf(cluster, spec, options);
  const all = [...(claim === null ? [] : [claim]), ...others];
  if (secret !== null && !secret.isOurs) await requireSecret(cluster, secret.name, keys);
  if (spec.config.role === "applier" && typeof options.destinationClaim === "string") {
    await requireClaim(cluster, options.destinationClaim);
  }
  for (const object of all.filter(({ kind }) => kind === "PersistentVolumeClaim"))
    await requireStorage(cluster, object);
  for (const object of all) {
    if (object.kind !== "PersistentVolumeClaim") {
      requireOurs(await cluster.find(idOf(object)), idOf(object), spec.directory, cluster);
    }
  }
  // A Job of another specification is made anew, which a dry run can't try.
  const isMade = workload.kind === "Job" && (await findWorkloads(cluster, spec.directory)).length > 0;
  for (const object of all) {
    if (object.kind !== "Job" || !isMade)
      await cluster.apply(object, { isDryRun: true, force: true }).catch(explained(object));
  }
}

const hasStagingClaim = ({ config }: Pick<ProcessSpec, "config">) =>
  config.role === "gateway" && config.staging?.kind !== "volume";

/** Of a gateway: the claim as it shall be, with the owner that it has. */
export async function stagingOf(cluster: Cluster, { config, directory }: ProcessSpec, options: KubernetesOptions) {
  if (!hasStagingClaim({ config })) return null;
  const id = deploymentIdOf(directory);
  const found = await cluster.find({ apiVersion: "v1", kind: "PersistentVolumeClaim", name: stagingClaimName(id) });
  return stagingClaim(config.stagingPath, id, found?.metadata.annotations?.[annotations.owner] ?? null, options);
}

export const explained =
  (object: ClusterObject) =>
  (error: unknown): never => {
    const isKindMissing =
      object.kind === "ServiceMonitor" && error instanceof SluiceError && error.kind === "missing-object";
    if (!isKindMissing) throw error;
    throw new SluiceError("missing-object", "the cluster knows no ServiceMonitor", {
      remedy: "Install the Prometheus operator, or leave deployment.serviceMonitor out.",
      cause: error,
    });
  };

/** Null where this user may not look. */
async function ifAllowed<T>(looked: Promise<T>): Promise<T | "denied"> {
  try {
    return await looked;
  } catch (error) {
    if (error instanceof SluiceError && error.kind === "permission") return "denied";
    throw error;
  }
}

async function requireNamespace(cluster: Cluster): Promise<void> {
  const { namespace } = cluster;
  const found = await ifAllowed(cluster.find({ apiVersion: "v1", kind: "Namespace", name: namespace }));
  if (found === "denied") return;
  if (found === null) {
    throw new SluiceError("missing-object", `the cluster ${cluster.address} has no namespace ${namespace}`, {
      remedy: `Run kubectl create namespace ${namespace}, or correct deployment.namespace.`,
    });
  }
  if (found.metadata.deletionTimestamp === undefined) return;
  throw new SluiceError("conflict", `the namespace ${namespace} is being removed`, {
    remedy: "Choose another deployment.namespace, or make it anew once it is gone.",
  });
}

/** Asks the server whether this user may do what an update does. */
async function requireRights(
  cluster: Cluster,
  objects: readonly Pick<ClusterObject, "apiVersion" | "kind">[],
): Promise<void> {
  const wanted = new Map<string, { group: string; resource: string; verb: string }>();
  const want = (group: string, resource: string, ...verbs: string[]) => {
    for (const verb of verbs) wanted.set(`${verb} ${group}/${resource}`, { group, resource, verb });
  };
  for (const { apiVersion, kind } of objects) {
    const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
    want(group, resourceOf(kind), "get", "list", "create", "patch", "delete");
  }
  want("", "pods", "list");
  const denied = await Promise.all(
    [...wanted.values()].map(async (one) => {
      const resourceAttributes = { namespace: cluster.namespace, ...one };
      const answer = await cluster.create("authorization.k8s.io/v1", "SelfSubjectAccessReview", {
        spec: { resourceAttributes },
      });
      return (answer.status as { allowed?: boolean }).allowed === true ? [] : [one];
    }),
  );
  const missing = denied.flat();
  if (missing.length === 0) return;
  const byResource = new Map<string, string[]>();
  for (const { group, resource, verb } of missing) {
    const name = group === "" ? resource : `${resource}.${group}`;
    byResource.set(name, [...(byResource.get(name) ?? []), verb]);
  }
  const told = [...byResource].map(([name, verbs]) => `${verbs.join(", ")} ${name}`).join("; ");
  throw new SluiceError("permission", `this user may not, in the namespace ${cluster.namespace}: ${told}`, {
    remedy: "Grant it by a Role and a RoleBinding of the namespace, or choose another deployment.context.",
  });
}

async function requireSecret(cluster: Cluster, name: string, keys: readonly string[]): Promise<void> {
  const found = await ifAllowed(cluster.find({ apiVersion: "v1", kind: "Secret", name }));
  if (found === "denied") return;
  const data = (found?.data ?? {}) as Record<string, string>;
  const missing = keys.filter((key) => data[key] === undefined);
  if (found !== null && missing.length === 0) return;
  const what = found === null ? `there is no Secret ${name}` : `the Secret ${name} lacks ${missing.join(", ")}`;
  throw new SluiceError("missing-object", `${what} in the namespace ${cluster.namespace}`, {
    remedy: `It needs the keys ${keys.join(", ")}; or leave deployment.existingSecret out.`,
  });
}

async function requireClaim(cluster: Cluster, name: string): Promise<void> {
  const found = await cluster.find({ apiVersion: "v1", kind: "PersistentVolumeClaim", name });
  if (found !== null) return;
  throw new SluiceError(
    "missing-object",
    `there is no PersistentVolumeClaim ${name} in the namespace ${cluster.namespace}`,
    {
      remedy: 'Make it, or set deployment.destinationClaim to { size: "100Gi" } to have one made.',
    },
  );
}

/** Of a claim that isn't there yet: a storage class that is. */
async function requireStorage(cluster: Cluster, claim: ClusterObject): Promise<void> {
  const found = await cluster.find(idOf(claim));
  const path = claim.metadata.annotations?.[annotations.directory] as string;
  requireOurs(found, idOf(claim), path, cluster);
  if (found !== null) return;
  const { storageClassName } = claim.spec as { storageClassName?: string };
  const classes = await ifAllowed(cluster.list("storage.k8s.io/v1", "StorageClass"));
  if (classes === "denied") return;
  const names = classes.map(({ metadata }) => metadata.name).join(", ") || "none";
  if (
    storageClassName === undefined
      ? classes.some(isDefault)
      : classes.some(({ metadata }) => metadata.name === storageClassName)
  )
    return;
  const what = storageClassName === undefined ? "no default storage class" : `no storage class ${storageClassName}`;
  throw new SluiceError("missing-object", `the cluster has ${what}, which the claim ${claim.metadata.name} needs`, {
    remedy: `Set storageClass of deployment.staging, or of deployment.destinationClaim, to one of: ${names}.`,
  });
}

const isDefault = ({ metadata }: LiveObject) =>
  metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true";

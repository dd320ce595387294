import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { Cluster, LiveObject, ObjectId } from "./kubernetes-cluster";
import { findWorkloads, kubectl } from "./kubernetes-inspect";
import { annotations, deploymentIdOf, workloadName } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import { isOurs } from "./kubernetes-record";
import { selectorOf } from "./kubernetes-wait";
import { apiVersions, type WorkloadKind } from "./kubernetes-workload";

/** Names, kinds and versions of all that a process may have, in the order in which they go. */
const ownKinds = [
  ["monitoring.coreos.com/v1", "ServiceMonitor"],
  ["v1", "Service"],
  ["policy/v1", "PodDisruptionBudget"],
  ["networking.k8s.io/v1", "NetworkPolicy"],
  ["v1", "ConfigMap"],
  ["v1", "Secret"],
  ["v1", "ServiceAccount"],
] as const;

/** Removes what options of before have made and those of now don't. */
export async function prune(cluster: Cluster, directory: string, wanted: readonly ClusterObject[]): Promise<void> {
  const kept = new Set(wanted.map(({ kind }) => kind));
  for (const [apiVersion, kind] of ownKinds) {
    if (kept.has(kind)) continue;
    await removeObject(cluster, directory, { apiVersion, kind, name: workloadName(directory) });
  }
}

/** How long an object that owns no pods may take to go: others may hold it by a finalizer. */
const objectTimeoutMs = 30_000;

/** Until it is gone: one on its way out takes what is applied to it along. */
async function removeObject(cluster: Cluster, directory: string, id: ObjectId): Promise<void> {
  const found = await findAllowed(cluster, id);
  if (found === null || !isOurs(found, directory)) return;
  await cluster.delete(id);
  const deadline = Date.now() + objectTimeoutMs;
  for (;;) {
    const left = await findAllowed(cluster, id);
    if (left === null || left.metadata.uid !== found.metadata.uid) return;
    if (Date.now() > deadline) {
      throw new SluiceError("process", `the ${id.kind} ${id.name} isn't gone after ${objectTimeoutMs} ms`, {
        remedy: `${kubectl(cluster, "describe", id.kind, id.name)} tells which finalizer holds it; then run the same again.`,
      });
    }
    await pause(300);
  }
}

/** What this user may not even look at was made by nobody of ours. */
async function findAllowed(cluster: Cluster, id: ObjectId): Promise<LiveObject | null> {
  try {
    return await cluster.find(id);
  } catch (error) {
    if (error instanceof SluiceError && error.kind === "permission") return null;
    throw error;
  }
}

/** Objects that may take long to go: what they own goes first, and a pod has its grace. */
export async function endWorkload(
  cluster: Cluster,
  { kind, metadata }: LiveObject & { kind: WorkloadKind },
  stopTimeoutMs: number,
) {
  const id = { apiVersion: apiVersions[kind], kind, name: metadata.name };
  const directory = metadata.annotations?.[annotations.directory] as string;
  await cluster.delete(id);
  const deadline = Date.now() + stopTimeoutMs + 30_000;
  const labels = selectorOf(deploymentIdOf(directory), kind === "StatefulSet" ? "gateway" : "applier");
  for (;;) {
    const [found, pods] = [await cluster.find(id), await cluster.list("v1", "Pod", { labels })];
    if (found === null && pods.length === 0) return;
    if (Date.now() > deadline) {
      const left = pods[0] === undefined ? id : { kind: "Pod", name: pods[0].metadata.name };
      throw new SluiceError(
        "timeout",
        `the ${left.kind} ${left.name} doesn't end within ${stopTimeoutMs + 30_000} ms`,
        {
          remedy: `${kubectl(cluster, "describe", left.kind, left.name)} tells why (its node may be gone); then run the same again.`,
        },
      );
    }
    await pause(300);
  }
}

/** Workloads first, then what they used; what isn't ours stays. */
export async function removeProcess(cluster: Cluster, directory: string, stopTimeoutMs: number): Promise<void> {
  for (const workload of await findWorkloads(cluster, directory)) {
    if (isOurs(workload, directory)) await endWorkload(cluster, workload, stopTimeoutMs);
  }
  for (const [apiVersion, kind] of ownKinds) {
    await removeObject(cluster, directory, { apiVersion, kind, name: workloadName(directory) });
  }
}

import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import type { Cluster, LiveObject } from "./kubernetes-cluster";
import { judgePod, type PodStatus, type Verdict } from "./kubernetes-health";
import { annotations, deploymentIdOf, selectorLabels, stagingClaimName, workloadName } from "./kubernetes-names";
import { apiVersions, type WorkloadKind } from "./kubernetes-workload";

/** How often the cluster is looked at. */
const lookMs = 500;

/** Pure: a label selector of a deployment's part. */
export function selectorOf(deploymentId: string, component: string): string {
  return Object.entries(selectorLabels(deploymentId, component))
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
}

/** Events by which a wait tells those of its own time from those of before. */
export type SeenEvents = Map<string, number>;

interface ClusterEvent extends LiveObject {
  type?: string;
  reason?: string;
  message?: string;
  count?: number;
  involvedObject?: { kind?: string; name?: string };
}

async function warningsOf(cluster: Cluster, name: string): Promise<ClusterEvent[]> {
  const events = await cluster.list("v1", "Event", { fields: `involvedObject.name=${name}` });
  return (events as ClusterEvent[]).filter(({ type }) => type === "Warning");
}

/** Nothing where this user may not read events: they only explain. */
async function ifAllowed(events: Promise<ClusterEvent[]>): Promise<ClusterEvent[]> {
  try {
    return await events;
  } catch (error) {
    if (error instanceof SluiceError && error.kind === "permission") return [];
    throw error;
  }
}

export async function seenEvents(cluster: Cluster, name: string): Promise<SeenEvents> {
  const events = await ifAllowed(warningsOf(cluster, name));
  return new Map(events.map(({ metadata, count = 1 }) => [metadata.uid, count]));
}

const isNew = (seen: SeenEvents) => (event: ClusterEvent) => (event.count ?? 1) > (seen.get(event.metadata.uid) ?? 0);

export interface Expected {
  kind: WorkloadKind;
  /** of the pod template */
  specification: string;
  seen: SeenEvents;
}

/**
 * Waits until the workload's pod, of this very specification, is ready, or has done its work. A CronJob is done when the
 * cluster has it.
 * @returns the image's digest, where a pod tells it
 * @throws SluiceError `process` with the reason, of pods and events
 */
export async function waitUntilHealthy(
  cluster: Cluster,
  spec: ProcessSpec,
  { kind, specification, seen }: Expected,
): Promise<string | undefined> {
  const { config, directory, startTimeoutMs } = spec;
  const name = workloadName(directory);
  const deadline = Date.now() + startTimeoutMs;
  const fail = (message: string, remedy: string) =>
    new SluiceError("process", `the ${config.role} of ${config.id} ${message}`, { remedy });
  for (;;) {
    const workload = await cluster.find({ apiVersion: apiVersions[kind], kind, name });
    if (workload === null) throw fail("was removed before it was healthy", "Run pulumi up again.");
    if (kind === "CronJob") return undefined;
    const pods = await cluster.list("v1", "Pod", { labels: selectorOf(deploymentIdOf(directory), config.role) });
    const own = pods.filter(
      ({ metadata }) =>
        metadata.annotations?.[annotations.specification] === specification &&
        metadata.deletionTimestamp === undefined &&
        isOfNow(workload, kind, metadata.labels),
    );
    const newest = own.at(-1);
    const verdict: Verdict =
      newest === undefined ? { kind: "waiting", reason: "its pod isn't made yet", isUp: false } : judgePod(newest);
    if (kind === "Job") {
      const end = conditionOf(workload, "Complete", "Failed");
      if (end?.type === "Complete") return imageOf(newest);
      if (end?.type === "Failed") {
        const why = verdict.kind === "failed" ? verdict : null;
        throw fail(
          why?.message ?? `failed: ${end.reason}: ${end.message}`,
          why?.remedy ?? "Correct what the message names.",
        );
      }
      // Its pods may fail: they are tried again.
    } else {
      if (verdict.kind === "ready") return imageOf(newest);
      if (verdict.kind === "failed") throw fail(verdict.message, verdict.remedy);
    }
    const refused = newest === undefined ? await findRefusal(cluster, workload, name, seen) : null;
    if (refused !== null) {
      throw fail(
        `can't have a pod: ${refused}`,
        "Raise the quota, or meet the policy, that the cluster's answer names.",
      );
    }
    if (Date.now() > deadline) {
      const reason = verdict.kind === "waiting" ? verdict.reason : "its pods fail";
      const told = await explain(cluster, directory, newest);
      throw fail(
        `is not healthy after ${startTimeoutMs} ms: ${reason}${told}`,
        "Mend what the reason names, or raise startTimeoutMs.",
      );
    }
    await pause(lookMs);
  }
}

/**
 * Whether a pod is of the workload as it is now. Its annotation doesn't tell, where somebody has changed the template by hand
 * and that was set back: a StatefulSet's controller names the revision, and a Deployment's makes a pod when the last of
 * another template is gone.
 */
function isOfNow(
  { metadata, status = {} }: LiveObject,
  kind: WorkloadKind,
  labels: Record<string, string> = {},
): boolean {
  const {
    observedGeneration,
    updateRevision,
    updatedReplicas = 0,
  } = status as {
    observedGeneration?: number;
    updateRevision?: string;
    updatedReplicas?: number;
  };
  // None: its controller has made nothing yet.
  if (observedGeneration === undefined) return true;
  if (observedGeneration < (metadata.generation ?? 0)) return false;
  switch (kind) {
    case "StatefulSet":
      return updateRevision === undefined || labels["controller-revision-hash"] === updateRevision;
    case "Deployment":
      return updatedReplicas > 0;
    case "Job":
    case "CronJob":
      return true;
  }
}

interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
}

/** The first condition of these types that holds. */
export function conditionOf(object: LiveObject, ...types: string[]): Condition | undefined {
  const { conditions = [] } = (object.status ?? {}) as { conditions?: Condition[] };
  return conditions.find(({ type, status }) => types.includes(type) && status === "True");
}

/** Why the controller may make no pod: a quota, an admission policy. */
async function findRefusal(
  cluster: Cluster,
  workload: LiveObject,
  name: string,
  seen: SeenEvents,
): Promise<string | null> {
  const failure = conditionOf(workload, "ReplicaFailure");
  if (failure !== undefined) return failure.message ?? failure.reason ?? "";
  const events = (await ifAllowed(warningsOf(cluster, name))).filter(isNew(seen));
  // Once may be an object that the server didn't know yet. A Job's pods have names of their own, each with its own event.
  const refusals = events.filter(({ reason }) => reason === "FailedCreate");
  const times = refusals.reduce((sum, { count = 1, metadata }) => sum + count - (seen.get(metadata.uid) ?? 0), 0);
  return times > 1 ? (refusals.at(-1)?.message ?? null) : null;
}

/** What events say of a pod that doesn't start: of itself, and of the claims that it waits for. */
async function explain(cluster: Cluster, directory: string, pod: LiveObject | undefined): Promise<string> {
  const names = [pod?.metadata.name ?? workloadName(directory), stagingClaimName(deploymentIdOf(directory))];
  const events = (await Promise.all(names.map((name) => ifAllowed(warningsOf(cluster, name))))).flat();
  const lines = [...new Set(events.map(({ reason, message }) => `${reason}: ${message}`))].slice(-4);
  return lines.map((line) => `\n  ${line}`).join("");
}

function imageOf(pod: LiveObject | undefined): string | undefined {
  const id = ((pod?.status ?? {}) as PodStatus).containerStatuses?.[0]?.imageID;
  return id === undefined || id === "" ? undefined : id.replace(/^[\w-]+:\/\//, "");
}

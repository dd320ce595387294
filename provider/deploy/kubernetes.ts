import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { describeError, SluiceError } from "../../runtime/errors";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import type { Applied, Deployment, ProcessSpec } from "./deployment";
import { type ApplyOptions, type Cluster, type LiveObject, type ObjectId, openCluster } from "./kubernetes-cluster";
import { FieldConflict } from "./kubernetes-errors";
import { findWorkloads, inspectWorkload, kubectl, readPodStatus } from "./kubernetes-inspect";
import { annotations, deploymentIdOf, managedBy, workloadName } from "./kubernetes-names";
import {
  type ClusterObject,
  type PodTemplate,
  type ProcessObjects,
  processObjects,
  secretObject,
} from "./kubernetes-objects";
import type { KubernetesOptions } from "./kubernetes-options";
import { explained, preflightCluster, stagingOf } from "./kubernetes-preflight";
import { type ApplyRecord, idOf, isOurs, readRecord, recorded, requireOurs, withRecord } from "./kubernetes-record";
import type { SecretOrigin } from "./kubernetes-source";
import { removeClaim, stagingClaims } from "./kubernetes-staging";
import { type SeenEvents, seenEvents, selectorOf, waitUntilHealthy } from "./kubernetes-wait";
import { apiVersions, type WorkloadKind } from "./kubernetes-workload";

/**
 * Objects of one namespace of a cluster, applied by the server under our field manager; known by their labels and by the
 * process's folder, which is that in its pod.
 */
export function kubernetesDeployment(options: KubernetesOptions): Deployment {
  let opened: Promise<Cluster> | undefined;
  const open = () => {
    opened ??= openCluster(options).catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    isHere: false,
    staging: stagingClaims(open, options),
    async preflight(spec) {
      try {
        await preflightCluster(await open(), spec, options);
        return null;
      } catch (error) {
        if (error instanceof SluiceError) return error;
        throw error;
      }
    },
    apply: async (spec, { tethered = false } = {}) => applyProcess(await open(), options, spec, tethered),
    async keep(directory) {
      const cluster = await open();
      for (const { kind, metadata } of await findWorkloads(cluster, directory)) {
        if (metadata.annotations?.[annotations.tether] === undefined) continue;
        const patch = { metadata: { annotations: { [annotations.tether]: null } } };
        await cluster.patch({ apiVersion: apiVersions[kind], kind, name: metadata.name }, patch);
      }
    },
    inspect: async (directory) => inspectWorkload(await open(), directory),
    status: async (directory) => readPodStatus(await open(), directory),
    remove: async (directory, stopTimeoutMs) => removeProcess(await open(), directory, stopTimeoutMs),
    dropTables: async (spec) => dropTables(await open(), options, spec),
    async sweep(stateDir, stopTimeoutMs) {
      const cluster = await open();
      for (const directory of await abandoned(cluster, stateDir)) {
        await removeProcess(cluster, directory, stopTimeoutMs);
        await removeClaim(cluster, deploymentIdOf(directory));
      }
    },
  };
}

async function applyProcess(
  cluster: Cluster,
  options: KubernetesOptions,
  spec: ProcessSpec,
  tethered: boolean,
): Promise<Applied> {
  const { directory } = spec;
  const rendered = processObjects(spec, options);
  const secret =
    rendered.secret?.isOurs === true
      ? secretObject(spec, options, secretData(spec, rendered.configuration.secrets))
      : null;
  const configMapId = { apiVersion: "v1", kind: "ConfigMap", name: workloadName(directory) };
  const [configMap, before] = [await cluster.find(configMapId), await findWorkloads(cluster, directory)];
  for (const object of [...(secret === null ? [] : [secret]), ...rendered.objects]) {
    if (object.kind === "PersistentVolumeClaim") continue;
    requireOurs(await cluster.find(idOf(object)), idOf(object), directory, cluster);
  }
  const isNew = configMap === null && before.length === 0;
  const former = readRecord(configMap);
  const { kind } = rendered.workload;
  const seen = await seenEvents(cluster, workloadName(directory));
  const objects = withRecord(spec, rendered).map((object) =>
    tethered && object.kind === kind ? tethering(object) : object,
  );
  const expected = { kind, seen, memoryLimit: options.resources?.limits?.memory };
  try {
    const claim = await stagingOf(cluster, spec, options);
    if (claim?.metadata.annotations?.[annotations.owner] !== undefined) await take(cluster, claim, options);
    if (secret !== null) await take(cluster, secret, options);
    await endOthers(cluster, before, rendered, spec.stopTimeoutMs);
    for (const object of objects) await take(cluster, object, options).catch(explained(object));
    const specification = specificationOf(rendered);
    const imageDigest = await waitUntilHealthy(cluster, spec, { ...expected, specification });
    await prune(cluster, directory, [...objects, ...(secret === null ? [] : [secret])]);
    return imageDigest === undefined ? {} : { imageDigest };
  } catch (error) {
    if (isNew) await removeProcess(cluster, directory, spec.stopTimeoutMs);
    if (former === null) throw error;
    throw await goBack(cluster, options, spec, former, expected, error);
  }
}

/** Another kind of workload, and a Job that can't become another one, end first: two must never write the same tables. */
async function endOthers(
  cluster: Cluster,
  before: readonly (LiveObject & { kind: WorkloadKind })[],
  rendered: ProcessObjects,
  stopTimeoutMs: number,
): Promise<void> {
  const { kind } = rendered.workload;
  for (const one of before) {
    const template = (one.spec as { template?: { metadata?: { annotations?: Record<string, string> } } }).template;
    const isOther = template?.metadata?.annotations?.[annotations.specification] !== specificationOf(rendered);
    if (one.kind !== kind || (kind === "Job" && isOther)) await endWorkload(cluster, one, stopTimeoutMs);
  }
}

/** Digest of a workload's pods. */
function specificationOf({ objects }: Pick<ProcessObjects, "objects">): string {
  const text = JSON.stringify((objects.at(-1) as ClusterObject).spec);
  return new RegExp(`"${annotations.specification}":"(\\w+)"`).exec(text)?.[1] ?? "";
}

/** Applies one of ours; what others have set of it is set back, or refused. */
async function take(cluster: Cluster, object: ClusterObject, { onConflict }: KubernetesOptions): Promise<void> {
  const options: ApplyOptions = { force: false };
  try {
    await cluster.apply(object, options);
  } catch (error) {
    if (!(error instanceof FieldConflict) || onConflict === "refuse") throw error;
    const told = error.fields.map(({ by, field }) => `${field} (${by})`).join(", ");
    console.log(`warning: ${object.kind} ${object.metadata.name}: what others have set is set back: ${told}`);
    await cluster.apply(object, { force: true });
  }
}

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
async function prune(cluster: Cluster, directory: string, wanted: readonly ClusterObject[]): Promise<void> {
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

/** All objects are as they were applied last, and the failure says so. */
async function goBack(
  cluster: Cluster,
  options: KubernetesOptions,
  spec: ProcessSpec,
  former: ApplyRecord,
  { seen, memoryLimit }: { seen: SeenEvents; memoryLimit: string | undefined },
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof SluiceError)) return error;
  try {
    const workload = former.objects.at(-1) as ClusterObject;
    const kind = workload.kind as WorkloadKind;
    const found = await findWorkloads(cluster, spec.directory);
    for (const one of found) {
      if (one.kind !== kind || kind === "Job") await endWorkload(cluster, one, spec.stopTimeoutMs);
    }
    const name = { ...workload.metadata, annotations: { ...workload.metadata.annotations } };
    const configMap = recorded({ apiVersion: "v1", kind: "ConfigMap", metadata: name }, former);
    for (const object of [configMap, ...former.objects]) await giveBack(cluster, object, options);
    // What others have set is theirs, also where it keeps the process from running.
    if (error instanceof FieldConflict) return error;
    await waitUntilHealthy(cluster, spec, { kind, specification: specificationOf(former), seen, memoryLimit });
    return error;
  } catch (second) {
    const message = `${error.message}\n  nor does it run as before: ${describeError(second)}`;
    return new SluiceError(error.kind, message, { remedy: error.remedy, cause: error });
  }
}

async function giveBack(cluster: Cluster, object: ClusterObject, { onConflict }: KubernetesOptions): Promise<void> {
  try {
    await cluster.apply(object, { force: onConflict === "take" });
  } catch (error) {
    if (!(error instanceof FieldConflict)) throw error;
  }
}

/** Content of the pod's Secret, by key. @throws SluiceError `config` */
function secretData(spec: ProcessSpec, origins: Record<string, SecretOrigin>): Record<string, string> {
  return Object.fromEntries(Object.entries(origins).map(([key, origin]) => [key, contentOf(spec, origin)]));
}

function contentOf({ secretFiles }: ProcessSpec, origin: SecretOrigin): string {
  switch (origin.kind) {
    case "value":
      return secretFiles[origin.name];
    case "variable": {
      const value = process.env[origin.name];
      if (value !== undefined) return value;
      throw new SluiceError("config", `the environment variable ${origin.name} is not set`, {
        remedy: `Set ${origin.name} where Pulumi runs, or set deployment.existingSecret to a Secret with the key ${origin.name}.`,
      });
    }
    case "file":
      try {
        return readFileSync(origin.path, "utf8");
      } catch (cause) {
        throw new SluiceError("config", `the file ${origin.path} can't be read, which the pod is to have`, {
          remedy:
            "Put the file there, on the machine that runs Pulumi, or name a Secret that has it: deployment.existingSecret.",
          cause,
        });
      }
  }
}

/** Objects that may take long to go: what they own goes first, and a pod has its grace. */
async function endWorkload(
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

async function removeProcess(cluster: Cluster, directory: string, stopTimeoutMs: number): Promise<void> {
  for (const workload of await findWorkloads(cluster, directory)) {
    if (isOurs(workload, directory)) await endWorkload(cluster, workload, stopTimeoutMs);
  }
  for (const [apiVersion, kind] of ownKinds) {
    await removeObject(cluster, directory, { apiVersion, kind, name: workloadName(directory) });
  }
}

/** How long a drop may take; what it hadn't dropped then is left to the next delete. */
const dropTimeoutMs = 600_000;

/** By a Job that has the applier's claims, as no applier runs any more. */
async function dropTables(cluster: Cluster, options: KubernetesOptions, spec: ProcessSpec): Promise<void> {
  const { directory, stopTimeoutMs } = spec;
  const config = { ...spec.config, trigger: { kind: "once" } } as ProcessSpec["config"];
  const run = { ...spec, config, startTimeoutMs: dropTimeoutMs };
  const { objects, workload } = processObjects(run, options);
  const job = structuredClone(objects.at(-1)) as ClusterObject & {
    spec: { backoffLimit: number; template: PodTemplate };
  };
  job.spec.backoffLimit = 0;
  job.spec.template.spec.containers[0].args = ["drop-tables", "--yes"];
  const name = workloadName(directory);
  try {
    const seen = await seenEvents(cluster, name);
    for (const object of [...objects.slice(0, -1), job]) await cluster.apply(object, { force: true });
    const specification = specificationOf({ objects });
    await waitUntilHealthy(cluster, run, { kind: workload.kind, specification, seen, memoryLimit: undefined });
    const [pod] = await cluster.list("v1", "Pod", { labels: selectorOf(deploymentIdOf(directory), "applier") });
    if (pod !== undefined) process.stdout.write(await cluster.log(pod.metadata.name, "applier").catch(unread));
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    throw new SluiceError("destination", `the Delta tables could not all be dropped: ${error.message}`, {
      remedy: `${error.remedy} Run the same again, which drops the rest; or leave them: onDelete: "keep".`,
      cause: error,
    });
  } finally {
    await removeProcess(cluster, directory, stopTimeoutMs);
  }
}

/** The tables are dropped all the same: its log only tells which. */
const unread = (error: unknown) =>
  `warning: the tables are dropped, but which, can't be told: ${describeError(error)}\n`;

const tetherSchema = z.object({ host: z.string(), ...processIdentitySchema.shape });

/** A pod can't see the provider: it doesn't end by itself, as a process does, but is swept, from this very machine. */
function tethering(object: ClusterObject): ClusterObject {
  const tether = JSON.stringify({ host: hostname(), ...identifyProcess(process.pid) });
  const { metadata } = object;
  return {
    ...object,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [annotations.tether]: tether } },
  };
}

async function abandoned(cluster: Cluster, stateDir: string): Promise<string[]> {
  const [label, value] = Object.entries(managedBy)[0];
  const gateways = await cluster.list("apps/v1", "StatefulSet", { labels: `${label}=${value}` });
  return gateways.flatMap(({ metadata }) => {
    const { [annotations.directory]: directory = "", [annotations.tether]: text } = metadata.annotations ?? {};
    if (text === undefined || !directory.startsWith(`${stateDir}/`)) return [];
    const tether = tetherSchema.safeParse(JSON.parse(text));
    const isGone = tether.success && tether.data.host === hostname() && !isAlive(tether.data);
    return isGone ? [directory] : [];
  });
}

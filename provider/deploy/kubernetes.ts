import { describeError, SluiceError } from "../../runtime/errors";
import type { Applied, Deployment, ProcessSpec } from "./deployment";
import { type ApplyOptions, type Cluster, type LiveObject, openCluster } from "./kubernetes-cluster";
import { FieldConflict } from "./kubernetes-errors";
import { findWorkloads, inspectWorkload, readPodStatus } from "./kubernetes-inspect";
import { annotations, deploymentIdOf, workloadName } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import { type ProcessObjects, processObjects, secretObject } from "./kubernetes-objects";
import type { KubernetesOptions } from "./kubernetes-options";
import { specificationOf } from "./kubernetes-pod";
import { explained, preflightCluster, stagingOf } from "./kubernetes-preflight";
import { type ApplyRecord, idOf, readRecord, recorded, requireOurs, withRecord } from "./kubernetes-record";
import { endWorkload, prune, removeProcess } from "./kubernetes-removal";
import { secretData } from "./kubernetes-source";
import { removeClaim, stagingClaims } from "./kubernetes-staging";
import { dropInClaims } from "./kubernetes-table-drop";
import { abandoned, tethering } from "./kubernetes-tether";
import { type SeenEvents, seenEvents, waitUntilHealthy } from "./kubernetes-wait";
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
    dropTables: async (spec) => dropInClaims(await open(), options, spec),
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
  try {
    const claim = await stagingOf(cluster, spec, options);
    if (claim?.metadata.annotations?.[annotations.owner] !== undefined) await take(cluster, claim, options);
    if (secret !== null) await take(cluster, secret, options);
    await endOthers(cluster, before, rendered, spec.stopTimeoutMs);
    for (const object of objects) await take(cluster, object, options).catch(explained(object));
    const specification = specificationOf(rendered);
    const imageDigest = await waitUntilHealthy(cluster, spec, { kind, seen, specification });
    await prune(cluster, directory, [...objects, ...(secret === null ? [] : [secret])]);
    return imageDigest === undefined ? {} : { imageDigest };
  } catch (error) {
    if (isNew) await removeProcess(cluster, directory, spec.stopTimeoutMs);
    if (former === null) throw error;
    throw await goBack(cluster, options, spec, former, seen, error);
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

/** All objects are as they were applied last, and the failure says so. */
async function goBack(
  cluster: Cluster,
  options: KubernetesOptions,
  spec: ProcessSpec,
  former: ApplyRecord,
  seen: SeenEvents,
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
    await waitUntilHealthy(cluster, spec, { kind, specification: specificationOf(former), seen });
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

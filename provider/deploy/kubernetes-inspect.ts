import { createHash } from "node:crypto";
import { basename } from "node:path";
import type { RuntimeConfigInput } from "../../runtime/config";
import type { StatusDocument } from "../../runtime/status";
import { isVariableFile } from "./container-spec";
import { type Inspection, renderConfiguration, type Settings } from "./deployment";
import { type Cluster, type LiveObject, resourceOf } from "./kubernetes-cluster";
import { judgePod, type PodStatus } from "./kubernetes-health";
import { deploymentIdOf, workloadName } from "./kubernetes-names";
import { type ApplyRecord, idOf, isOurs, readRecord } from "./kubernetes-record";
import { conditionOf, selectorOf } from "./kubernetes-wait";
import { apiVersions, type WorkloadKind, workloadKinds } from "./kubernetes-workload";
import { objectDifference } from "./object-difference";

/** A process's workload, whichever it is; there may be two while another trigger takes over. */
export async function findWorkloads(
  cluster: Cluster,
  directory: string,
): Promise<(LiveObject & { kind: WorkloadKind })[]> {
  const kinds = workloadKinds.filter((kind) => (kind === "StatefulSet") === (basename(directory) === "gateway"));
  const name = workloadName(directory);
  const found = await Promise.all(
    kinds.map(async (kind) => {
      const live = await cluster.find({ apiVersion: apiVersions[kind], kind, name });
      return live === null ? [] : [{ ...live, kind }];
    }),
  );
  return found.flat();
}

export async function inspectWorkload(cluster: Cluster, directory: string): Promise<Inspection> {
  const name = workloadName(directory);
  const [workloads, configMap] = await Promise.all([
    findWorkloads(cluster, directory),
    cluster.find({ apiVersion: "v1", kind: "ConfigMap", name }),
  ]);
  const foreign = [...workloads, ...(configMap === null ? [] : [configMap])].find((live) => !isOurs(live, directory));
  if (foreign !== undefined) return { kind: "foreign", what: `the ${foreign.kind} ${name} in ${cluster.namespace}` };
  if (workloads.length === 0 && configMap === null) return { kind: "absent" };
  const record = readRecord(configMap);
  const written = (configMap?.data as Record<string, string> | undefined)?.["config.json"] ?? "";
  const [changed, secrets] = await Promise.all([
    record === null ? [] : findChanged(cluster, record),
    readSecrets(cluster, directory),
  ]);
  const [workload] = workloads;
  const settings: Settings = {
    configuration: record === null ? written : asDeclared(record, written),
    secrets,
    version: workload?.metadata.labels?.["app.kubernetes.io/version"],
    ...(changed.length === 0 ? {} : { changed }),
  };
  if (workload === undefined) return { kind: "dead", ...settings };
  return { ...(await conditionOfProcess(cluster, directory, workload)), ...settings };
}

type Condition =
  | { kind: "running" }
  | { kind: "finished" }
  | { kind: "dead" }
  | { kind: "failed"; message: string; remedy?: string };

async function conditionOfProcess(
  cluster: Cluster,
  directory: string,
  workload: LiveObject & { kind: WorkloadKind },
): Promise<Condition> {
  const { kind } = workload;
  const spec = workload.spec as { replicas?: number; suspend?: boolean };
  if (spec.replicas === 0 || spec.suspend === true) return { kind: "dead" };
  if (kind === "CronJob") return conditionOfRuns(cluster, directory);
  if (kind === "Job") {
    const end = conditionOf(workload, "Complete", "Failed");
    if (end?.type === "Complete") return { kind: "finished" };
    if (end !== undefined) return { kind: "failed", message: `its Job failed: ${end.reason}: ${end.message}` };
  }
  const pod = (await podsOf(cluster, directory)).at(-1);
  if (pod === undefined) return { kind: "dead" };
  const verdict = judgePod(pod);
  switch (verdict.kind) {
    case "done":
    case "ready":
      return { kind: "running" };
    case "failed":
      return { kind: "failed", message: verdict.message, remedy: verdict.remedy };
    case "waiting": {
      if (!verdict.isUp) return { kind: "failed", message: verdict.reason };
      const status = await readPodStatus(cluster, directory);
      if (status?.state.kind !== "failed") return { kind: "running" };
      return { kind: "failed", message: status.state.message, remedy: status.state.remedy };
    }
  }
}

/** Of a schedule: its last run, as far as there is one. */
async function conditionOfRuns(cluster: Cluster, directory: string): Promise<Condition> {
  const labels = selectorOf(deploymentIdOf(directory), basename(directory));
  const jobs = await cluster.list("batch/v1", "Job", { labels });
  const startOf = (job: LiveObject) => String((job.status as { startTime?: string } | undefined)?.startTime ?? "");
  const last = jobs.sort((a, b) => (startOf(a) < startOf(b) ? -1 : 1)).at(-1);
  const failure = last === undefined ? undefined : conditionOf(last, "Failed");
  if (failure === undefined) return { kind: "running" };
  return { kind: "failed", message: `its last run failed: ${failure.reason}: ${failure.message}` };
}

/** Those that aren't on their way out, the newest last. */
async function podsOf(cluster: Cluster, directory: string): Promise<LiveObject[]> {
  const labels = selectorOf(deploymentIdOf(directory), basename(directory));
  const pods = await cluster.list("v1", "Pod", { labels });
  const madeAt = ({ metadata }: LiveObject) =>
    String((metadata as { creationTimestamp?: string }).creationTimestamp ?? "");
  return pods
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .sort((a, b) => (madeAt(a) < madeAt(b) ? -1 : 1));
}

/** What the process says of itself: its status document, read inside of its pod. */
export async function readPodStatus(cluster: Cluster, directory: string): Promise<StatusDocument | null> {
  const pods = await podsOf(cluster, directory);
  const up = pods.filter(
    ({ status }) => (status as PodStatus | undefined)?.containerStatuses?.[0]?.state?.running !== undefined,
  );
  const pod = up.at(-1);
  if (pod === undefined) return null;
  const text = await cluster.run(pod.metadata.name, basename(directory), ["sluice", "status", "--json"]);
  try {
    return text === null ? null : (JSON.parse(text) as StatusDocument);
  } catch {
    return null;
  }
}

/** Objects that are gone, and fields that are others than they were applied. */
async function findChanged(cluster: Cluster, { objects }: ApplyRecord): Promise<string[]> {
  const changed = await Promise.all(
    objects.map(async (object) => {
      const { kind, metadata } = object;
      const live = await cluster.find(idOf(object));
      if (live === null) return [`the ${kind} ${metadata.name} is gone`];
      const paths = objectDifference(object, live);
      return paths.length === 0 ? [] : [`the ${kind} ${metadata.name} was changed by hand: ${paths.join(", ")}`];
    }),
  );
  return changed.flat();
}

/** As the provider wanted it, unless somebody has changed the ConfigMap. */
function asDeclared({ declared, rendered }: ApplyRecord, written: string): string {
  if (written === rendered) return declared;
  try {
    const [now, given, wanted] = [written, rendered, declared].map(
      (text) => JSON.parse(text) as Record<string, unknown>,
    );
    // What is different in a pod by itself was changed by nobody.
    for (const key of Object.keys(given)) {
      if (JSON.stringify(now[key]) !== JSON.stringify(given[key])) continue;
      if (key in wanted) now[key] = wanted[key];
      else delete now[key];
    }
    return renderConfiguration(now as unknown as RuntimeConfigInput);
  } catch {
    return written;
  }
}

/** Without those of variables and files of this machine, whose content is no input; undefined where they can't be read. */
async function readSecrets(cluster: Cluster, directory: string): Promise<Record<string, string> | undefined> {
  const id = { apiVersion: "v1", kind: "Secret", name: workloadName(directory) };
  const found = await cluster.find(id).catch(() => undefined);
  if (found === undefined) return undefined;
  if (found === null || !isOurs(found, directory)) return {};
  const values = Object.entries((found.data ?? {}) as Record<string, string>);
  const own = values.filter(([key]) => key.endsWith(".secret") && !isVariableFile(key));
  const digestOf = (content: string) => createHash("sha256").update(Buffer.from(content, "base64")).digest("hex");
  return Object.fromEntries(own.map(([key, content]) => [key, digestOf(content)]));
}

/** For an error's text: how a person looks at what it names. */
export const kubectl = (cluster: Cluster, verb: string, kind: string, name: string) =>
  `kubectl -n ${cluster.namespace} ${verb} ${resourceOf(kind)} ${name}`;

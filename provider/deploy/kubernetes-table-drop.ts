import { describeError, SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import type { Cluster } from "./kubernetes-cluster";
import { deploymentIdOf, workloadName } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import { processObjects } from "./kubernetes-objects";
import type { KubernetesOptions } from "./kubernetes-options";
import { type PodTemplate, specificationOf } from "./kubernetes-pod";
import { removeProcess } from "./kubernetes-removal";
import { seenEvents, selectorOf, waitUntilHealthy } from "./kubernetes-wait";

/** How long a drop may take; what it hadn't dropped then is left to the next delete. */
const dropTimeoutMs = 600_000;

/** By a Job that has the applier's claims, as no applier runs any more. */
export async function dropInClaims(cluster: Cluster, options: KubernetesOptions, spec: ProcessSpec): Promise<void> {
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
    await waitUntilHealthy(cluster, run, { kind: workload.kind, specification, seen });
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

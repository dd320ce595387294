import { basename } from "node:path";
import type { ProcessSpec } from "./deployment";
import { annotations, deploymentIdOf, objectLabels, workloadName } from "./kubernetes-names";
import type { KubernetesOptions } from "./kubernetes-options";

/** An object as it is applied. */
export interface ClusterObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace: string; labels: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}

/** Pure: what makes the objects of one process, which all have its name, its labels and its folder. */
export function objectMaker({ directory }: ProcessSpec, options: KubernetesOptions) {
  const metadata = {
    name: workloadName(directory),
    namespace: options.namespace,
    annotations: { ...options.annotations, [annotations.directory]: directory },
  };
  const labels = objectLabels(deploymentIdOf(directory), basename(directory), options);
  return (apiVersion: string, kind: string, body: object, more: Record<string, string> = {}): ClusterObject => ({
    apiVersion,
    kind,
    metadata: { ...metadata, labels: { ...more, ...labels } },
    ...body,
  });
}

import { workFolder } from "../../runtime/config";
import type { ProcessSpec } from "./deployment";
import { annotations, deploymentIdOf, destinationClaimName, objectLabels, stagingClaimName } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import type { KubernetesOptions } from "./kubernetes-options";

/** Pure: the claim of staging and spool. `owner`: whose the log in it is; null where nobody keeps account. */
export function stagingClaim(
  path: string,
  deploymentId: string,
  owner: string | null,
  options: KubernetesOptions,
): ClusterObject {
  return claim(stagingClaimName(deploymentId), options.staging, options, {
    labels: objectLabels(deploymentId, "staging", options),
    annotations: {
      ...options.annotations,
      [annotations.directory]: path,
      ...(owner === null ? {} : { [annotations.owner]: owner }),
    },
  });
}

/** Pure: that of the destination, where it is ours; it is kept. */
export function destinationClaims({ directory, config }: ProcessSpec, options: KubernetesOptions): ClusterObject[] {
  const { destinationClaim } = options;
  if (config.role !== "applier" || config.destination.kind !== "local") return [];
  if (typeof destinationClaim !== "object") return [];
  const id = deploymentIdOf(directory);
  const metadata = {
    labels: objectLabels(id, "destination", options),
    annotations: { ...options.annotations, [annotations.directory]: workFolder(config) },
  };
  return [claim(destinationClaimName(id), destinationClaim, options, metadata)];
}

function claim(
  name: string,
  { size, storageClass, accessMode }: { size: string; storageClass?: string; accessMode: string },
  { namespace }: KubernetesOptions,
  metadata: { labels: Record<string, string>; annotations: Record<string, string> },
): ClusterObject {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, namespace, ...metadata },
    spec: {
      accessModes: [accessMode],
      ...(storageClass === undefined ? {} : { storageClassName: storageClass }),
      resources: { requests: { storage: size } },
    },
  };
}

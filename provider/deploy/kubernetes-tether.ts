import { hostTether, isAbandoned } from "./host-tether";
import type { Cluster } from "./kubernetes-cluster";
import { annotations, managedBy } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";

export function tethering(object: ClusterObject): ClusterObject {
  const { metadata } = object;
  return {
    ...object,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [annotations.tether]: hostTether() } },
  };
}

/** Folders of gateways whose create was killed on this machine. */
export async function abandoned(cluster: Cluster, stateDir: string): Promise<string[]> {
  const [label, value] = Object.entries(managedBy)[0];
  const gateways = await cluster.list("apps/v1", "StatefulSet", { labels: `${label}=${value}` });
  return gateways.flatMap(({ metadata }) => {
    const { [annotations.directory]: directory = "", [annotations.tether]: text } = metadata.annotations ?? {};
    return text !== undefined && directory.startsWith(`${stateDir}/`) && isAbandoned(text) ? [directory] : [];
  });
}

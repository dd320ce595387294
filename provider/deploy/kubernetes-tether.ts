import { hostname } from "node:os";
import { z } from "zod";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import type { Cluster } from "./kubernetes-cluster";
import { annotations, managedBy } from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";

const tetherSchema = z.object({ host: z.string(), ...processIdentitySchema.shape });

/** A pod can't see the provider: it doesn't end by itself, as a process does, but is swept, from this very machine. */
export function tethering(object: ClusterObject): ClusterObject {
  const tether = JSON.stringify({ host: hostname(), ...identifyProcess(process.pid) });
  const { metadata } = object;
  return {
    ...object,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [annotations.tether]: tether } },
  };
}

/** Folders of gateways whose create was killed on this machine. */
export async function abandoned(cluster: Cluster, stateDir: string): Promise<string[]> {
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

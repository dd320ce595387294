import { setTimeout as pause } from "node:timers/promises";
import { SluiceError } from "../../runtime/errors";
import type { StagingFound, StagingOwner, StagingPlace } from "./deployment";
import { stagingClaim } from "./kubernetes-claims";
import type { Cluster, LiveObject } from "./kubernetes-cluster";
import { kubectl } from "./kubernetes-inspect";
import { annotations, stagingClaimName } from "./kubernetes-names";
import type { KubernetesOptions } from "./kubernetes-options";
import { isOurs, requireOurs } from "./kubernetes-record";
import { isSameOwner, stagingOwnerSchema } from "./staging-folder";

/** Staging is a claim, one for each deployment; whose it is stands in its annotations. */
export function stagingClaims(open: () => Promise<Cluster>, options: KubernetesOptions): StagingPlace {
  const find = async (cluster: Cluster, deploymentId: string) => cluster.find(claimId(deploymentId));
  return {
    async inspect(path, deploymentId) {
      const found = await find(await open(), deploymentId);
      return found === null ? { kind: "free" } : readOwner(found, path);
    },

    async make(path, owner) {
      const cluster = await open();
      const found = await find(cluster, owner.deploymentId);
      requireOurs(found, claimId(owner.deploymentId), path, cluster);
      // What a create of ours has left: another log begins in a claim of its own.
      if (found !== null) await removeClaim(cluster, owner.deploymentId);
      await cluster.apply(stagingClaim(path, owner.deploymentId, JSON.stringify(owner), options));
    },

    async remove(path, owner) {
      const cluster = await open();
      const found = await find(cluster, owner.deploymentId);
      if (found === null) return true;
      const { kind, ...rest } = readOwner(found, path);
      if (kind === "foreign" || ("owner" in rest && !isSameOwner(rest.owner as StagingOwner, owner))) return false;
      await removeClaim(cluster, owner.deploymentId);
      return true;
    },
  };
}

const claimId = (deploymentId: string) => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  name: stagingClaimName(deploymentId),
});

function readOwner(found: LiveObject, path: string): StagingFound {
  if (!isOurs(found, path)) return { kind: "foreign" };
  try {
    return {
      kind: "owned",
      owner: stagingOwnerSchema.parse(JSON.parse(found.metadata.annotations?.[annotations.owner] ?? "")),
    };
  } catch {
    return { kind: "foreign" };
  }
}

/** How long a claim may take to go: as long as a pod uses it, it stays. */
const claimTimeoutMs = 120_000;

export async function removeClaim(cluster: Cluster, deploymentId: string): Promise<void> {
  const id = claimId(deploymentId);
  await cluster.delete(id);
  const deadline = Date.now() + claimTimeoutMs;
  while ((await cluster.find(id)) !== null) {
    if (Date.now() > deadline) {
      throw new SluiceError(
        "timeout",
        `the claim ${id.name} isn't removed after ${claimTimeoutMs} ms: something uses it`,
        {
          remedy: `${kubectl(cluster, "describe", id.kind, id.name)} tells what; remove that, then run the same again.`,
        },
      );
    }
    await pause(300);
  }
}

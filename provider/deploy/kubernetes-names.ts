import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { version } from "../../runtime/version";
import { type KubernetesOptions, kubernetesPrefix } from "./kubernetes-options";

/** With which we apply: fields that somebody else has set are known by another one. */
export const fieldManager = "pulumi-sluice";

export const annotations = {
  /** the process's folder, by which it is known; a claim's path */
  directory: `${kubernetesPrefix}directory`,
  /** of a claim of staging: whose it is, as JSON */
  owner: `${kubernetesPrefix}owner`,
  /** digest of configuration and pod: another is another pod */
  specification: `${kubernetesPrefix}specification`,
  /** provider that is at creating it, as JSON */
  tether: `${kubernetesPrefix}tether`,
} as const;

/** Pods that share a claim of one node have this label in common. */
export const stagingLabel = `${kubernetesPrefix}staging`;

/** A StatefulSet's pods have its name and a hash as a label, which has 63 characters at most. */
const nameLengthMax = 52;

/** Pure: a deployment's id as a part of names: `dbx_5_ab` → `dbx-5-ab`. What isn't ours under it is refused anyway. */
export const instanceName = (deploymentId: string): string =>
  shortName(deploymentId, nameLengthMax - "sluice--destination".length);

/** Pure: a name of a-z, 0-9 and hyphens, with a digest in it where the id alone would be too long. */
export function shortName(deploymentId: string, longest: number): string {
  const plain = deploymentId
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-+|-+$/g, "");
  if (plain !== "" && plain.length <= longest) return plain;
  const digest = createHash("sha256").update(deploymentId).digest("hex").slice(0, 6);
  return `${plain.slice(0, longest - 7)}-${digest}`.replace(/^-+/, "");
}

/** Pure: the deployment's id of a process's folder `<stateDir>/<id>/<role>`. */
export const deploymentIdOf = (directory: string) => basename(dirname(directory));

/** Pure: `/state/orders/gateway` → `sluice-orders-gateway`. */
export function workloadName(directory: string): string {
  return `sluice-${instanceName(deploymentIdOf(directory))}-${basename(directory)}`;
}

export const stagingClaimName = (deploymentId: string) => `sluice-${instanceName(deploymentId)}-staging`;
export const destinationClaimName = (deploymentId: string) => `sluice-${instanceName(deploymentId)}-destination`;

/** Pure: by which pods are selected; never changes. */
export function selectorLabels(deploymentId: string, component: string): Record<string, string> {
  return {
    "app.kubernetes.io/name": "sluice",
    "app.kubernetes.io/instance": instanceName(deploymentId),
    "app.kubernetes.io/component": component,
  };
}

export const managedBy = { "app.kubernetes.io/managed-by": "pulumi-sluice" } as const;

/** Pure: of every object of ours. */
export function objectLabels(
  deploymentId: string,
  component: string,
  { labels }: Pick<KubernetesOptions, "labels">,
): Record<string, string> {
  return {
    ...labels,
    ...selectorLabels(deploymentId, component),
    ...managedBy,
    "app.kubernetes.io/version": version,
  };
}

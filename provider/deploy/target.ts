import { z } from "zod";
import { completeSettings } from "../../runtime/databricks/workspace";
import { databricksDeployment } from "./databricks";
import { databricksJobsDeployment } from "./databricks-jobs";
import { databricksOptionsSchema } from "./databricks-options";
import type { Deployment } from "./deployment";
import { dockerDeployment } from "./docker";
import { dockerOptionsSchema, usesVolumes } from "./docker-options";
import { addressName, remoteHostOf } from "./engine-address";
import { kubernetesDeployment } from "./kubernetes";
import { kubernetesOptionsSchema } from "./kubernetes-options";
import { localDeployment } from "./local";
import { systemdDeployment } from "./systemd";
import { localOptionsSchema, systemdScope } from "./systemd-options";

/** Where the processes run; a further target is a further member here, and a case below. */
const targetSchema = z.discriminatedUnion("kind", [
  localOptionsSchema,
  dockerOptionsSchema,
  kubernetesOptionsSchema,
  databricksOptionsSchema,
]);
export type Target = z.infer<typeof targetSchema>;

/**
 * The input; that of a process of our own supervisor is left out, as it is in stacks of before it. An engine that DOCKER_HOST
 * has on another machine is kept, so that a delete finds it, and a preview tells when the variable names another; so are the
 * manager of a unit, and the workspace of apps and jobs.
 */
export const targetInputSchema = targetSchema.optional().transform((target): Target | undefined => {
  if (target?.kind === "docker") {
    const host = target.host ?? (target.socketPath === undefined ? remoteHostOf(process.env) : undefined);
    return host === undefined ? target : { ...target, host };
  }
  if (target?.kind === "kubernetes") return target;
  if (target?.kind === "databricks") return { ...target, workspace: completeSettings(target.workspace) };
  const scope = target === undefined ? null : systemdScope(target);
  return target === undefined || scope === null ? undefined : { ...target, scope };
});

/** The deployment of a resource's input `deployment`. */
export type DeploymentOf = (target: unknown) => Deployment;

const local = localDeployment();

export const targetOf = (input: unknown): Target => targetSchema.parse(input ?? { kind: "local" });

/**
 * Pure: what tells one place of staging from another; a deployment that moves there needs another staging. Folders of this
 * machine are one place, whatever runs there.
 */
export function stagingPlaceOf(input: unknown): unknown {
  const parsed = targetSchema.safeParse(input ?? { kind: "local" });
  return parsed.success ? placeOf(parsed.data) : input;
}

function placeOf(target: Target): string {
  switch (target.kind) {
    case "local":
      return "this machine";
    case "docker":
      return usesVolumes(target) ? `volumes of ${engineOf(target)}` : "this machine";
    case "kubernetes":
      return engineOf(target);
    case "databricks":
      // Whatever runs there.
      return engineOf({ ...target, job: undefined });
  }
}

/** Pure: what runs its processes; one engine's containers, and one namespace's pods, are replaced by itself. */
export function engineOf(input: unknown): string {
  const target = targetOf(input);
  switch (target.kind) {
    case "local":
      return `local ${systemdScope(target)}`;
    case "docker":
      return `docker ${addressName(target, {})}`;
    case "kubernetes": {
      const { namespace, kubeconfig = "the default kubeconfig", context = "its context" } = target;
      return `the namespace ${namespace} of ${kubeconfig}, ${context}`;
    }
    case "databricks":
      return `${target.job === undefined ? "apps" : "jobs"} of ${target.workspace.host ?? `the profile ${target.workspace.profile}`}`;
  }
}

export function deploymentOf(input: unknown): Deployment {
  const target = targetOf(input);
  switch (target.kind) {
    case "local": {
      const scope = systemdScope(target);
      return scope === null ? local : systemdDeployment({ scope, user: target.user });
    }
    case "docker":
      return dockerDeployment(target);
    case "kubernetes":
      return kubernetesDeployment(target);
    case "databricks": {
      const { job } = target;
      return job === undefined ? databricksDeployment(target) : databricksJobsDeployment({ ...target, job });
    }
  }
}

/** Pure: why this user can't remove what the process of a target has written; null when it can. */
export function findDropObstacle(input: unknown, uid: number | undefined): string | null {
  const target: Target = targetOf(input);
  switch (target.kind) {
    case "local":
    case "kubernetes":
    case "databricks":
      return null;
    case "docker": {
      // Those in volumes are dropped by a container of the same user.
      if (usesVolumes(target)) return null;
      const owner = target.user === undefined ? uid : Number(target.user.split(":")[0]);
      if (uid === 0 || owner === uid) return null;
      return `the container writes the tables as user ${owner}, and this one (${uid}) can't remove them\n  remedy: Leave deployment.user out, run Pulumi as user ${owner}, or leave onDelete out: the tables stay then.`;
    }
  }
}

import { createHash } from "node:crypto";
import { workFolder } from "../../runtime/config";
import { configExitCode } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { defaultImage } from "./docker-image";
import {
  annotations,
  deploymentIdOf,
  destinationClaimName,
  objectLabels,
  stagingClaimName,
  stagingLabel,
  workloadName,
} from "./kubernetes-names";
import type { ClusterObject } from "./kubernetes-object";
import type { KubernetesOptions } from "./kubernetes-options";
import { httpPortOf, type PodConfiguration, podPaths } from "./kubernetes-source";
import { isRunToEnd, type Workload } from "./kubernetes-workload";

/** Of the pods' whole life; `restricted` of the pod security standards, and nothing more. */
const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

interface PodParts {
  workload: Workload;
  configuration: PodConfiguration;
  secretName: string | null;
}

/** Pure: the pods of a process, with the digest of all that they are made of. */
export function podTemplate(
  spec: ProcessSpec,
  options: KubernetesOptions,
  { workload, configuration, secretName }: PodParts,
) {
  const { config, directory } = spec;
  const id = deploymentIdOf(directory);
  const [uid, gid] = options.user.split(":").map(Number);
  const { staging } = config;
  const isInClaim = staging?.kind !== "volume";
  const isOnOneNode = isInClaim && options.staging.accessMode === "ReadWriteOnce";
  const sharing: Record<string, string> = isInClaim ? { [stagingLabel]: stagingClaimName(id) } : {};
  const isRun = isRunToEnd(workload.kind);
  const get = (path: string) => ({ httpGet: { path, port: "http" } });
  const volumes: { name: string; mountPath: string; readOnly?: boolean; source: object }[] = [
    { name: "process", mountPath: directory, source: { emptyDir: { sizeLimit: "64Mi" } } },
    { name: "temporary", mountPath: "/tmp", source: { emptyDir: { sizeLimit: "64Mi" } } },
    {
      name: "configuration",
      mountPath: podPaths.configuration.replace(/\/[^/]*$/, ""),
      readOnly: true,
      source: { configMap: { name: workloadName(directory), items: [{ key: "config.json", path: "config.json" }] } },
    },
    ...(secretName === null
      ? []
      : [
          {
            name: "secrets",
            mountPath: podPaths.secrets,
            readOnly: true,
            source: {
              secret: {
                secretName,
                defaultMode: 0o440,
                items: Object.keys(configuration.secrets)
                  .sort()
                  .map((key) => ({ key, path: key })),
              },
            },
          },
        ]),
    isInClaim
      ? {
          name: "staging",
          mountPath: config.stagingPath,
          source: { persistentVolumeClaim: { claimName: stagingClaimName(id) } },
        }
      : // Files on their way to the volume, and copies: of this pod alone, and gone with it.
        { name: "local", mountPath: staging.localPath, source: { emptyDir: { sizeLimit: options.staging.size } } },
    ...(config.role === "applier" && config.destination.kind === "local"
      ? [
          {
            name: "destination",
            mountPath: workFolder(config),
            source: { persistentVolumeClaim: { claimName: destinationName(options, id) } },
          },
        ]
      : []),
  ];
  const container = {
    name: config.role,
    image: options.image ?? defaultImage,
    imagePullPolicy: options.imagePullPolicy,
    args: [config.role] as string[],
    env: [{ name: "SLUICE_CONFIG", value: podPaths.configuration }],
    ports: [{ name: "http", containerPort: httpPortOf(config), protocol: "TCP" }],
    ...(isRun
      ? {}
      : {
          readinessProbe: { ...get("/healthz"), periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 3 },
          // One that waits for its source is alive: only one that answers nothing for five minutes is started anew.
          livenessProbe: { ...get("/status"), periodSeconds: 30, timeoutSeconds: 10, failureThreshold: 10 },
        }),
    ...(options.resources === undefined ? {} : { resources: options.resources }),
    securityContext: containerSecurity,
    terminationMessagePolicy: "FallbackToLogsOnError",
    volumeMounts: volumes.map(({ name, mountPath, readOnly }) => ({
      name,
      mountPath,
      ...(readOnly === true ? { readOnly } : {}),
    })),
  };
  const pod = {
    serviceAccountName: workloadName(directory),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: Math.ceil(spec.stopTimeoutMs / 1_000),
    ...(isRun ? { restartPolicy: "Never" } : {}),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: uid,
      runAsGroup: gid,
      fsGroup: gid,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    ...(options.imagePullSecrets === undefined
      ? {}
      : { imagePullSecrets: options.imagePullSecrets.map((name) => ({ name })) }),
    ...(options.nodeSelector === undefined ? {} : { nodeSelector: options.nodeSelector }),
    ...(options.tolerations === undefined ? {} : { tolerations: options.tolerations }),
    // The first of them may run anywhere, as it has the label itself; a node's claim is then for those that join it there.
    ...(isOnOneNode
      ? {
          affinity: {
            podAffinity: {
              requiredDuringSchedulingIgnoredDuringExecution: [
                { labelSelector: { matchLabels: sharing }, topologyKey: "kubernetes.io/hostname" },
              ],
            },
          },
        }
      : {}),
    containers: [container],
    volumes: volumes.map(({ name, source }) => ({ name, ...source })),
  };
  const labels = { ...objectLabels(id, config.role, options), ...sharing };
  const digest = createHash("sha256").update(configuration.text).update(JSON.stringify(pod)).digest("hex");
  return {
    metadata: { labels, annotations: { ...options.annotations, [annotations.specification]: digest.slice(0, 32) } },
    spec: pod,
  };
}

function destinationName({ destinationClaim }: KubernetesOptions, deploymentId: string): string {
  return typeof destinationClaim === "string" ? destinationClaim : destinationClaimName(deploymentId);
}

export type PodTemplate = ReturnType<typeof podTemplate>;

/** Pure. */
export function workloadSpec(
  { kind, schedule }: Workload,
  name: string,
  selector: Record<string, string>,
  template: PodTemplate,
) {
  switch (kind) {
    case "StatefulSet":
      // Parallel: a pod that doesn't become ready is replaced by the next update all the same.
      return {
        replicas: 1,
        serviceName: name,
        podManagementPolicy: "Parallel",
        revisionHistoryLimit: 3,
        selector: { matchLabels: selector },
        template,
      };
    case "Deployment":
      // Two must never write the same tables.
      return {
        replicas: 1,
        strategy: { type: "Recreate" },
        revisionHistoryLimit: 3,
        selector: { matchLabels: selector },
        template,
      };
    case "CronJob":
      return {
        schedule: schedule?.cron,
        timeZone: schedule?.timeZone,
        concurrencyPolicy: "Forbid",
        successfulJobsHistoryLimit: 1,
        failedJobsHistoryLimit: 1,
        jobTemplate: { metadata: { labels: template.metadata.labels }, spec: jobSpec(template) },
      };
    case "Job":
      return jobSpec(template);
  }
}

/** Tried again, but for a configuration that no second try helps. */
function jobSpec(template: PodTemplate) {
  const containerName = template.spec.containers[0].name;
  return {
    backoffLimit: 3,
    podFailurePolicy: {
      rules: [{ action: "FailJob", onExitCodes: { containerName, operator: "In", values: [configExitCode] } }],
    },
    template,
  };
}

/** Pure: the digest of the pods of a process's workload, its last object. */
export function specificationOf({ objects }: { objects: readonly ClusterObject[] }): string {
  const text = JSON.stringify((objects.at(-1) as ClusterObject).spec);
  return new RegExp(`"${annotations.specification}":"(\\w+)"`).exec(text)?.[1] ?? "";
}

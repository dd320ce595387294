import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { basename } from "node:path";
import { workFolder } from "../../runtime/config";
import { configExitCode, SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { defaultImage } from "./docker-image";
import {
  annotations,
  deploymentIdOf,
  destinationClaimName,
  objectLabels,
  selectorLabels,
  stagingClaimName,
  stagingLabel,
  workloadName,
} from "./kubernetes-names";
import type { KubernetesOptions } from "./kubernetes-options";
import { httpPortOf, type PodConfiguration, podConfiguration, podPaths, podProblem } from "./kubernetes-source";
import { apiVersions, isRunToEnd, type Workload, workloadOf } from "./kubernetes-workload";

/** An object as it is applied. */
export interface ClusterObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace: string; labels: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}

export interface ProcessObjects {
  /** in the order in which they are applied; the workload is the last */
  objects: ClusterObject[];
  workload: Workload;
  configuration: PodConfiguration;
  /** the Secret that the pod reads; null when it needs none */
  secret: { name: string; isOurs: boolean } | null;
}

/** Of the pods' whole life; `restricted` of the pod security standards, and nothing more. */
const containerSecurity = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ["ALL"] },
};

/**
 * Pure: all that one process is made of, but for the content of its Secret and the claim of staging.
 * @throws SluiceError `config` for what can't run in a pod
 */
export function processObjects(spec: ProcessSpec, options: KubernetesOptions): ProcessObjects {
  const problem = podProblem(spec, options.destinationClaim !== undefined);
  if (problem !== null) throw problem;
  const workload = workloadOf(spec.config);
  const configuration = podConfiguration(spec, workload.kind === "CronJob");
  const name = workloadName(spec.directory);
  const isOurs = options.existingSecret === undefined;
  const hasSecrets = Object.keys(configuration.secrets).length > 0;
  const isGiven = Object.values(configuration.secrets).some(({ kind }) => kind === "value");
  if (isGiven && !isOurs) {
    throw new SluiceError("config", `a secret of source is a value, and ${options.existingSecret} has none for it`, {
      remedy:
        'Give { env: "NAME" } or { file: "/path" }, and the Secret a key of this name; or leave existingSecret out.',
    });
  }
  const secret = hasSecrets ? { name: options.existingSecret ?? name, isOurs } : null;
  const make = maker(spec, options);
  const pod = podTemplate(spec, options, { workload, configuration, secretName: secret?.name ?? null });
  const isServed = options.service && !isRunToEnd(workload.kind);
  const selector = selectorLabels(deploymentIdOf(spec.directory), basename(spec.directory));
  const objects = [
    make("v1", "ServiceAccount", { automountServiceAccountToken: false }),
    make("v1", "ConfigMap", { data: { "config.json": configuration.text } }),
    ...(options.networkPolicy
      ? [make("networking.k8s.io/v1", "NetworkPolicy", { spec: networkPolicy(spec, selector, isServed) })]
      : []),
    ...destinationClaims(spec, options),
    ...(isRunToEnd(workload.kind)
      ? []
      : [
          make("policy/v1", "PodDisruptionBudget", {
            spec: {
              maxUnavailable: options.maxUnavailable,
              unhealthyPodEvictionPolicy: "AlwaysAllow",
              selector: { matchLabels: selector },
            },
          }),
        ]),
    ...(isServed
      ? [
          make("v1", "Service", {
            spec: {
              type: "ClusterIP",
              selector,
              ports: [{ name: "http", port: httpPortOf(spec.config), targetPort: "http", protocol: "TCP" }],
            },
          }),
        ]
      : []),
    ...(isServed && options.serviceMonitor !== undefined
      ? [
          make(
            "monitoring.coreos.com/v1",
            "ServiceMonitor",
            {
              spec: {
                selector: { matchLabels: selector },
                endpoints: [{ port: "http", path: "/metrics", interval: options.serviceMonitor.interval }],
              },
            },
            options.serviceMonitor.labels,
          ),
        ]
      : []),
    make(apiVersions[workload.kind], workload.kind, { spec: workloadSpec(workload, name, selector, pod) }),
  ];
  return { objects, workload, configuration, secret };
}

/** Pure: of the pod's Secret, where it is ours. */
export function secretObject(
  spec: ProcessSpec,
  options: KubernetesOptions,
  data: Record<string, string>,
): ClusterObject {
  const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")]);
  return maker(spec, options)("v1", "Secret", { type: "Opaque", data: Object.fromEntries(encoded) });
}

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

function destinationClaims({ directory, config }: ProcessSpec, options: KubernetesOptions): ClusterObject[] {
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

function maker({ directory }: ProcessSpec, options: KubernetesOptions) {
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

function workspacesOf(config: ProcessSpec["config"]): { host?: string }[] {
  const { staging } = config;
  const staged = staging?.kind === "volume" ? [staging.workspace] : [];
  const written = config.role === "applier" && config.destination.kind !== "local" ? [config.destination] : [];
  return [...staged, ...written];
}

/** Of a workspace, or any other address of HTTPS. */
const portOf = (url: string) => Number(new URL(url).port) || 443;

/** Names are resolved wherever the cluster's DNS is; a host that is a name may have any address. */
function networkPolicy({ config }: ProcessSpec, selector: Record<string, string>, isServed: boolean) {
  const tcp = (port: number) => ({ protocol: "TCP", port });
  const dns = { ports: [{ protocol: "UDP", port: 53 }, tcp(53)] };
  const servers = config.role === "gateway" ? [config.source, ...(config.source.failoverHosts ?? [])] : [];
  const egress = servers.map(({ host, port = 5432 }) => ({
    ...(isIP(host) === 0 ? {} : { to: [{ ipBlock: { cidr: `${host}/${isIP(host) === 6 ? 128 : 32}` } }] }),
    ports: [tcp(port)],
  }));
  // A profile's host is known where it is read; all workspaces are at one port.
  const workspaces = workspacesOf(config).map(({ host = "https://any" }) => portOf(host));
  egress.push(...[...new Set(workspaces)].map((port) => ({ ports: [tcp(port)] })));
  return {
    podSelector: { matchLabels: selector },
    policyTypes: ["Ingress", "Egress"],
    ingress: isServed ? [{ ports: [tcp(httpPortOf(config))] }] : [],
    egress: egress.length === 0 ? [] : [dns, ...egress],
  };
}

interface PodParts {
  workload: Workload;
  configuration: PodConfiguration;
  secretName: string | null;
}

function podTemplate(spec: ProcessSpec, options: KubernetesOptions, { workload, configuration, secretName }: PodParts) {
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

function workloadSpec(
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

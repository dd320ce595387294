import { basename } from "node:path";
import { SluiceError } from "../../runtime/errors";
import type { ProcessSpec } from "./deployment";
import { destinationClaims } from "./kubernetes-claims";
import { deploymentIdOf, selectorLabels, workloadName } from "./kubernetes-names";
import { networkPolicy } from "./kubernetes-network";
import { type ClusterObject, objectMaker } from "./kubernetes-object";
import type { KubernetesOptions } from "./kubernetes-options";
import { podTemplate, workloadSpec } from "./kubernetes-pod";
import { httpPortOf, type PodConfiguration, podConfiguration, podProblem } from "./kubernetes-source";
import { apiVersions, isRunToEnd, type Workload, workloadOf } from "./kubernetes-workload";

export interface ProcessObjects {
  /** in the order in which they are applied; the workload is the last */
  objects: ClusterObject[];
  workload: Workload;
  configuration: PodConfiguration;
  /** the Secret that the pod reads; null when it needs none */
  secret: { name: string; isOurs: boolean } | null;
}

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
  const make = objectMaker(spec, options);
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
  return objectMaker(spec, options)("v1", "Secret", { type: "Opaque", data: Object.fromEntries(encoded) });
}

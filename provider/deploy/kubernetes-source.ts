import { basename } from "node:path";
import { type RuntimeConfigInput, workFolder } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { isLoopback } from "../../runtime/source-config";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import { originOf, placedReferences } from "./process-references";
import { type SecretOrigin, type SecretReader, secretContent } from "./secret-origin";

/** Where a pod has its files; none of these folders is written to. */
export const podPaths = {
  configuration: "/etc/sluice/process/config.json",
  secrets: "/etc/sluice/secrets",
} as const;

export interface PodConfiguration {
  config: RuntimeConfigInput;
  /** as the pod reads it */
  text: string;
  /** the Secret's keys, each with where its content is */
  secrets: Record<string, SecretOrigin>;
}

/** Default port of /healthz, /status and /metrics: a pod has all ports for itself. */
const podPort = 9464;

/** Pure: port of a process's status in its pod. */
export const httpPortOf = ({ http }: RuntimeConfigInput) => ((http?.port ?? 0) > 0 ? (http?.port as number) : podPort);

/**
 * Pure: the configuration as a process reads it in its pod: secrets and the files that source, staging and destination name are files of
 * one Secret, and its status is served to the node.
 * @param isRun one run of a schedule that the cluster keeps
 * @throws SluiceError `config`
 */
export function podConfiguration({ config, directory }: ProcessSpec, isRun: boolean): PodConfiguration {
  const secrets: Record<string, SecretOrigin> = {};
  const fileOf = (key: string, origin: SecretOrigin): string => {
    if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key)) {
      throw new SluiceError("config", `${key} can't be the key of a Secret`, {
        remedy: "Give the file, or the variable, a name of the characters a-z, A-Z, 0-9, -, _ and .",
      });
    }
    const found = secrets[key];
    if (found !== undefined && JSON.stringify(found) !== JSON.stringify(origin)) {
      throw new SluiceError("config", `two files or variables that source or staging names would have the key ${key}`, {
        remedy: "Name one of them otherwise: they are keys of one Secret, by the last part of their path.",
      });
    }
    secrets[key] = origin;
    return `${podPaths.secrets}/${key}`;
  };
  const own: Record<string, unknown> = {
    ...config,
    http: { port: httpPortOf(config), host: "0.0.0.0" },
    ...placedReferences(
      { config, directory },
      {
        secret: (origin) => ({ file: fileOf(origin.kind === "file" ? basename(origin.path) : origin.name, origin) }),
        file: (setting, path) => [setting, fileOf(basename(path), originOf(path, directory))],
      },
    ),
  };
  if (isRun) own.trigger = { kind: "once" };
  return { config, text: renderConfiguration(own as unknown as RuntimeConfigInput), secrets };
}

const pod: SecretReader = {
  reader: "pod",
  orHave: (name) => `set deployment.existingSecret to a Secret with the key ${name}`,
  orName: "name a Secret that has it: deployment.existingSecret",
};

/** Content of the pod's Secret, by key. @throws SluiceError `config` */
export function secretData(spec: ProcessSpec, origins: Record<string, SecretOrigin>): Record<string, string> {
  return Object.fromEntries(Object.entries(origins).map(([key, origin]) => [key, secretContent(spec, origin, pod)]));
}

/** Why pods don't write to a warehouse where their staging is in a claim. */
export const podsWithoutWarehouse = {
  reason: "pods that stage in a claim can't write to a warehouse, which reads none",
  remedy: 'Stage in a Unity Catalog volume, the Gateway\'s staging: { kind: "volume", … }, and give it here too.',
};

/** Pure: what can't run in a pod, whatever the cluster; null when all can. */
export function podProblem({ config }: Pick<ProcessSpec, "config">, hasDestination: boolean): SluiceError | null {
  if (config.role === "gateway" && isLoopback(config.source.host)) {
    return new SluiceError("config", `the source's host ${config.source.host} is the pod itself, in a pod`, {
      remedy: "Give the host as the cluster and this machine both reach it.",
    });
  }
  if (config.role !== "applier") return null;
  if (config.destination.kind !== "local") {
    const { reason, remedy } = podsWithoutWarehouse;
    return config.staging?.kind === "volume" ? null : new SluiceError("config", reason, { remedy });
  }
  if (!hasDestination) {
    return new SluiceError("config", `the destination ${workFolder(config)} would be lost with its pod`, {
      remedy:
        'Set deployment.destinationClaim to the name of a PersistentVolumeClaim, or { size: "100Gi" } to have one made.',
    });
  }
  return null;
}

import { createHash } from "node:crypto";
import { basename, dirname, isAbsolute, join } from "node:path";
import type { ContainerCreateOptions, MountSettings } from "dockerode";
import { type RuntimeConfigInput, workFolder } from "../../runtime/config";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import { type DockerOptions, labelPrefix, usesVolumes } from "./docker-options";
import { processFiles } from "./process-files";
import { originOf, placedReferences } from "./process-references";
import type { SecretOrigin } from "./secret-origin";

export const labels = {
  directory: `${labelPrefix}directory`,
  role: `${labelPrefix}role`,
  /** the configuration as the provider wants it: without what is different in a container */
  configuration: `${labelPrefix}configuration`,
  /** digest of all by which a container differs from another */
  specification: `${labelPrefix}specification`,
  /** of volumes: `uid:gid` whose files they have */
  user: `${labelPrefix}user`,
  /** of volumes with a staging log: its owner */
  deployment: `${labelPrefix}deployment`,
  incarnation: `${labelPrefix}incarnation`,
} as const;

/** `/state/orders/gateway` → `sluice-orders-gateway`. */
export function containerName(directory: string): string {
  return `sluice-${basename(dirname(directory))}-${basename(directory)}`;
}

/** The volume of a path that containers see: `/state/orders/staging` → `sluice-orders-staging`. */
export const volumeName = containerName;

/** The volume of the destination's path, where the options name none: the same path is the same volume. */
export function destinationVolume(path: string, options: Pick<DockerOptions, "destinationVolume">): string {
  return options.destinationVolume ?? `sluice${path.replaceAll(/[^a-zA-Z0-9_.]+/g, "-")}`;
}

/** The file, in the process's folder, of an environment variable's secret: no container has it in its environment. */
export const variableFile = (variable: string) => `env-${variable}.secret`;

/** The file, in the process's folder, of one of the machine that runs Pulumi, which is another than the engine's. */
export function broughtFile(path: string): string {
  return `file-${createHash("sha256").update(path).digest("hex").slice(0, 8)}-${basename(path)}.secret`;
}

/** What is in them is no input. */
export const isVariableFile = (name: string) => name.startsWith("env-") || name.startsWith("file-");

/**
 * Pure: the configuration as the process in the container reads it. A secret of an environment variable is in a file, and
 * a published port is served to outside of the container. All paths are the same inside and outside; of an engine's
 * volumes, files of this machine are in the process's folder.
 */
export function containerConfiguration(
  { config, directory }: Pick<ProcessSpec, "config" | "directory">,
  options: DockerOptions,
): string {
  const isBrought = usesVolumes(options);
  const fileOf = (origin: SecretOrigin): string => {
    if (origin.kind === "file") return isBrought ? join(directory, broughtFile(origin.path)) : origin.path;
    return join(directory, origin.kind === "value" ? origin.name : variableFile(origin.name));
  };
  const own = placedReferences(
    { config, directory },
    {
      secret: (origin) => ({ file: fileOf(origin) }),
      file: (setting, path) => [setting, fileOf(originOf(path, directory))],
    },
  );
  const isPublished = options.network !== "host" && (config.http?.port ?? 0) > 0;
  const http = isPublished ? { http: { ...config.http, host: "0.0.0.0" } } : {};
  return renderConfiguration({ ...config, ...own, ...http } as RuntimeConfigInput);
}

/** Pure: files outside of its own folders that a process reads: secrets, certificates. */
export function filesRead(spec: Pick<ProcessSpec, "config" | "directory">): string[] {
  const paths = new Set<string>();
  const add = (origin: SecretOrigin) => {
    if (origin.kind === "file" && isAbsolute(origin.path)) paths.add(origin.path);
  };
  placedReferences(spec, {
    secret: (origin) => {
      add(origin);
      return { file: "" };
    },
    file: (setting, path) => {
      add(originOf(path, spec.directory));
      return [setting, path];
    },
  });
  return [...paths].sort();
}

/** Pure: folders that the process writes to. */
export function foldersWritten({ directory, config }: ProcessSpec): string[] {
  const lake = config.role === "applier" ? [workFolder(config)] : [];
  return [...new Set([directory, ...stagingFoldersOf(config), ...lake])];
}

/** None where staging is in a Unity Catalog volume: what is on its way there is in the process's folder. */
export const stagingFoldersOf = ({ staging, stagingPath }: RuntimeConfigInput) =>
  staging?.kind === "volume" ? [] : [stagingPath];

/** Pure: folders of this machine, at their own paths, and files that it reads. */
function bindMounts(spec: ProcessSpec): MountSettings[] {
  const bind = (path: string, isReadOnly: boolean) => ({
    Type: "bind" as const,
    Source: path,
    Target: path,
    ReadOnly: isReadOnly,
  });
  return [...foldersWritten(spec).map((path) => bind(path, false)), ...filesRead(spec).map((path) => bind(path, true))];
}

/** Pure: volumes of the engine, by the paths that they are at. One that the options name isn't ours. */
export function volumesOf(
  { directory, config }: Pick<ProcessSpec, "directory" | "config">,
  options: DockerOptions,
): { name: string; path: string; isOurs: boolean }[] {
  const own = [directory, ...stagingFoldersOf(config)].map((path) => ({ name: volumeName(path), path, isOurs: true }));
  // An applier's folder of its own is the process's where its tables aren't here.
  if (config.role !== "applier" || config.destination.kind !== "local") return own;
  const path = workFolder(config);
  return [...own, { name: destinationVolume(path, options), path, isOurs: options.destinationVolume === undefined }];
}

/** Pure: what is in the image at these paths isn't copied. */
export const volumeMount = ({ name, path }: { name: string; path: string }): MountSettings => ({
  Type: "volume",
  Source: name,
  Target: path,
  ReadOnly: false,
  VolumeOptions: { NoCopy: true } as MountSettings["VolumeOptions"],
});

export interface ContainerPlace {
  /** of the image's content */
  imageId: string;
  /** `uid:gid` in the container */
  user: string;
  /** the engine maps users, and must not for this container */
  mapsUsers: boolean;
}

/** Pure: a container without privileges, that has its folders, and nothing else of the machine. */
export function containerOptions(
  spec: ProcessSpec,
  options: DockerOptions,
  place: ContainerPlace,
): ContainerCreateOptions {
  const { config, directory } = spec;
  const isOnce = config.role === "applier" && config.trigger?.kind === "once";
  const port = config.http?.port ?? 0;
  const isPublished = options.network !== "host" && port > 0;
  const created: ContainerCreateOptions = {
    Image: place.imageId,
    User: place.user,
    Cmd: [config.role],
    Env: [`SLUICE_CONFIG=${join(directory, processFiles.configuration)}`],
    WorkingDir: directory,
    StopTimeout: Math.ceil(spec.stopTimeoutMs / 1_000),
    Labels: {
      ...options.labels,
      [labels.directory]: directory,
      [labels.role]: config.role,
      [labels.configuration]: renderConfiguration(config),
    },
    ...(isPublished ? { ExposedPorts: { [`${port}/tcp`]: {} } } : {}),
    HostConfig: {
      // One that ended with 0 has done its work; all others go on, also after the machine was started anew.
      RestartPolicy: { Name: isOnce ? "on-failure" : "unless-stopped" },
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      Init: true,
      PidsLimit: 512,
      Tmpfs: { "/tmp": "rw,noexec,nosuid,nodev,size=64m" },
      LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
      Mounts: usesVolumes(options) ? volumesOf(spec, options).map(volumeMount) : bindMounts(spec),
      ...(place.mapsUsers ? { UsernsMode: "host" } : {}),
      ...(options.network === undefined ? {} : { NetworkMode: options.network }),
      ...(options.memoryBytesMax === undefined
        ? {}
        : { Memory: options.memoryBytesMax, MemorySwap: options.memoryBytesMax }),
      ...(options.cpus === undefined ? {} : { NanoCpus: Math.round(options.cpus * 1e9) }),
      ...(isPublished ? { PortBindings: { [`${port}/tcp`]: [{ HostIp: "127.0.0.1", HostPort: String(port) }] } } : {}),
    },
  };
  const digest = createHash("sha256").update(JSON.stringify(created)).digest("hex");
  return { ...created, Labels: { ...created.Labels, [labels.specification]: digest } };
}

/** Pure: an exit code as a sentence's end. `memoryMax`: in bytes, or as Kubernetes writes it. */
export function exitText(code: number, isOutOfMemory: boolean, memoryMax: number | string | undefined): string {
  if (isOutOfMemory || code === 137) {
    const given = typeof memoryMax === "number" ? `${memoryMax} bytes` : memoryMax;
    const limit = given === undefined ? "the machine's memory" : `its limit of ${given}`;
    const why = isOutOfMemory ? `it needed more than ${limit}` : `killed: out of ${limit}, or by somebody`;
    return `exit 137 (${why})`;
  }
  return `exit ${code}`;
}

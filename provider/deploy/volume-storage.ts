import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { SluiceError } from "../../runtime/errors";
import { identifyProcess, isAlive, processIdentitySchema } from "../../runtime/process-identity";
import type { StatusDocument } from "../../runtime/status";
import { secretsOf } from "./container-folders";
import { broughtFile, containerName, filesRead, labels, volumeMount, volumeName, volumesOf } from "./container-spec";
import type { ContainerStorage, FolderContent, User } from "./container-storage";
import type { ProcessSpec } from "./deployment";
import { ask, type Engine } from "./docker-engine";
import type { DockerOptions } from "./docker-options";
import { ensureVolume, findVolume, isVolumeOf, removeVolume, volumeTaken } from "./engine-volumes";
import { withFilesContainer } from "./files-container";
import { containerTether } from "./folder-storage";
import { digestOf, processFiles } from "./process-files";
import { dropFromHere } from "./table-drop";
import { getFiles, privateFile, putFiles } from "./volume-archive";
import { ownerOf, ownerText } from "./volume-owner";
import { volumeStaging } from "./volume-staging";
import { dropInVolumes } from "./volume-table-drop";

/**
 * Volumes of an engine, at the paths that the configuration has, for engines on other machines. Files go in and out as
 * archives by the engine's API, so that a secret is never in an environment, an argument or a label.
 */
export function volumeStorage(engine: Engine, options: DockerOptions): ContainerStorage {
  return {
    isHere: false,
    staging: volumeStaging(engine),
    user: async () => {
      const owner = ownerOf(options);
      return { inside: owner, outside: owner, mapsUsers: false };
    },
    check: (spec) => checkVolumes(engine, options, spec),
    secretsOf: (spec) => ({ ...secretsOf(spec), ...broughtFiles(spec) }),
    prepare: (spec, imageId, user) => prepareVolumes(engine, options, spec, imageId, user),
    read: (directory, container) => readFolder(engine, directory, container),
    async write(directory, container, { configuration, secrets }, { inside }) {
      const found = await readFolder(engine, directory, container);
      const changed = Object.entries(secrets).filter(([name, text]) => found?.secretDigests[name] !== digestOf(text));
      const files = changed.map(([name, content]) => privateFile(name, content));
      if (configuration !== undefined) {
        files.push(privateFile(processFiles.configuration, configuration));
        // What can't be read is no status.
        files.push({ name: processFiles.status, content: "", mode: 0o600 });
      }
      if (files.length > 0) await putFiles(engine, container, directory, files, inside);
    },
    async prune(directory, container, secrets, { inside }) {
      const found = await readFolder(engine, directory, container);
      const names = Object.keys(found?.secretDigests ?? {}).filter((name) => !(name in secrets));
      // An archive removes no file: an empty one is none.
      const files = names.map((name) => privateFile(name, ""));
      if (files.length > 0) await putFiles(engine, container, directory, files, inside);
    },
    async remove(directory) {
      await removeVolume(engine, volumeName(directory), directory);
    },
    tie: (directory, container, { inside }) => {
      const content = JSON.stringify({ ...identifyProcess(process.pid), host: hostname() });
      return putFiles(engine, container, directory, [privateFile(containerTether, content)], inside);
    },
    async untie(directory) {
      const name = containerName(directory);
      await putFiles(engine, name, directory, [privateFile(containerTether, "")], ownerOf(options));
    },
    sweep: (stateDir, end) => sweepVolumes(engine, stateDir, end),
    dropTables: (spec) =>
      spec.config.role === "applier" && spec.config.destination.kind === "databricks"
        ? dropFromHere(spec)
        : dropInVolumes(engine, options, spec),
  };
}

async function checkVolumes(engine: Engine, options: DockerOptions, spec: ProcessSpec): Promise<void> {
  broughtFiles(spec);
  for (const { name, path, isOurs } of volumesOf(spec, options)) {
    const found = await findVolume(engine, name);
    if (found === null && !isOurs) {
      throw new SluiceError("missing-object", `the container engine has no volume ${name}`, {
        remedy: `Run docker volume create ${name}, or leave deployment.destinationVolume out.`,
      });
    }
    if (found !== null && isOurs && !isVolumeOf(found, path)) throw volumeTaken(name);
    const maker = path === spec.directory ? found?.Labels?.[labels.user] : undefined;
    if (maker !== undefined && maker !== ownerText(ownerOf(options))) {
      throw new SluiceError("config", `the volume ${name} has files of user ${maker}, and deployment.user is another`, {
        remedy: `Set deployment.user to "${maker}"; a new deploymentId has a new volume.`,
      });
    }
  }
}

/** Files of this machine that the process reads: their content, by the name that they have in its folder. */
function broughtFiles(spec: ProcessSpec): Record<string, string> {
  const read = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch (cause) {
      throw new SluiceError("config", `the file ${path}, which the container is to read, can't be read here`, {
        remedy:
          "Files of a container on another machine are brought in from the machine that runs Pulumi: put it there.",
        cause,
      });
    }
  };
  return Object.fromEntries(filesRead(spec).map((path) => [broughtFile(path), read(path)]));
}

async function prepareVolumes(
  engine: Engine,
  options: DockerOptions,
  spec: ProcessSpec,
  imageId: string,
  { inside }: User,
): Promise<void> {
  await checkVolumes(engine, options, spec);
  const volumes = volumesOf(spec, options);
  for (const { name, path, isOurs } of volumes) {
    const isStaging = path === spec.config.stagingPath;
    if (isStaging && (await findVolume(engine, name)) === null) {
      throw new SluiceError("missing-object", `the container engine has no volume ${name} with the staging log`, {
        remedy:
          "Gateway and pipeline are to have the same deployment; where the volume was removed: pulumi refresh, then pulumi up.",
      });
    }
    if (isOurs) await ensureVolume(engine, name, path, { [labels.user]: ownerText(inside) });
  }
  // An engine's new volume is root's. What isn't ours stays as it is.
  const folders = volumes.filter(({ isOurs }) => isOurs);
  const made = { Image: imageId, HostConfig: { NetworkMode: "none", Mounts: volumes.map(volumeMount) } };
  await withFilesContainer(engine, spec.directory, made, (container) =>
    putFiles(
      engine,
      container,
      "/",
      folders.map(({ path }) => ({
        name: `${path.slice(1)}/`,
        content: null,
        mode: path === spec.directory || path === spec.config.stagingPath ? 0o700 : 0o755,
      })),
      inside,
    ),
  );
}

const isWanted = (name: string) =>
  name === processFiles.configuration || name === processFiles.status || name.endsWith(".secret");

async function readFolder(engine: Engine, directory: string, container: string): Promise<FolderContent | null> {
  const files = await getFiles(engine, container, directory, isWanted);
  if (files === null) return null;
  const secretDigests: Record<string, string> = {};
  for (const { name, content, mode } of files.values()) {
    if (!name.endsWith(".secret") || content === null || content === "") continue;
    secretDigests[name] = (mode & 0o077) === 0 ? digestOf(content) : "";
  }
  return {
    configuration: files.get(processFiles.configuration)?.content ?? null,
    status: parsed(files.get(processFiles.status)?.content),
    secretDigests,
  };
}

function parsed(text: string | null | undefined): StatusDocument | null {
  try {
    return JSON.parse(text ?? "") as StatusDocument;
  } catch {
    return null;
  }
}

/** Of this machine's providers: of another's it can't be known here whether it lives. */
async function sweepVolumes(
  engine: Engine,
  stateDir: string,
  end: (directory: string) => Promise<void>,
): Promise<void> {
  const containers = await ask(engine, "looking for gateways that nobody knows", () =>
    engine.docker.listContainers({ all: true, filters: { label: [`${labels.role}=gateway`] } }),
  );
  for (const { Id, Labels } of containers) {
    const directory = Labels[labels.directory];
    if (directory === undefined || !directory.startsWith(`${stateDir}/`)) continue;
    const files = await getFiles(engine, Id, `${directory}/${containerTether}`, () => true).catch(() => null);
    const text = [...(files?.values() ?? [])][0]?.content ?? "";
    if (text === "") continue;
    const { host, ...identity } = JSON.parse(text) as { host?: string };
    const provider = processIdentitySchema.safeParse(identity);
    if (!provider.success || host !== hostname() || isAlive(provider.data)) continue;
    const staging = stagingOf(Labels[labels.configuration]);
    await end(directory);
    if (staging !== null) await removeVolume(engine, volumeName(staging), staging);
  }
}

function stagingOf(configuration: string | undefined): string | null {
  try {
    return (JSON.parse(configuration ?? "") as { stagingPath?: string }).stagingPath ?? null;
  } catch {
    return null;
  }
}

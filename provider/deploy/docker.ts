import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ContainerInspectInfo } from "dockerode";
import { describeError, SluiceError } from "../../runtime/errors";
import { isPortTaken } from "../lifecycle/local-place";
import { defaultOwner, prepareFolders, secretsOf, writeConfiguration, writeSecrets } from "./container-folders";
import { inspectionOf, waitUntilHealthy } from "./container-health";
import { containerConfiguration, containerName, containerOptions, filesRead, labels } from "./container-spec";
import type { Applied, Deployment, ProcessSpec } from "./deployment";
import { ask, type Engine, find, openEngine, statusOf } from "./docker-engine";
import { findImageProblem, resolveImage } from "./docker-image";
import type { DockerOptions } from "./docker-options";
import { type Owner, pruneSecrets } from "./private-files";
import { processFiles, readStatus, readText, removeProcessFolder } from "./process-files";
import { stagingFolders } from "./staging-folder";
import { sweepAbandoned, tether, untether } from "./tether";

/**
 * Containers of an engine on this machine, one for each process, known by their labels; their folders are bound at the
 * paths that they have here.
 */
export function dockerDeployment(options: DockerOptions): Deployment {
  const engine = openEngine(options);
  return {
    isHere: true,
    staging: stagingFolders,
    async preflight(spec) {
      try {
        await ask(engine, "looking for the container engine", () => engine.docker.ping());
        const problem = await findImageProblem(engine, options);
        if (problem !== null) return problem;
        await requireNetwork(engine, options);
        if (spec !== null) await findOwn(engine, spec.directory, containerName(spec.directory));
        return null;
      } catch (error) {
        return error as SluiceError;
      }
    },
    async apply(spec, { tethered = false } = {}) {
      const directory = tethered ? spec.directory : null;
      return applyContainer(engine, options, spec, () => directory !== null && tether(directory, containerTether));
    },
    keep: async (directory) => untether(directory, containerTether),
    status: async (directory) => readStatus(directory),
    sweep: (stateDir, stopTimeoutMs) =>
      sweepAbandoned(stateDir, (directory) => removeAll(engine, directory, stopTimeoutMs), containerTether),
    async inspect(directory) {
      const name = containerName(directory);
      const found = await inspectContainer(engine, name);
      if (found === null) return { kind: "absent" };
      if (!isOwn(found, directory)) return { kind: "foreign", what: `the container ${name}` };
      return inspectionOf(found, directory, options);
    },
    remove: (directory, stopTimeoutMs) => removeAll(engine, directory, stopTimeoutMs),
  };
}

/** A container can't see the provider: it doesn't end by itself, as a process does, but is swept. */
const containerTether = "container-tether.json";

async function removeAll(engine: Engine, directory: string, stopTimeoutMs: number): Promise<void> {
  for (const name of [containerName(directory), nextName(directory)]) {
    const found = await inspectContainer(engine, name);
    if (found === null || !isOwn(found, directory)) continue;
    await stopContainer(engine, found, stopTimeoutMs);
    await removeContainer(engine, found);
  }
  removeProcessFolder(directory);
}

/** Its successor, until it is healthy. */
const nextName = (directory: string) => `${containerName(directory)}-next`;

async function applyContainer(
  engine: Engine,
  options: DockerOptions,
  spec: ProcessSpec,
  tie: () => void,
): Promise<Applied> {
  const { directory } = spec;
  const name = containerName(directory);
  const before = await findOwn(engine, directory, name);
  const image = await resolveImage(engine, options);
  await requireNetwork(engine, options);
  const { owner, mapsUsers } = await userOf(engine, options);
  const place = { imageId: image.id, user: `${owner.inside.uid}:${owner.inside.gid}`, mapsUsers };
  const wanted = containerOptions(spec, options, place);
  const configuration = containerConfiguration(spec, options);
  const secrets = secretsOf(spec);
  const applied = { imageDigest: image.digest };
  if (before !== null && isSettled(before) && isSame(before, wanted.Labels) && isWritten(directory, configuration)) {
    writeSecrets(directory, secrets, owner.outside);
    return applied;
  }
  for (const path of filesRead(spec)) {
    if (existsSync(path)) continue;
    throw new SluiceError("config", `there is no file ${path}, which the container is to read`, {
      remedy: `Put the file there, on the machine that runs Pulumi, or correct the setting of source that names it.`,
    });
  }
  const left = await findOwn(engine, directory, nextName(directory));
  if (left !== null) await removeContainer(engine, left);
  prepareFolders(spec, owner.outside);
  await ask(engine, `making the container ${name}`, () =>
    engine.docker.createContainer({ ...wanted, name: nextName(directory) }),
  );
  const next = (await inspectContainer(engine, nextName(directory))) as ContainerInspectInfo;
  const former = readText(join(directory, processFiles.configuration));
  try {
    if (before !== null) await stopContainer(engine, before, spec.stopTimeoutMs);
    writeSecrets(directory, secrets, owner.outside);
    writeConfiguration(spec, configuration, owner.outside);
    tie();
    await startContainer(engine, next, spec);
    await waitUntilHealthy(engine, next.Id, spec, options);
  } catch (error) {
    await removeContainer(engine, next);
    if (before === null) throw error;
    throw await goBack(engine, before, spec, former, owner.outside, error);
  }
  pruneSecrets(directory, secrets);
  if (before !== null) await removeContainer(engine, before);
  await ask(engine, `naming the container ${name}`, () => engine.docker.getContainer(next.Id).rename({ name }));
  return applied;
}

/** The former container runs again; its settings are as they were. */
async function goBack(
  engine: Engine,
  before: ContainerInspectInfo,
  spec: ProcessSpec,
  configuration: string | null,
  owner: Owner,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof SluiceError)) return error;
  try {
    if (configuration !== null) writeConfiguration(spec, configuration, owner);
    await ask(engine, "starting the former container", () => engine.docker.getContainer(before.Id).start());
    return error;
  } catch (second) {
    const message = `${error.message}\n  nor does its former container run: ${describeError(second)}`;
    return new SluiceError(error.kind, message, { remedy: error.remedy, cause: error });
  }
}

const isOwn = ({ Config }: ContainerInspectInfo, directory: string) => Config.Labels?.[labels.directory] === directory;

const isSettled = ({ State }: ContainerInspectInfo) =>
  (State.Running && !State.Restarting) || (State.Status === "exited" && State.ExitCode === 0);

const isSame = ({ Config }: ContainerInspectInfo, wanted: Record<string, string> | undefined) =>
  Config.Labels[labels.specification] === wanted?.[labels.specification];

const isWritten = (directory: string, configuration: string) =>
  readText(join(directory, processFiles.configuration)) === configuration;

const inspectContainer = (engine: Engine, name: string): Promise<ContainerInspectInfo | null> =>
  find(engine, `looking at the container ${name}`, () => engine.docker.getContainer(name).inspect());

/** Null when there is none of this name. @throws SluiceError `name-taken` */
async function findOwn(engine: Engine, directory: string, name: string): Promise<ContainerInspectInfo | null> {
  const found = await inspectContainer(engine, name);
  if (found === null || isOwn(found, directory)) return found;
  throw new SluiceError("name-taken", `the container ${name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId; or, if nobody needs it, run docker rm --force ${name}.`,
  });
}

async function requireNetwork(engine: Engine, { network }: DockerOptions): Promise<void> {
  if (network === undefined) return;
  const doing = `looking at the network ${network}`;
  const found = await find(engine, doing, () => engine.docker.getNetwork(network).inspect());
  if (found !== null) return;
  throw new SluiceError("missing-object", `the container engine has no network ${network}`, {
    remedy: `Run docker network create ${network}, or choose another deployment.network.`,
  });
}

interface User {
  /** in the container, and of the same user's files here */
  owner: { inside: Owner; outside: Owner };
  mapsUsers: boolean;
}

/** A rootless engine shows its own user as root; one that maps users is asked not to, as folders are this machine's. */
async function userOf(engine: Engine, { user }: DockerOptions): Promise<User> {
  const info = await ask(engine, "asking the container engine what it is", () => engine.docker.info());
  const security = (info.SecurityOptions ?? []) as string[];
  const has = (name: string) => security.some((option) => option.split(",").includes(`name=${name}`));
  const [uid, gid] = (user ?? "").split(":").map(Number);
  const outside = user === undefined ? defaultOwner() : { uid, gid };
  const inside = has("rootless") && user === undefined ? { uid: 0, gid: 0 } : outside;
  return { owner: { inside, outside }, mapsUsers: has("userns") };
}

async function startContainer(engine: Engine, { Id }: ContainerInspectInfo, spec: ProcessSpec): Promise<void> {
  const port = spec.config.http?.port ?? 0;
  try {
    await ask(engine, `starting the ${spec.config.role} of ${spec.config.id}`, () =>
      engine.docker.getContainer(Id).start(),
    );
  } catch (error) {
    if (port === 0 || !(await isPortTaken(port))) throw error;
    throw new SluiceError("port-in-use", `port ${port} on 127.0.0.1 is taken: ${describeError(error)}`, {
      remedy: "Choose another httpPort, or leave it out.",
      cause: error,
    });
  }
}

async function stopContainer(engine: Engine, { Id, Name }: ContainerInspectInfo, timeoutMs: number): Promise<void> {
  const container = engine.docker.getContainer(Id);
  await ask(engine, `stopping the container ${Name}`, async () => {
    try {
      await container.stop({ t: Math.ceil(timeoutMs / 1_000) });
    } catch (error) {
      // It has ended already, or is gone.
      if (statusOf(error) !== 304 && statusOf(error) !== 404) throw error;
    }
  });
}

/** And verifies that it is gone. */
async function removeContainer(engine: Engine, { Id, Name }: ContainerInspectInfo): Promise<void> {
  await find(engine, `removing the container ${Name}`, () =>
    engine.docker.getContainer(Id).remove({ force: true, v: true }),
  );
  if ((await inspectContainer(engine, Id)) === null) return;
  throw new SluiceError("process", `the container ${Name} could not be removed`, {
    remedy: `Run docker rm --force ${Id}.`,
  });
}

import type { ContainerInspectInfo } from "dockerode";
import { describeError, SluiceError } from "../../runtime/errors";
import { isPortTaken } from "../lifecycle/local-place";
import { inspectionOf, waitUntilHealthy } from "./container-health";
import { containerConfiguration, containerName, containerOptions, labels } from "./container-spec";
import type { ContainerStorage, User } from "./container-storage";
import type { Applied, Deployment, ProcessSpec } from "./deployment";
import { ask, type Engine, find, openEngine, statusOf } from "./docker-engine";
import { findImageProblem, resolveImage } from "./docker-image";
import { type DockerOptions, usesVolumes } from "./docker-options";
import { findPortHolder, portTaken } from "./engine-ports";
import { filesContainerName } from "./files-container";
import { folderStorage } from "./folder-storage";
import { volumeStorage } from "./volume-storage";

interface Opened {
  engine: Engine;
  storage: ContainerStorage;
}

/** Containers of an engine, one for each process, known by their labels. */
export function dockerDeployment(options: DockerOptions): Deployment {
  let opened: Opened | undefined;
  // What an address lacks (a certificate, a key) is the failure of the first thing that is asked.
  const open = (): Opened => {
    if (opened !== undefined) return opened;
    const engine = openEngine(options);
    opened = {
      engine,
      storage: usesVolumes(options) ? volumeStorage(engine, options) : folderStorage(engine, options),
    };
    return opened;
  };
  const remove = (directory: string, stopTimeoutMs: number) => removeAll(open(), directory, stopTimeoutMs);
  return {
    isHere: !usesVolumes(options),
    staging: {
      inspect: async (path, deploymentId) => open().storage.staging.inspect(path, deploymentId),
      make: async (path, owner) => open().storage.staging.make(path, owner),
      remove: async (path, owner) => open().storage.staging.remove(path, owner),
    },
    async preflight(spec) {
      try {
        const { engine, storage } = open();
        await ask(engine, "looking for the container engine", () => engine.docker.ping());
        const problem = await findImageProblem(engine, options);
        if (problem !== null) return problem;
        await requireNetwork(engine, options);
        if (spec === null) return null;
        await findOwn(engine, spec.directory, containerName(spec.directory));
        await storage.check(spec);
        const holder = await findPortHolder(engine, spec, options);
        if (holder !== null && !holder.isOurs) {
          return portTaken(spec.config.http?.port ?? 0, ` by the container ${holder.name}`);
        }
        return null;
      } catch (error) {
        return error as SluiceError;
      }
    },
    apply: async (spec, { tethered = false } = {}) => applyContainer(open(), options, spec, tethered),
    keep: async (directory) => open().storage.untie(directory),
    async status(directory) {
      const { storage } = open();
      return (await storage.read(directory, containerName(directory)))?.status ?? null;
    },
    sweep: async (stateDir, stopTimeoutMs) =>
      open().storage.sweep(stateDir, (directory) => remove(directory, stopTimeoutMs)),
    async inspect(directory) {
      const { engine, storage } = open();
      const name = containerName(directory);
      const found = await inspectContainer(engine, name);
      if (found === null) return { kind: "absent" };
      if (!isOwn(found, directory)) return { kind: "foreign", what: `the container ${name}` };
      return inspectionOf(found, directory, options, await storage.read(directory, found.Id));
    },
    remove,
    dropTables: async (spec) => open().storage.dropTables(spec),
  };
}

async function removeAll({ engine, storage }: Opened, directory: string, stopTimeoutMs: number): Promise<void> {
  for (const name of [containerName(directory), nextName(directory), filesContainerName(directory)]) {
    const found = await inspectContainer(engine, name);
    if (found === null || !isOwn(found, directory)) continue;
    await stopContainer(engine, found, stopTimeoutMs);
    await removeContainer(engine, found);
  }
  await storage.remove(directory);
}

/** Its successor, until it is healthy. */
const nextName = (directory: string) => `${containerName(directory)}-next`;

async function applyContainer(
  { engine, storage }: Opened,
  options: DockerOptions,
  spec: ProcessSpec,
  isTethered: boolean,
): Promise<Applied> {
  const { directory } = spec;
  const name = containerName(directory);
  const before = await findOwn(engine, directory, name);
  const image = await resolveImage(engine, options);
  await requireNetwork(engine, options);
  const user = await storage.user();
  const place = { imageId: image.id, user: `${user.inside.uid}:${user.inside.gid}`, mapsUsers: user.mapsUsers };
  const wanted = containerOptions(spec, options, place);
  const configuration = containerConfiguration(spec, options);
  const secrets = storage.secretsOf(spec);
  const applied = { imageDigest: image.digest };
  const former = before === null ? null : ((await storage.read(directory, before.Id))?.configuration ?? null);
  if (before !== null && isSettled(before) && isSame(before, wanted.Labels) && former === configuration) {
    await storage.write(directory, before.Id, { secrets }, user);
    return applied;
  }
  const left = await findOwn(engine, directory, nextName(directory));
  if (left !== null) await removeContainer(engine, left);
  await storage.prepare(spec, image.id, user);
  await ask(engine, `making the container ${name}`, () =>
    engine.docker.createContainer({ ...wanted, name: nextName(directory) }),
  );
  const next = (await inspectContainer(engine, nextName(directory))) as ContainerInspectInfo;
  try {
    if (before !== null) await stopContainer(engine, before, spec.stopTimeoutMs);
    await storage.write(directory, next.Id, { configuration, secrets }, user);
    if (isTethered) await storage.tie(directory, next.Id, user);
    await startContainer({ engine, storage }, next, spec, options);
    await waitUntilHealthy(engine, next.Id, spec, options);
  } catch (error) {
    await removeContainer(engine, next);
    if (before === null) throw error;
    throw await goBack({ engine, storage }, before, spec, former, user, error);
  }
  await storage.prune(directory, next.Id, secrets, user);
  if (before !== null) await removeContainer(engine, before);
  await ask(engine, `naming the container ${name}`, () => engine.docker.getContainer(next.Id).rename({ name }));
  return applied;
}

/** The former container runs again; its settings are as they were. */
async function goBack(
  { engine, storage }: Opened,
  before: ContainerInspectInfo,
  { directory }: ProcessSpec,
  configuration: string | null,
  user: User,
  error: unknown,
): Promise<unknown> {
  if (!(error instanceof SluiceError)) return error;
  try {
    if (configuration !== null) await storage.write(directory, before.Id, { configuration, secrets: {} }, user);
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

async function startContainer(
  { engine, storage }: Opened,
  { Id }: ContainerInspectInfo,
  spec: ProcessSpec,
  options: DockerOptions,
): Promise<void> {
  const port = spec.config.http?.port ?? 0;
  try {
    await ask(engine, `starting the ${spec.config.role} of ${spec.config.id}`, () =>
      engine.docker.getContainer(Id).start(),
    );
  } catch (error) {
    if (port === 0) throw error;
    const holder = await findPortHolder(engine, spec, options);
    if (holder !== null) throw portTaken(port, ` by the container ${holder.name}`, error);
    if (!storage.isHere || !(await isPortTaken(port))) throw error;
    throw portTaken(port, `: ${describeError(error)}`, error);
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

import type { VolumeInspectInfo } from "dockerode";
import { SluiceError } from "../../runtime/errors";
import { labels } from "./container-spec";
import { ask, type Engine, find, statusOf } from "./docker-engine";

export const findVolume = (engine: Engine, name: string): Promise<VolumeInspectInfo | null> =>
  find(engine, `looking at the volume ${name}`, () => engine.docker.getVolume(name).inspect());

/** Ours are known by the path that their label has. */
export const isVolumeOf = (found: VolumeInspectInfo, path: string): boolean =>
  found.Labels?.[labels.directory] === path;

export function volumeTaken(name: string): SluiceError {
  return new SluiceError("name-taken", `the volume ${name} exists and isn't this deployment's`, {
    remedy: `Choose another deploymentId or path; or, if nobody needs what is in it, run docker volume rm ${name}.`,
  });
}

/** Makes it where there is none. @throws SluiceError `name-taken` */
export async function ensureVolume(
  engine: Engine,
  name: string,
  path: string,
  more: Record<string, string> = {},
): Promise<VolumeInspectInfo> {
  const found = (await findVolume(engine, name)) ?? (await makeVolume(engine, name, path, more));
  if (!isVolumeOf(found, path)) throw volumeTaken(name);
  return found;
}

/** The engine gives a volume that has been made meanwhile: whose it is must be looked at. */
async function makeVolume(engine: Engine, name: string, path: string, more: Record<string, string>) {
  await ask(engine, `making the volume ${name}`, () =>
    engine.docker.createVolume({ Name: name, Labels: { ...more, [labels.directory]: path } }),
  );
  return (await findVolume(engine, name)) as VolumeInspectInfo;
}

/** Removes one of ours, and verifies it; any other is left alone. False: there is one, and it isn't ours. */
export async function removeVolume(engine: Engine, name: string, path: string): Promise<boolean> {
  const found = await findVolume(engine, name);
  if (found === null) return true;
  if (!isVolumeOf(found, path)) return false;
  try {
    await find(engine, `removing the volume ${name}`, async () => {
      await engine.docker.getVolume(name).remove();
    });
  } catch (error) {
    if (statusOf((error as Error).cause) !== 409) throw error;
    const users = await ask(engine, `looking who uses the volume ${name}`, () =>
      engine.docker.listContainers({ all: true, filters: { volume: [name] } }),
    );
    const names = users.map(({ Names }) => Names[0].slice(1)).join(", ");
    throw new SluiceError("conflict", `the volume ${name} is used by ${names} and can't be removed`, {
      remedy: `Remove the container (docker rm --force ${names.replaceAll(",", "")}), then run the same again.`,
      cause: error,
    });
  }
  if ((await findVolume(engine, name)) === null) return true;
  throw new SluiceError("process", `the volume ${name} could not be removed`, {
    remedy: `Run docker volume rm ${name}.`,
  });
}

import type { ContainerCreateOptions } from "dockerode";
import { containerName, labels } from "./container-spec";
import { ask, type Engine, find } from "./docker-engine";

/** A container beside a process's own, by which files of volumes are reached; gone after each use. */
export const filesContainerName = (directory: string) => `${containerName(directory)}-files`;

/** Made, not started. What another use has left is removed first. */
export async function withFilesContainer<T>(
  engine: Engine,
  directory: string,
  made: ContainerCreateOptions,
  use: (container: string) => Promise<T>,
): Promise<T> {
  const name = filesContainerName(directory);
  const removeIt = (id: string) =>
    find(engine, `removing the container ${name}`, () =>
      engine.docker.getContainer(id).remove({ force: true, v: true }),
    );
  const left = await find(engine, `looking at the container ${name}`, () => engine.docker.getContainer(name).inspect());
  if (left !== null && left.Config.Labels?.[labels.directory] === directory) await removeIt(left.Id);
  const { id } = await ask(engine, `making the container ${name}`, () =>
    engine.docker.createContainer({ ...made, name, Labels: { [labels.directory]: directory } }),
  );
  try {
    return await use(id);
  } finally {
    await removeIt(id);
  }
}

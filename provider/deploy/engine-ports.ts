import { SluiceError } from "../../runtime/errors";
import { labels } from "./container-spec";
import type { ProcessSpec } from "./deployment";
import { ask, type Engine } from "./docker-engine";
import type { DockerOptions } from "./docker-options";

/** Who else of the engine's containers has the port that this one is to publish. */
interface PortHolder {
  name: string;
  /** of ours, another deployment's: it may be about to give it up */
  isOurs: boolean;
}

/** Null as far as the engine knows; its machine's other processes are known when the container starts. */
export async function findPortHolder(
  engine: Engine,
  { config, directory }: ProcessSpec,
  { network }: Pick<DockerOptions, "network">,
): Promise<PortHolder | null> {
  const port = config.http?.port ?? 0;
  if (port === 0 || network === "host") return null;
  const containers = await ask(engine, "looking at the containers' ports", () => engine.docker.listContainers());
  for (const { Names, Labels, Ports } of containers) {
    const owner = Labels?.[labels.directory];
    if (owner === directory || !Ports.some(({ PublicPort }) => PublicPort === port)) continue;
    return { name: Names[0]?.slice(1) ?? "", isOurs: owner !== undefined };
  }
  return null;
}

export function portTaken(port: number, why: string, cause?: unknown): SluiceError {
  return new SluiceError("port-in-use", `port ${port} of the container engine's machine is taken${why}`, {
    remedy: "Choose another httpPort, or leave it out.",
    cause,
  });
}

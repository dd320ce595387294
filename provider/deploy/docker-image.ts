import type { ImageInspectInfo } from "dockerode";
import { SluiceError } from "../../runtime/errors";
import { version } from "../../runtime/version";
import { ask, type Engine, engineError, find } from "./docker-engine";
import { type DockerOptions, labelPrefix } from "./docker-options";
import { registryLogin, registryOf } from "./registry-login";

export const defaultImage = `pulumi-sluice:${version}`;

export interface ImageFound {
  /** of its content: `sha256:…` */
  id: string;
  /** of the registry's copy, `name@sha256:…`; else the id */
  digest: string;
}

/**
 * The image as the engine has it, pulled where the options say so.
 * @throws SluiceError `missing-object`, `unsupported` (another version, another architecture)
 */
export async function resolveImage(engine: Engine, options: DockerOptions): Promise<ImageFound> {
  const name = options.image ?? defaultImage;
  if (options.pull === "always") await pull(engine, name, options);
  let found = await inspect(engine, name);
  if (found === null && options.pull === "missing") {
    await pull(engine, name, options);
    found = await inspect(engine, name);
  }
  if (found === null) throw noImage(name);
  const refusal = imageProblem(name, found, await architectureOf(engine));
  if (refusal !== null) throw refusal;
  return { id: found.Id, digest: found.RepoDigests?.[0] ?? found.Id };
}

/** What is wrong with the image, as far as it is known without pulling anything. */
export async function findImageProblem(engine: Engine, options: DockerOptions): Promise<SluiceError | null> {
  const name = options.image ?? defaultImage;
  const found = await inspect(engine, name);
  if (found !== null && options.pull !== "always") return imageProblem(name, found, await architectureOf(engine));
  // One that has to be pulled is known at the update; ours is in no registry by this name.
  return found === null && (options.pull === "never" || options.image === undefined) ? noImage(name) : null;
}

const inspect = (engine: Engine, name: string): Promise<ImageInspectInfo | null> =>
  find(engine, `looking at the image ${name}`, () => engine.docker.getImage(name).inspect());

function noImage(name: string): SluiceError {
  return new SluiceError("missing-object", `the container engine has no image ${name}`, {
    remedy: `Build it with \`npm run image -- --tag ${name}\` in a checkout of pulumi-sluice ${version}, or give deployment.image one that can be pulled.`,
  });
}

/** As images name architectures. */
const architectures: Record<string, string> = { x86_64: "amd64", aarch64: "arm64" };

async function architectureOf(engine: Engine): Promise<string> {
  const { Architecture } = await ask(engine, "asking the container engine what it is", () => engine.docker.info());
  return architectures[Architecture as string] ?? (Architecture as string);
}

/** Pure: configuration and staging are of one version in provider and runtime; an image of another is refused. */
export function imageProblem(
  name: string,
  image: Pick<ImageInspectInfo, "Architecture" | "Config">,
  architecture: string,
): SluiceError | null {
  const found = image.Config?.Labels?.[`${labelPrefix}runtime`];
  if (found === undefined) {
    return new SluiceError("unsupported", `the image ${name} isn't the runtime of pulumi-sluice`, {
      remedy: `Leave deployment.image out, which takes ${defaultImage}, or build one with \`npm run image\`.`,
    });
  }
  if (found !== version) {
    return new SluiceError("unsupported", `the image ${name} has version ${found}, and this provider is ${version}`, {
      remedy: `Use the image of version ${version}, or install pulumi-sluice@${found}.`,
    });
  }
  if (image.Architecture !== architecture) {
    return new SluiceError(
      "unsupported",
      `the image ${name} is for ${image.Architecture}, and the container engine's machine is ${architecture}`,
      { remedy: `Build it with \`npm run image -- --arch ${architecture}\`.` },
    );
  }
  return null;
}

async function pull(engine: Engine, name: string, options: DockerOptions): Promise<void> {
  // What is in no registry under this name needs no look there.
  if (options.image === undefined) throw noImage(name);
  const doing = `pulling the image ${name}`;
  const login = await registryLogin(name);
  try {
    const stream = await engine.docker.pull(name, login === undefined ? {} : { authconfig: login });
    console.log(doing);
    await new Promise<void>((resolve, reject) =>
      engine.docker.modem.followProgress(stream, (error: Error | null) => (error ? reject(error) : resolve())),
    );
  } catch (error) {
    throw pullFailure(engineError(error, doing, engine), name, login !== undefined);
  }
}

/** Pure. A registry says the same of an image that it lacks and of one that this user may not see. */
function pullFailure(failure: SluiceError, name: string, isLoggedIn: boolean): SluiceError {
  if (failure.kind === "unreachable" || failure.kind === "permission" || failure.kind === "tls") return failure;
  const registry = registryOf(name);
  const who = isLoggedIn
    ? `the login to ${registry} that is stored on this machine was sent`
    : `nobody is logged in to ${registry} on this machine`;
  const remedy = `Correct deployment.image, if there is no such image. It may need a login (${who}): run docker login (or podman login) as the user that runs Pulumi.`;
  return new SluiceError("missing-object", failure.message, { remedy, cause: failure });
}

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { AuthConfig } from "dockerode";
import { z } from "zod";
import { SluiceError } from "../../runtime/errors";

/** `config.json` of Docker's command line, and `auth.json` of podman's (containers-auth.json(5)), as far as a login writes it. */
const loginsSchema = z.object({
  auths: z
    .record(z.string(), z.object({ auth: z.string().optional(), identitytoken: z.string().optional() }))
    .optional(),
  credHelpers: z.record(z.string(), z.string()).optional(),
  credsStore: z.string().optional(),
});
type Logins = z.infer<typeof loginsSchema>;

/** What a helper answers to `get`; a user `<token>` has an identity token. */
const answerSchema = z.object({ Username: z.string(), Secret: z.string() });

/** Docker Hub's name among Docker's logins; podman's is its host. */
const hub = "https://index.docker.io/v1/";
const hubHost = "docker.io";

const helperTimeoutMs = 20_000;

/** Pure: the registry of an image, as logins name it: the part before the first slash that is a host. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost && !/^(index\.)?docker\.io$/.test(first) ? first : hub;
}

/**
 * With whom an image is pulled: as `docker login` has it on this machine (DOCKER_CONFIG, default ~/.docker), else as `podman
 * login` has it (REGISTRY_AUTH_FILE, default its own places), from the file or its helper (`docker-credential-…`); undefined
 * where nobody is logged in.
 * @throws SluiceError `config`: a file is no such file
 */
export async function registryLogin(
  image: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<AuthConfig | undefined> {
  for (const path of loginFiles(env)) {
    const found = await loginOf(image, readLogins(path));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Pure: in the order in which they are asked. */
function loginFiles(env: NodeJS.ProcessEnv): string[] {
  const home = env.HOME || homedir();
  const runtimeFolder = env.XDG_RUNTIME_DIR || `/run/containers/${process.geteuid?.()}`;
  const places = [runtimeFolder, env.XDG_CONFIG_HOME || join(home, ".config")];
  const podman = env.REGISTRY_AUTH_FILE
    ? [env.REGISTRY_AUTH_FILE]
    : places.map((folder) => join(folder, "containers", "auth.json"));
  return [join(env.DOCKER_CONFIG || join(home, ".docker"), "config.json"), ...podman];
}

async function loginOf(image: string, logins: Logins): Promise<AuthConfig | undefined> {
  const registry = registryOf(image);
  const helper = logins.credHelpers?.[registry] ?? logins.credHelpers?.[hostOf(registry)] ?? logins.credsStore;
  const told = helper === undefined ? undefined : await askHelper(helper, registry);
  return told ?? storedLogin(logins, image);
}

function readLogins(path: string): Logins {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw unreadable(path, error);
  }
  try {
    return loginsSchema.parse(JSON.parse(text));
  } catch {
    // Without the cause, which may quote what is in it.
    throw unreadable(path);
  }
}

const unreadable = (path: string, cause?: unknown) =>
  new SluiceError("config", `${path}, which has the logins to image registries, can't be read`, {
    remedy: "Correct it, or remove it and run docker login (or podman login) anew.",
    cause,
  });

function storedLogin({ auths = {} }: Logins, image: string): AuthConfig | undefined {
  const registry = registryOf(image);
  const names = Object.keys(auths);
  const name = placesOf(image)
    .map((place) => names.find((one) => placeOf(one) === place))
    .find((one) => one !== undefined);
  if (name === undefined) return undefined;
  const { identitytoken, auth = "" } = auths[name];
  if (identitytoken !== undefined && identitytoken !== "") return ofToken(registry, identitytoken);
  const [username, ...password] = Buffer.from(auth, "base64").toString("utf8").split(":");
  return password.length === 0 ? undefined : { username, password: password.join(":"), serveraddress: registry };
}

/** Pure: for what a login may be that an image is pulled by, the nearest first: `quay.io/shop/sluice`, `quay.io/shop`, `quay.io`. */
function placesOf(image: string): string[] {
  const registry = registryOf(image);
  const name = image.replace(/@.*$/, "").replace(/:[^:/]*$/, "");
  const path = name.split("/").slice(registry === hub && !/^(index\.)?docker\.io\//.test(name) ? 0 : 1);
  const full = registry === hub && path.length === 1 ? ["library", ...path] : path;
  return [...full.keys(), full.length]
    .reverse()
    .map((length) => [hostOf(registry), ...full.slice(0, length)].join("/"));
}

/** Pure: of a login's name, which is a host, podman's with a part of a repository, or Docker's as an address. */
function placeOf(name: string): string {
  const isAddress = /^https?:\/\//.test(name) || /^[^/]+\/v[12]\/?$/.test(name);
  return isAddress ? hostOf(name) : name.replace(/^index\.docker\.io/, hubHost).replace(/\/$/, "");
}

function hostOf(name: string): string {
  const host = name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return host === "index.docker.io" ? hubHost : host;
}

/** The engine takes a token alone; dockerode's type names a password too. */
const ofToken = (serveraddress: string, identitytoken: string): AuthConfig =>
  ({ identitytoken, serveraddress }) as unknown as AuthConfig;

/** Nothing where the helper knows nobody, or isn't there: the registry says then what it thinks of that. */
async function askHelper(name: string, registry: string): Promise<AuthConfig | undefined> {
  const program = `docker-credential-${name}`;
  if (!/^[\w.-]+$/.test(name)) return undefined;
  const text = await new Promise<string | null>((resolve) => {
    const child = execFile(program, ["get"], { timeout: helperTimeoutMs }, (error, stdout) =>
      resolve(error === null ? stdout : null),
    );
    child.stdin?.on("error", () => {}).end(registry);
  });
  if (text === null) return undefined;
  try {
    const { Username, Secret } = answerSchema.parse(JSON.parse(text));
    if (Username === "<token>") return ofToken(registry, Secret);
    return { username: Username, password: Secret, serveraddress: registry };
  } catch {
    throw new SluiceError("config", `${program} answers nothing that is a login to ${registry}`, {
      remedy: `Run echo ${registry} | ${program} get, which should print Username and Secret as JSON.`,
    });
  }
}

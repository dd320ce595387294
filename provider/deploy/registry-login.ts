import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { AuthConfig } from "dockerode";
import { z } from "zod";
import { SluiceError } from "../../runtime/errors";

/** `config.json` of Docker's command line, as far as `docker login` writes it. */
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

/** Docker Hub's name among logins. */
const hub = "https://index.docker.io/v1/";

const helperTimeoutMs = 20_000;

/** Pure: the registry of an image, as logins name it: the part before the first slash that is a host. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost && !/^(index\.)?docker\.io$/.test(first) ? first : hub;
}

/**
 * With whom an image is pulled: as `docker login` has it on this machine (DOCKER_CONFIG, default ~/.docker), from its file or
 * its helper (`docker-credential-…`); undefined where nobody is logged in.
 * @throws SluiceError `config`: the file is no such file
 */
export async function registryLogin(
  image: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<AuthConfig | undefined> {
  const registry = registryOf(image);
  const logins = readLogins(join(env.DOCKER_CONFIG || join(homedir(), ".docker"), "config.json"));
  const helper = logins.credHelpers?.[registry] ?? logins.credsStore;
  const told = helper === undefined ? undefined : await askHelper(helper, registry);
  return told ?? storedLogin(logins, registry);
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
    remedy: "Correct it, or remove it and run docker login anew.",
    cause,
  });

function storedLogin({ auths = {} }: Logins, registry: string): AuthConfig | undefined {
  const hostOf = (name: string) => name.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  const found = auths[registry] ?? Object.entries(auths).find(([name]) => hostOf(name) === hostOf(registry))?.[1];
  if (found === undefined) return undefined;
  if (found.identitytoken !== undefined && found.identitytoken !== "") return ofToken(registry, found.identitytoken);
  const [username, ...password] = Buffer.from(found.auth ?? "", "base64")
    .toString("utf8")
    .split(":");
  return password.length === 0 ? undefined : { username, password: password.join(":"), serveraddress: registry };
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

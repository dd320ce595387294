import { readFileSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { join } from "node:path";
import { SluiceError } from "../../runtime/errors";
import { type DockerOptions, hostProblem, isInline } from "./docker-options";

/** Where an engine is, and by what it and we are known to each other. */
export type EngineAddress =
  | { kind: "socket"; path: string | null }
  /** `tls` is null on a loopback address only */
  | { kind: "tcp"; host: string; port: number; tls: TlsMaterial | null }
  | { kind: "ssh"; host: string; port: number; user: string; socketPath: string | null; keys: SshKeys };

export interface TlsMaterial {
  /** undefined: the authorities that Node knows */
  ca?: string;
  cert?: string;
  key?: string;
}

export interface SshKeys {
  /** contents of private keys, in the order in which they are tried */
  privateKeys: string[];
  /** socket of an agent */
  agent?: string;
  knownHosts: string;
  /** for messages */
  knownHostsPath: string;
}

type Given = Pick<DockerOptions, "host" | "socketPath" | "tls" | "ssh">;

/** Pure: as the options and the environment have it; null: an engine's socket at its usual place. */
export function addressText(
  { host, socketPath }: Pick<Given, "host" | "socketPath">,
  env: NodeJS.ProcessEnv,
): string | null {
  if (host !== undefined) return host;
  if (socketPath !== undefined) return `unix://${socketPath}`;
  const given = env.DOCKER_HOST ?? "";
  if (given === "") return null;
  return given.includes("//") ? given : `tcp://${given}`;
}

/** Pure: an address of the environment that is another machine's; it is kept as an input, so that a delete finds it. */
export function remoteHostOf(env: NodeJS.ProcessEnv): string | undefined {
  const text = addressText({}, env);
  return text === null || text.startsWith("unix:") || text.startsWith("npipe:") ? undefined : text;
}

/** Pure: for messages, and to tell one engine from another. */
export const addressName = (given: Pick<Given, "host" | "socketPath">, env: NodeJS.ProcessEnv): string =>
  addressText(given, env)?.replace(/^unix:\/\//, "") ?? "/var/run/docker.sock";

/**
 * Reads the files that it names.
 * @throws SluiceError `config`; `tls` where secrets would go over the network in plain
 */
export function resolveAddress(given: Given, env: NodeJS.ProcessEnv = process.env): EngineAddress {
  const text = addressText(given, env);
  if (text === null) return { kind: "socket", path: null };
  if (text.startsWith("npipe://")) return { kind: "socket", path: text.slice("npipe://".length) };
  const problem = hostProblem(text);
  if (problem !== null) {
    const [message, remedy] = problem.split("\n  remedy: ");
    throw new SluiceError("config", given.host === undefined ? `DOCKER_HOST: ${message}` : message, { remedy });
  }
  const url = new URL(text);
  switch (url.protocol) {
    case "unix:":
      return { kind: "socket", path: url.pathname };
    case "tcp:": {
      const tls = tlsOf(given, url, env);
      return { kind: "tcp", host: hostnameOf(url), port: Number(url.port || (tls === null ? 2375 : 2376)), tls };
    }
    default: {
      const user = url.username === "" ? userInfo().username : decodeURIComponent(url.username);
      const socketPath = url.pathname === "" || url.pathname === "/" ? null : url.pathname;
      return {
        kind: "ssh",
        host: hostnameOf(url),
        port: Number(url.port || 22),
        user,
        socketPath,
        keys: sshKeysOf(given, env),
      };
    }
  }
}

/** Without the brackets of an IPv6 address. */
const hostnameOf = (url: URL) => url.hostname.replace(/^\[|\]$/g, "");

const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);

/** As Docker's own commands: DOCKER_TLS_VERIFY or a folder of certificates asks for TLS, and so does everything but loopback. */
function tlsOf({ tls }: Given, url: URL, env: NodeJS.ProcessEnv): TlsMaterial | null {
  if (tls !== undefined) {
    if ((tls.cert === undefined) !== (tls.key === undefined)) {
      throw new SluiceError("config", "deployment.tls has only one of cert and key", {
        remedy: "Give both, or neither.",
      });
    }
    return {
      ca: tls.ca === undefined ? undefined : contentOf(tls.ca, "deployment.tls.ca"),
      cert: tls.cert === undefined ? undefined : contentOf(tls.cert, "deployment.tls.cert"),
      key: tls.key === undefined ? undefined : contentOf(tls.key, "deployment.tls.key"),
    };
  }
  const folder = env.DOCKER_CERT_PATH ?? "";
  if (folder !== "" || (env.DOCKER_TLS_VERIFY ?? "") !== "") {
    const from = folder === "" ? join(homedir(), ".docker") : folder;
    const read = (name: string) =>
      contentOf(join(from, name), folder === "" ? "DOCKER_TLS_VERIFY" : "DOCKER_CERT_PATH");
    return { ca: read("ca.pem"), cert: read("cert.pem"), key: read("key.pem") };
  }
  if (isLoopback(hostnameOf(url)) && url.port !== "2376") return null;
  throw new SluiceError(
    "tls",
    `there is no TLS to the container engine at ${url.host}: whoever is in between would have its secrets`,
    {
      remedy:
        "Set deployment.tls: { ca, cert, key }, or DOCKER_CERT_PATH to a folder with ca.pem, cert.pem and key.pem; or reach it by ssh://user@host.",
    },
  );
}

const usualKeys = ["id_ed25519", "id_ecdsa", "id_rsa"];

function sshKeysOf({ ssh }: Given, env: NodeJS.ProcessEnv): SshKeys {
  const folder = join(homedir(), ".ssh");
  const knownHosts = ssh?.knownHosts ?? join(folder, "known_hosts");
  const isText = isInline(knownHosts);
  const knownHostsPath = isText ? "deployment.ssh.knownHosts" : knownHosts;
  const hosts = { knownHosts: isText ? knownHosts : (textOf(knownHosts) ?? ""), knownHostsPath };
  if (ssh?.key !== undefined) return { ...hosts, privateKeys: [contentOf(ssh.key, "deployment.ssh.key")] };
  const agent = env.SSH_AUTH_SOCK ?? "";
  const privateKeys = usualKeys.flatMap((name) => textOf(join(folder, name)) ?? []);
  return { ...hosts, privateKeys, ...(agent === "" ? {} : { agent }) };
}

function contentOf(value: string, what: string): string {
  if (isInline(value)) return value;
  const text = textOf(value);
  if (text !== null) return text;
  throw new SluiceError("config", `${what}: the file ${value} can't be read`, {
    remedy: `Put it there, readable by this user, or give another ${what}.`,
  });
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

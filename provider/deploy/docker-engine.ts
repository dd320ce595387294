import type { Agent } from "node:http";
import type Docker from "dockerode";
import { describeError, type ErrorKind, SluiceError } from "../../runtime/errors";
import type { DockerOptions } from "./docker-options";
import { addressName, type EngineAddress, resolveAddress } from "./engine-address";
import { sshAgent } from "./engine-ssh";
import { tcpAgent } from "./engine-tcp";

export interface Engine {
  docker: Docker;
  /** for messages */
  address: string;
}

type Given = Pick<DockerOptions, "host" | "socketPath" | "tls" | "ssh">;

/** @throws SluiceError `config`, `tls`: by the address and its keys; nothing is asked yet */
export function openEngine(given: Given): Engine {
  return { docker: openClient(resolveAddress(given)), address: addressName(given, process.env) };
}

/** By the other machine and the keys: a connection is kept over several resources. */
const sshAgents = new Map<string, Agent>();

function openClient(address: EngineAddress): Docker {
  // Loaded here, as most stacks have no container.
  const Client = require("dockerode") as typeof import("dockerode");
  switch (address.kind) {
    case "socket":
      return new Client({ ...none, protocol: "http", ...(address.path === null ? {} : { socketPath: address.path }) });
    case "tcp":
      return new Client(over(tcpAgent(address)));
    case "ssh": {
      const key = JSON.stringify(address);
      const agent = sshAgents.get(key) ?? sshAgent(address);
      sshAgents.set(key, agent);
      return new Client(over(agent));
    }
  }
}

/** dockerode would take DOCKER_HOST and its files where an option is left out. */
const none = { host: undefined, port: undefined, ca: undefined, cert: undefined, key: undefined };

/** The agent knows where to; the name is for the request's head only. */
const over = (agent: Agent) => ({ ...none, protocol: "http" as const, host: "engine", port: 80, agent });

interface EngineFailure {
  /** of HTTP */
  statusCode?: number;
  /** of the operating system */
  code?: string;
  json?: { message?: string };
}

/** The status of an answer that was an error; undefined when there was no answer. */
export function statusOf(error: unknown): number | undefined {
  return (error as EngineFailure).statusCode;
}

interface Meaning {
  kind: ErrorKind;
  message: string;
  remedy: string;
}

const remedies: Partial<Record<string, Meaning>> = (() => {
  const absent = {
    kind: "unreachable" as const,
    message: "no container engine answers",
    remedy: "Start the daemon, or set deployment.host to where it is.",
  };
  const denied = {
    kind: "permission" as const,
    message: "this user may not use the container engine",
    remedy: "Add the user to the group that owns the socket (often `docker`), or use a rootless engine's socket.",
  };
  const codes = [
    "ENOENT",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
  ];
  return { ...Object.fromEntries(codes.map((code) => [code, absent])), EACCES: denied, EPERM: denied };
})();

/** Node's and OpenSSL's codes of TLS (Node documentation, "TLS: X509 certificate error codes"). */
function tlsMeaning(code: string): Meaning | undefined {
  const kind = "tls" as const;
  if (/^ERR_SSL_.*ALERT/.test(code)) {
    return {
      kind,
      message: "the client's certificate is refused by the container engine",
      remedy: "deployment.tls.cert and key are to be signed by an authority in the daemon's --tlscacert.",
    };
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const remedy = "Use a host name or address that the certificate has as a subject alternative name.";
    return { kind, message: "the certificate is of another host than the container engine", remedy };
  }
  if (!/^(EPROTO$|ERR_(SSL|TLS|OSSL|CRYPTO)_|CERT|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA$)/.test(code))
    return undefined;
  const remedy =
    "Set deployment.tls.ca to the authority that has signed the daemon's certificate; look whether it has expired.";
  return { kind, message: "no trusted certificate of the container engine", remedy };
}

/** Of an engine's failure: by the code of the operating system, else by the status of the answer. */
export function engineError(error: unknown, doing: string, { address }: Engine): SluiceError {
  if (error instanceof SluiceError) return error;
  const { code, statusCode, json } = error as EngineFailure;
  const known = code === undefined ? undefined : (remedies[code] ?? tlsMeaning(code));
  if (known !== undefined) {
    return new SluiceError(known.kind, `${doing}: ${known.message} at ${address} (${code})`, {
      remedy: known.remedy,
      cause: error,
    });
  }
  const { kind, remedy } = meaningOf(statusCode);
  return new SluiceError(kind, `${doing}: ${json?.message ?? describeError(error)}`, { remedy, cause: error });
}

function meaningOf(statusCode: number | undefined): { kind: ErrorKind; remedy: string } {
  switch (statusCode) {
    case 404:
      return { kind: "missing-object", remedy: "Somebody has removed it meanwhile: run pulumi up again." };
    case 409:
      return { kind: "conflict", remedy: "The engine is busy with the same container: run the same again." };
    case 400:
      return { kind: "process", remedy: "Correct the setting of deployment that the engine's answer names." };
    default:
      return {
        kind: "process",
        remedy: "Look at the container engine's own log (journalctl -u docker), then run the same again.",
      };
  }
}

/** Runs one request. @throws SluiceError that says what was being done */
export async function ask<T>(engine: Engine, doing: string, request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (error) {
    throw engineError(error, doing, engine);
  }
}

/** The same; null when the engine has no such object. */
export async function find<T>(engine: Engine, doing: string, request: () => Promise<T>): Promise<T | null> {
  try {
    return await request();
  } catch (error) {
    if (statusOf(error) === 404) return null;
    throw engineError(error, doing, engine);
  }
}

import type Docker from "dockerode";
import { describeError, type ErrorKind, SluiceError } from "../../runtime/errors";
import type { DockerOptions } from "./docker-options";

export interface Engine {
  docker: Docker;
  /** for messages */
  address: string;
}

export function openEngine({ socketPath }: Pick<DockerOptions, "socketPath">): Engine {
  // Loaded here, as most stacks have no container.
  const Client = require("dockerode") as typeof import("dockerode");
  if (socketPath !== undefined) return { docker: new Client({ socketPath }), address: socketPath };
  const given = process.env.DOCKER_HOST;
  // dockerode reads the variable itself.
  return { docker: new Client(), address: given === undefined || given === "" ? "/var/run/docker.sock" : given };
}

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

const remedies: Partial<Record<string, { kind: ErrorKind; message: string; remedy: string }>> = (() => {
  const absent = {
    kind: "unreachable" as const,
    message: "no container engine answers",
    remedy: "Start the daemon, or set deployment.socketPath to where its socket is.",
  };
  const denied = {
    kind: "permission" as const,
    message: "this user may not use the container engine",
    remedy: "Add the user to the group that owns the socket (often `docker`), or use a rootless engine's socket.",
  };
  return { ENOENT: absent, ECONNREFUSED: absent, ENOTFOUND: absent, ETIMEDOUT: absent, EACCES: denied, EPERM: denied };
})();

/** Of an engine's failure: by the code of the operating system, else by the status of the answer. */
export function engineError(error: unknown, doing: string, { address }: Engine): SluiceError {
  if (error instanceof SluiceError) return error;
  const { code, statusCode, json } = error as EngineFailure;
  const known = code === undefined ? undefined : remedies[code];
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

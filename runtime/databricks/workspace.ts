import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { normalizeHost, type WorkspaceSettings } from "../databricks-config";
import { SluiceError } from "../errors";
import { resolveSecret } from "../secret-reference";
import { readProfile } from "./profile";

/** Who we are in a workspace. A secret is read when it is needed, so that another one in its place holds at once. */
export type WorkspaceIdentity =
  | { kind: "token"; readToken: () => string }
  | { kind: "oauth"; clientId: string; readSecret: () => string };

export interface Workspace {
  /** `https://…`, without a path */
  host: string;
  identity: WorkspaceIdentity;
  /** for messages: where host and identity are from */
  origin: string;
}

type Environment = Record<string, string | undefined>;

const unnamed = "DEFAULT";

export function configFilePath(settings: Pick<WorkspaceSettings, "configFile">, environment: Environment): string {
  const path = settings.configFile ?? environment.DATABRICKS_CONFIG_FILE ?? join(homedir(), ".databrickscfg");
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}

/**
 * What isn't said becomes what the environment has, as a setting: a secret becomes the reference to its variable.
 * Whatever is said is said completely: an identity that is given isn't mixed with another's parts.
 */
export function completeSettings(
  settings: WorkspaceSettings,
  environment: Environment = process.env,
): WorkspaceSettings {
  const { DATABRICKS_HOST, DATABRICKS_CLIENT_ID, DATABRICKS_CLIENT_SECRET, DATABRICKS_TOKEN } = environment;
  const { profile, token, clientSecret } = settings;
  if (profile !== undefined) return { ...settings, configFile: configFilePath(settings, environment) };
  const host =
    settings.host ?? (DATABRICKS_HOST === undefined ? undefined : (normalizeHost(DATABRICKS_HOST) ?? undefined));
  const known = { ...settings, ...(host === undefined ? {} : { host }) };
  if (token !== undefined || clientSecret !== undefined) return known;
  if (DATABRICKS_CLIENT_ID !== undefined && DATABRICKS_CLIENT_SECRET !== undefined) {
    return { ...known, clientId: DATABRICKS_CLIENT_ID, clientSecret: { env: "DATABRICKS_CLIENT_SECRET" } };
  }
  if (DATABRICKS_TOKEN !== undefined) return { ...known, token: { env: "DATABRICKS_TOKEN" } };
  const configFile = configFilePath(settings, environment);
  if (environment.DATABRICKS_CONFIG_PROFILE !== undefined) {
    return { ...known, profile: environment.DATABRICKS_CONFIG_PROFILE, configFile };
  }
  return hasProfile(configFile, unnamed) ? { ...known, profile: unnamed, configFile } : known;
}

function hasProfile(path: string, name: string): boolean {
  if (!existsSync(path)) return false;
  try {
    readProfile(path, name);
    return true;
  } catch {
    return false;
  }
}

/** @throws SluiceError `config` when host or identity is missing, or a secret can't be read */
export function resolveWorkspace(given: WorkspaceSettings, environment: Environment = process.env): Workspace {
  const settings = completeSettings(given, environment);
  if (settings.profile !== undefined) return ofProfile(settings, environment);
  const { host, token, clientId, clientSecret } = settings;
  if (host === undefined) {
    throw new SluiceError("config", "Databricks: no workspace is named", {
      remedy: "Give host, or a profile; or set DATABRICKS_HOST to the workspace's https:// address.",
    });
  }
  const origin = given.host === undefined ? "DATABRICKS_HOST" : "the settings";
  if (clientId !== undefined && clientSecret !== undefined) {
    const readSecret = () => resolveSecret(clientSecret, "the Databricks client secret");
    readSecret();
    return { host, identity: { kind: "oauth", clientId, readSecret }, origin };
  }
  if (token !== undefined) {
    const readToken = () => resolveSecret(token, "the Databricks token");
    readToken();
    return { host, identity: { kind: "token", readToken }, origin };
  }
  throw new SluiceError("config", `Databricks: nothing says who we are at ${host}`, {
    remedy:
      "Give clientId and clientSecret of a service principal, a token, or a profile; or set DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET, or DATABRICKS_TOKEN.",
  });
}

function ofProfile(settings: WorkspaceSettings, environment: Environment): Workspace {
  const name = settings.profile as string;
  const path = configFilePath(settings, environment);
  const origin = `the profile ${name} of ${path}`;
  const read = (key: string) => readProfile(path, name).get(key) || undefined;
  const host = settings.host ?? normalizeHost(read("host") ?? "");
  if (host === null) {
    throw new SluiceError("config", `Databricks: ${origin} has no host that is an https:// address`, {
      remedy: `Set it: host = https://… below [${name}].`,
    });
  }
  const need = (key: string) => () => {
    const value = read(key);
    if (value !== undefined) return value;
    throw new SluiceError("config", `Databricks: ${origin} has no ${key} any more`, {
      remedy: `Set ${key} below [${name}] again, or name another profile.`,
    });
  };
  const clientId = read("client_id");
  if (clientId !== undefined && read("client_secret") !== undefined) {
    return { host, identity: { kind: "oauth", clientId, readSecret: need("client_secret") }, origin };
  }
  if (read("token") !== undefined) return { host, identity: { kind: "token", readToken: need("token") }, origin };
  throw new SluiceError("config", `Databricks: ${origin} has neither token nor client_id and client_secret`, {
    remedy:
      "A login of a person (databricks auth login) doesn't last for a process that runs for good: make a service principal with an OAuth secret.",
  });
}

import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import { stringify } from "yaml";
import type { RuntimeConfigInput } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { isLoopback } from "../../runtime/source-config";
import { version } from "../../runtime/version";
import type { DatabricksOptions } from "./databricks-options";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import { shortName } from "./kubernetes-names";
import { placedReferences } from "./process-references";
import { fileContent, type SecretOrigin, type SecretReader, secretContent } from "./secret-origin";

/** What is deployed, but for the runtime itself. */
export interface AppSource {
  /** by name, in the folder of the app's source */
  files: Record<string, string>;
  /** by the variable of the app that has it */
  secrets: Record<string, SecretOrigin>;
  /** of all that it is made of: another is another deployment */
  digest: string;
}

/** What the workspace's folder says was applied; no file that the app reads. */
export interface AppRecord {
  directory: string;
  /** the configuration as the provider has it */
  configuration: string;
  version: string;
}

/** Of Databricks: 2 to 30 characters. */
const appNameMax = 30;

/** Pure: `<stateDir>/orders/gateway` → `sluice-orders-gateway`. */
export function appName(directory: string): string {
  const role = basename(directory);
  return `sluice-${shortName(basename(dirname(directory)), appNameMax - `sluice--${role}`.length)}-${role}`;
}

/** Pure: the workspace's folder of a process, with a folder for each of its app's sources. */
export const appFolder = ({ folder }: Pick<DatabricksOptions, "folder">, directory: string) =>
  `${folder}/${appName(directory)}`;

const mark = "pulumi-sluice ";

/** Pure: an app's description, by which it is ours. */
export const describeApp = (directory: string, tether: string | null): string =>
  `${mark}${directory}${tether === null ? "" : ` ${tether}`}`;

/** Pure: whose app that is, by its description; null for one that isn't ours. */
export function readDescription(description: string | undefined): { directory: string; tether: string | null } | null {
  if (description === undefined || !description.startsWith(mark)) return null;
  const [, directory, tether] = /^(.*?)(?: (\{.*\}))?$/.exec(description.slice(mark.length)) ?? [];
  return { directory, tether: tether ?? null };
}

/** Pure: what can't run in an app, whatever the workspace; null when all can. */
export function appProblem({ config }: Pick<ProcessSpec, "config">): SluiceError | null {
  const refuse = (message: string, remedy: string) => new SluiceError("config", message, { remedy });
  if (config.staging?.kind !== "volume") {
    return refuse(
      "an app keeps no files: its staging can't be a folder",
      'Stage in a Unity Catalog volume, the Gateway\'s staging: { kind: "volume", volume: "catalog.schema.volume" }, and give it to the pipeline too.',
    );
  }
  if (config.role === "gateway" && isLoopback(config.source.host)) {
    return refuse(
      `the source's host ${config.source.host} is the app itself, in an app`,
      "Give the host as the workspace's serverless compute reaches it.",
    );
  }
  if (config.role === "applier" && config.destination.kind === "local") {
    return refuse(
      "an app keeps no files: it can't write Delta tables into a folder",
      'Write by a SQL warehouse, destination: { kind: "databricks", mode: "warehouse", … }, or run the applier elsewhere.',
    );
  }
  if (config.role === "applier" && config.trigger?.kind === "once") {
    return refuse('an app runs for good: there is no trigger "once"', 'Use the trigger "continuous" or "schedule".');
  }
  if ((config.http?.port ?? 0) > 0) {
    return refuse("an app's port is the platform's choice", "Leave httpPort out.");
  }
  const workspaces = [config.staging.workspace, config.role === "applier" ? config.destination : {}];
  if (workspaces.some((workspace) => "profile" in workspace && workspace.profile !== undefined)) {
    return refuse(
      "an app has no .databrickscfg",
      'Give the process clientId and clientSecret: { env: "NAME" } of a service principal, in staging.workspace and destination.',
    );
  }
  return null;
}

/**
 * Pure but for certificates, which it reads: all that an app of this process is made of. Secrets become variables of the app, whose
 * own `DATABRICKS_…` are its own service principal's; where files are is the app's business.
 * @throws SluiceError `config`
 */
export function appSource(spec: ProcessSpec): AppSource {
  const problem = appProblem(spec);
  if (problem !== null) throw problem;
  const secrets: Record<string, SecretOrigin> = {};
  const variableOf = (origin: SecretOrigin): { env: string } => {
    const named = origin.kind === "file" ? basename(origin.path) : origin.name;
    const name = `SLUICE_SECRET_${named.replaceAll(/[^A-Za-z0-9]+/g, "_").toUpperCase()}`;
    const known = secrets[name];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(origin)) {
      throw new SluiceError("config", `two secrets would be the variable ${name} of the app`, {
        remedy: "Name one of their variables or files otherwise.",
      });
    }
    secrets[name] = origin;
    return { env: name };
  };
  const own = {
    ...spec.config,
    ...placedReferences(spec, {
      secret: variableOf,
      // Certificates are no secrets, and are as good as text.
      file: (setting, path) =>
        setting.endsWith("CertFile")
          ? [setting.replace(/File$/, ""), fileContent(path, "app", "give the certificate as text")]
          : [setting, path],
    }),
  };
  const record: AppRecord = { directory: spec.directory, configuration: renderConfiguration(spec.config), version };
  const files = {
    "config.json": renderConfiguration(own as RuntimeConfigInput),
    "app.yaml": stringify({
      command: ["node", "node_modules/pulumi-sluice/dist/runtime/main.js", "app", "--config", "config.json"],
      env: Object.keys(secrets)
        .sort()
        .map((name) => ({ name, valueFrom: resourceName(name) })),
    }),
    "record.json": `${JSON.stringify(record, null, 2)}\n`,
  };
  const digest = createHash("sha256")
    .update(JSON.stringify([files, version]))
    .digest("hex")
    .slice(0, 16);
  return { files, secrets, digest };
}

/** Pure: the app's resource that has a variable's secret: letters, digits and hyphens. */
export const resourceName = (variable: string) => variable.toLowerCase().replaceAll("_", "-");

const app: SecretReader = {
  reader: "app",
  orHave: (name) => `set deployment.secretScope to a scope with the key ${name}`,
  orName: "set deployment.secretScope",
};

/** Content of the secrets, by variable. @throws SluiceError `config` */
export function secretContents(spec: ProcessSpec, secrets: Record<string, SecretOrigin>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(secrets).map(([name, origin]) => {
      const content = secretContent(spec, origin, app);
      // Who reads a file takes its last line's end off; who reads a variable doesn't.
      return [name, origin.kind === "file" ? content.replace(/\r?\n$/, "") : content];
    }),
  );
}

/** Pure: a secret's key in a scope that is the user's. @throws SluiceError `config` for a value, which no scope has */
export function keyInScope(scope: string, secret: SecretOrigin): string {
  switch (secret.kind) {
    case "variable":
      return secret.name;
    case "file":
      return basename(secret.path);
    case "value":
      throw new SluiceError("config", `a secret of source is a value, and ${scope} has none for it`, {
        remedy: 'Give { env: "NAME" }, and the scope a key of this name; or leave secretScope out.',
      });
  }
}

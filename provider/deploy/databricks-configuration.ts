import { basename } from "node:path";
import { z } from "zod";
import type { RuntimeConfigInput } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { isLoopback } from "../../runtime/source-config";
import { version } from "../../runtime/version";
import { type ProcessSpec, renderConfiguration } from "./deployment";
import { placedReferences } from "./process-references";
import { fileContent, type SecretOrigin } from "./secret-origin";

/** What a process of a workspace is: its word in what is told. */
export type Host = "app" | "job";

/** What the workspace's folder says was applied; no file that the process reads. */
export interface ProcessRecord {
  directory: string;
  /** the configuration as the provider has it */
  configuration: string;
  version: string;
}

export const recordFile = "record.json";

const recordSchema: z.ZodType<ProcessRecord> = z.object({
  directory: z.string(),
  configuration: z.string(),
  version: z.string(),
});

/** The record's file. */
export function renderRecord({ directory, config }: ProcessSpec): string {
  const record: ProcessRecord = { directory, configuration: renderConfiguration(config), version };
  return `${JSON.stringify(record, null, 2)}\n`;
}

export function parseRecord(text: string | null): ProcessRecord | null {
  try {
    return text === null ? null : recordSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

const words = {
  app: { a: "an app", reach: "the workspace's serverless compute", port: "an app's port is the platform's choice" },
  job: { a: "a job", reach: "the job's cluster", port: "nobody reaches a port of a job's cluster" },
} as const;

/** Pure: what can't run in an app or a job, whatever the workspace; null when all can. */
export function processProblem({ config }: Pick<ProcessSpec, "config">, host: Host): SluiceError | null {
  const refuse = (message: string, remedy: string) => new SluiceError("config", message, { remedy });
  const { a, reach, port } = words[host];
  if (config.staging?.kind !== "volume") {
    return refuse(
      `${a} keeps no files: its staging can't be a folder`,
      'Stage in a Unity Catalog volume, the Gateway\'s staging: { kind: "volume", volume: "catalog.schema.volume" }, and give it to the pipeline too.',
    );
  }
  if (config.role === "gateway" && isLoopback(config.source.host)) {
    return refuse(
      `the source's host ${config.source.host} is the ${host} itself, in ${a}`,
      `Give the host as ${reach} reaches it.`,
    );
  }
  if (config.role === "applier" && config.destination.kind === "local") {
    return refuse(
      `${a} keeps no files: it can't write Delta tables into a folder`,
      'Write by a SQL warehouse, destination: { kind: "databricks", mode: "warehouse", … }, or run the applier elsewhere.',
    );
  }
  if (config.role === "applier" && config.trigger?.kind === "once") {
    return refuse(`${a} runs for good: there is no trigger "once"`, 'Use the trigger "continuous" or "schedule".');
  }
  if ((config.http?.port ?? 0) > 0) return refuse(port, "Leave httpPort out.");
  const workspaces = [config.staging.workspace, config.role === "applier" ? config.destination : {}];
  if (workspaces.some((workspace) => "profile" in workspace && workspace.profile !== undefined)) {
    return refuse(
      `${a} has no .databrickscfg`,
      'Give the process clientId and clientSecret: { env: "NAME" } of a service principal, in staging.workspace and destination.',
    );
  }
  return null;
}

/** A process's own configuration, where what it names on this machine is elsewhere. */
export interface PlacedConfiguration {
  config: RuntimeConfigInput;
  /** by the variable that has it there */
  secrets: Record<string, SecretOrigin>;
}

/**
 * Pure but for certificates, which it reads. Secrets become variables of names of ours, as `DATABRICKS_…` are the platform's; where
 * files are is the process's own business.
 * @throws SluiceError `config`
 */
export function placedConfiguration(spec: ProcessSpec, host: Host): PlacedConfiguration {
  const problem = processProblem(spec, host);
  if (problem !== null) throw problem;
  const secrets: Record<string, SecretOrigin> = {};
  const variableOf = (origin: SecretOrigin): { env: string } => {
    const named = origin.kind === "file" ? basename(origin.path) : origin.name;
    const name = `SLUICE_SECRET_${named.replaceAll(/[^A-Za-z0-9]+/g, "_").toUpperCase()}`;
    const known = secrets[name];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(origin)) {
      throw new SluiceError("config", `two secrets would be the variable ${name} of the ${host}`, {
        remedy: "Name one of their variables or files otherwise.",
      });
    }
    secrets[name] = origin;
    return { env: name };
  };
  const own = placedReferences(spec, {
    secret: variableOf,
    // Certificates are no secrets, and are as good as text.
    file: (setting, path) =>
      setting.endsWith("CertFile")
        ? [setting.replace(/File$/, ""), fileContent(path, host, "give the certificate as text")]
        : [setting, path],
  });
  return { config: { ...spec.config, ...own } as RuntimeConfigInput, secrets };
}

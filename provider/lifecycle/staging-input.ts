import { join, resolve } from "node:path";
import { z } from "zod";
import { type StagingConfig, volumeStagingShape } from "../../runtime/config";
import { checkAccess } from "../../runtime/databricks/access-check";
import { completeSettings, resolveWorkspace } from "../../runtime/databricks/workspace";
import { WorkspaceClient } from "../../runtime/databricks/workspace-client";
import {
  parseVolumePath,
  volumeNameSchema,
  volumePath,
  type WorkspaceSettings,
  workspaceSchema,
} from "../../runtime/databricks-config";
import { describeError } from "../../runtime/errors";
import type { SecretReference } from "../../runtime/secret-reference";
import type { Deployment, StagingPlace } from "../deploy/deployment";
import { stagingVolume } from "../deploy/staging-volume";
import type { CheckFailure, Properties } from "./lifecycle";
import { absolutePathSchema } from "./local-place";
import { containsUnknown, isUnknown } from "./unknown-value";

const volumeSchema = z.strictObject({
  kind: z.literal("volume"),
  /** `catalog.schema.volume`, which exists */
  volume: volumeNameSchema,
  /** folder in it, of this gateway alone; default: the deployment's id */
  path: z
    .string()
    .regex(/^[\w.-]+(\/[\w.-]+)*$/, "a path in a volume has letters, digits, _, ., - and / between them")
    .optional(),
  workspace: workspaceSchema.prefault({}),
  ...volumeStagingShape,
});
export type VolumeStaging = z.infer<typeof volumeSchema>;

export const stagingInputSchema = z
  .discriminatedUnion("kind", [
    /** `stagingPath` by another name */
    z.strictObject({ kind: z.literal("folder"), path: absolutePathSchema }),
    volumeSchema,
  ])
  .optional();

const volumeOf = (inputs: Properties): VolumeStaging | null => {
  const staging = inputs.staging as { kind?: unknown } | undefined;
  return staging?.kind === "volume" ? (staging as VolumeStaging) : null;
};

/** Pure: what tells one place of staging from another, as far as its path doesn't. */
export const stagingHostOf = (staging: unknown): unknown =>
  containsUnknown(staging) ? staging : (staging as Partial<VolumeStaging> | undefined)?.workspace?.host;

/**
 * Completes the inputs `staging` and `stagingPath`: a folder is a `stagingPath` alone, as in stacks of before; a workspace
 * that isn't said is that of the environment, or what it was before.
 * @param defaultPath where staging is when nothing is said of it
 */
export function completeStaging(olds: Properties, inputs: Properties, defaultPath: string | undefined): CheckFailure[] {
  const staging = inputs.staging as { kind?: unknown; path?: unknown } | undefined;
  if (staging === undefined) {
    inputs.stagingPath ??= defaultPath;
    if (inputs.stagingPath === undefined) delete inputs.stagingPath;
    return [];
  }
  if (isUnknown(staging) || isUnknown(staging.kind)) return [];
  if (inputs.stagingPath !== undefined) {
    const reason = "staging and stagingPath exclude each other\n  remedy: Leave stagingPath out.";
    return [{ property: "stagingPath", reason }];
  }
  if (staging.kind === "folder") {
    if (!containsUnknown(staging)) inputs.stagingPath = staging.path;
    delete inputs.staging;
    return [];
  }
  return completeVolume(olds, inputs);
}

function completeVolume(olds: Properties, inputs: Properties): CheckFailure[] {
  const staging = inputs.staging as VolumeStaging;
  const folder = staging.path ?? inputs.deploymentId;
  if (!containsUnknown([staging.volume, folder])) inputs.stagingPath = `${volumePath(staging.volume)}/${folder}`;
  const completed = completeWorkspace(volumeOf(olds)?.workspace, staging.workspace);
  if (completed.problem !== null) return [{ property: "staging.workspace", reason: completed.problem }];
  inputs.staging = { ...staging, workspace: completed.workspace };
  return [];
}

type Completed = { problem: null; workspace: WorkspaceSettings } | { problem: string };

/**
 * A workspace that isn't said is that of the environment, or what it was `before`. `problem`: what is missing, with its
 * remedy.
 */
export function completeWorkspace(before: WorkspaceSettings | undefined, given: WorkspaceSettings): Completed {
  const found = (workspace: WorkspaceSettings): Completed => ({ problem: null, workspace });
  if (containsUnknown(given)) return found(given);
  const completed = completeSettings(given);
  const isWhole = ({ host, profile, token, clientSecret }: WorkspaceSettings) =>
    profile !== undefined || (host !== undefined && (token ?? clientSecret) !== undefined);
  if (isWhole(completed)) return found(completed);
  if (before !== undefined && isWhole({ ...before, ...given })) return found({ ...before, ...given });
  try {
    resolveWorkspace(given);
    return found(completed);
  } catch (error) {
    return { problem: describeError(error) };
  }
}

/** The applier's inputs, from the gateway's: path and kind agree. */
export function completePipelineStaging(olds: Properties, inputs: Properties): CheckFailure[] {
  const staging = inputs.staging as { kind?: unknown } | undefined;
  const { stagingPath } = inputs;
  if (staging === undefined || isUnknown(staging) || isUnknown(staging.kind)) {
    const isVolume =
      typeof stagingPath === "string" && !isUnknown(stagingPath) && parseVolumePath(stagingPath) !== null;
    if (!isVolume || staging !== undefined) return [];
    const reason = `${stagingPath} is in a volume\n  remedy: Give the staging of the Gateway too: staging: { kind: "volume", … }.`;
    return [{ property: "staging", reason }];
  }
  if (staging.kind === "folder") {
    delete inputs.staging;
    return [];
  }
  const { volume, workspace } = staging as VolumeStaging;
  const completed = completeWorkspace(volumeOf(olds)?.workspace, workspace);
  if (completed.problem !== null) return [{ property: "staging.workspace", reason: completed.problem }];
  inputs.staging = { ...staging, workspace: completed.workspace };
  if (containsUnknown([volume, stagingPath]) || String(stagingPath).startsWith(`${volumePath(volume)}/`)) return [];
  const reason = `it isn't in the volume ${volume}\n  remedy: Give stagingPath and staging of one Gateway.`;
  return [{ property: "stagingPath", reason }];
}

/** Where the inputs' staging is made, looked at and removed. */
export function stagingPlace(inputs: Properties, deployment: Deployment): StagingPlace {
  const volume = volumeOf(inputs);
  return volume === null ? deployment.staging : stagingVolume(volume.workspace);
}

export const isInVolume = (inputs: Properties): boolean => volumeOf(inputs) !== null;

/** Pure: parts of a process's configuration; none for a folder, as in configurations of before. */
export function stagingConfig(inputs: Properties, directory: string): { staging?: StagingConfig } {
  const volume = volumeOf(inputs);
  if (volume === null) return {};
  const { cacheBytesMax, uploadsMax, workspace } = volume;
  const localPath = join(directory, "staging");
  return { staging: { kind: "volume", workspace: withPaths(workspace), localPath, cacheBytesMax, uploadsMax } };
}

/** Paths hold wherever the process runs. */
export function withPaths(workspace: WorkspaceSettings): WorkspaceSettings {
  const of = (secret: SecretReference | undefined) =>
    secret !== undefined && "file" in secret ? { file: resolve(secret.file) } : secret;
  const { token, clientSecret, configFile, ...others } = workspace;
  return {
    ...others,
    ...(token === undefined ? {} : { token: of(token) }),
    ...(clientSecret === undefined ? {} : { clientSecret: of(clientSecret) }),
    ...(configFile === undefined ? {} : { configFile: resolve(configFile) }),
  };
}

/** Names of the environment variables that it refers to. */
export function stagingVariables(inputs: Properties): string[] {
  const { token, clientSecret } = volumeOf(inputs)?.workspace ?? {};
  return [token, clientSecret].flatMap((secret) => (secret !== undefined && "env" in secret ? [secret.env] : []));
}

/** What of a workspace would fail, with the GRANT that is missing; reads only. */
export async function checkVolume(inputs: Properties): Promise<CheckFailure[]> {
  const staging = volumeOf(inputs);
  if (staging === null || containsUnknown(staging)) return [];
  let client: WorkspaceClient;
  try {
    client = new WorkspaceClient(resolveWorkspace(staging.workspace), { retryMsMax: preflightMsMax });
  } catch (error) {
    return [{ property: "staging.workspace", reason: describeError(error) }];
  }
  const failures: CheckFailure[] = [];
  try {
    for await (const { check, message, object, remedy, result } of checkAccess(client, { volume: staging.volume })) {
      if (result !== "failed") continue;
      const property = check === "identity" ? "staging.workspace" : "staging.volume";
      const what = check === "identity" || check === "files" ? message : `${check} ${object}: ${message}`;
      failures.push({ property, reason: remedy === undefined ? what : `${what}\n  remedy: ${remedy}` });
    }
  } finally {
    client.close();
  }
  return failures;
}

/** A preview waits no longer for a workspace that is away. */
const preflightMsMax = 10_000;

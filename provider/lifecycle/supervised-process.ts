import { z } from "zod";
import { reservedIds, runtimeConfigSchema } from "../../runtime/config";
import { describeError, SluiceError } from "../../runtime/errors";
import {
  type Applied,
  type Deployment,
  type Inspection,
  type ProcessSpec,
  renderConfiguration,
} from "../deploy/deployment";
import { type DeploymentOf, engineOf, targetInputSchema } from "../deploy/target";
import type { CheckFailure, Properties } from "./lifecycle";
import { absolutePathSchema, folderProblem, isPortTaken } from "./local-place";
import { isOwn, rememberOwn } from "./own-names";
import { settingsDrift } from "./process-drift";
import { containsUnknown, isUnknown } from "./unknown-value";

/** Inputs that both processes have. */
export const processShape = {
  /** names the deployment's folder below stateDir, and the process in logs and sessions */
  deploymentId: z
    .string()
    .regex(/^[a-zA-Z0-9_.-]{1,63}$/, {
      error: "a deployment id has 1 to 63 of the characters a-z, A-Z, 0-9, _, . and -",
    })
    .refine((id) => !(reservedIds as readonly string[]).includes(id), {
      error: `a deployment id isn't ${reservedIds.join(" or ")}`,
    }),
  stateDir: absolutePathSchema,
  /** where the process runs; default local */
  deployment: targetInputSchema,
  httpPort: z.int().min(1).max(65535).optional(),
  startTimeoutMs: z.int().min(1_000).max(3_600_000).default(60_000),
  stopTimeoutMs: z.int().min(1_000).max(3_600_000).default(30_000),
  forceDelete: z.boolean().optional(),
  preflight: z.enum(["preview", "up"]).default("preview"),
};

/** Failures of the folder and the port that can be known now, where they are this machine's. `olds` are those of an existing process, else empty. */
export async function checkPlace(
  deploymentOf: DeploymentOf,
  olds: Properties,
  inputs: Properties,
  folders: readonly { property: string; path: unknown }[],
): Promise<CheckFailure[]> {
  if (typeof olds.httpPort === "number") rememberOwn("port", String(olds.httpPort));
  if (inputs.preflight !== "preview" || containsUnknown(inputs.deployment)) return [];
  if (!deploymentOf(inputs.deployment).isHere) return [];
  const failures: CheckFailure[] = [];
  for (const { property, path } of folders) {
    if (typeof path !== "string" || isUnknown(path)) continue;
    const problem = folderProblem(path);
    if (problem === null) continue;
    failures.push({
      property,
      reason: `nothing can be written to ${path}: ${problem}\n  remedy: Choose another ${property}, or make it writable for this user.`,
    });
  }
  const port = inputs.httpPort;
  if (typeof port === "number" && !isOwn("port", String(port)) && (await isPortTaken(port))) {
    failures.push({
      property: "httpPort",
      reason: `port ${port} on 127.0.0.1 is taken\n  remedy: Choose another httpPort, or leave it out to take any free one.`,
    });
  }
  return failures;
}

/** Pure: what of the process isn't as it should be. */
export function processDrift(found: Inspection, spec: ProcessSpec): string[] {
  const role = spec.config.role;
  switch (found.kind) {
    case "absent":
      return [`the ${role}'s folder ${spec.directory} is gone`];
    case "dead":
      return [`the ${role} isn't running`];
    case "failed":
      return [`the ${role} has failed: ${found.message}`];
    case "foreign":
      return [`${found.what} isn't the ${role}'s, but has its name`];
    case "running":
    case "finished":
      return settingsDrift(found, spec);
  }
}

/**
 * A folder with another deployment's process in it is left alone; what an interrupted create of ours left is removed.
 * @param same tells whether a configuration is of the same deployment
 * @returns whether something was removed
 */
export async function clearLeftover(
  deployment: Deployment,
  spec: ProcessSpec,
  same: (config: z.infer<typeof runtimeConfigSchema>) => boolean,
): Promise<boolean> {
  const found = await deployment.inspect(spec.directory);
  if (found.kind === "absent") return false;
  if (found.kind === "foreign") {
    throw new SluiceError("name-taken", `${found.what} exists and isn't this deployment's`, {
      remedy: "Choose another deploymentId; or remove it, if nobody needs it.",
    });
  }
  const config = parseConfiguration(found.configuration);
  if (config === null || !same(config)) {
    throw new SluiceError("name-taken", `the folder ${spec.directory} is another deployment's`, {
      remedy: `Choose another stateDir; or, if it is left over, stop its process and remove ${spec.directory}.`,
    });
  }
  await deployment.remove(spec.directory, spec.stopTimeoutMs);
  return true;
}

/** Null when it isn't one of ours. */
export function parseConfiguration(text: string): z.infer<typeof runtimeConfigSchema> | null {
  try {
    return runtimeConfigSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** A process as it shall be, and where. */
export interface Placed {
  spec: ProcessSpec;
  /** the input */
  target: unknown;
  deployment: Deployment;
}

/**
 * Applies, in another folder or on another target too; when that fails the process runs as before, as far as it can, and the failure
 * is thrown.
 */
export async function applyOrRestore(wanted: Placed, before: Placed): Promise<Applied> {
  const moves = wanted.spec.directory !== before.spec.directory || !isSameTarget(wanted.target, before.target);
  try {
    // Two must never write the same tables.
    if (moves) await before.deployment.remove(before.spec.directory, before.spec.stopTimeoutMs);
    return await wanted.deployment.apply(wanted.spec);
  } catch (error) {
    const isSame = renderConfiguration(wanted.spec.config) === renderConfiguration(before.spec.config);
    if (isSame && !moves) throw error;
    const restored = await restore(moves ? wanted : null, before).then(
      () => "it runs with its settings of before again",
      (second: unknown) => `nor does it run with its settings of before: ${describeError(second)}`,
    );
    const { kind, message, remedy } = error instanceof SluiceError ? error : internal(error);
    throw new SluiceError(kind, `${message}\n  ${restored}`, { remedy, cause: error });
  }
}

async function restore(left: Placed | null, before: Placed): Promise<void> {
  if (left !== null) await left.deployment.remove(left.spec.directory, left.spec.stopTimeoutMs);
  await before.deployment.apply(before.spec);
}

/** One engine's containers are replaced by itself; the process of another target is ended there first. */
const isSameTarget = (one: unknown, other: unknown) => engineOf(one) === engineOf(other);

/** The failure of a create, after what it had made was removed again. */
export async function undone(error: unknown, remove: () => Promise<void>): Promise<unknown> {
  try {
    await remove();
    return error;
  } catch (second) {
    const failure = error instanceof SluiceError ? error : internal(error);
    return new SluiceError(
      failure.kind,
      `${failure.message}\n  what was made could not be removed: ${describeError(second)}`,
      {
        remedy: failure.remedy,
        cause: error,
      },
    );
  }
}

/** The target's own failure, as one of its input, where it may be asked. */
export async function checkTarget(
  deploymentOf: DeploymentOf,
  inputs: Properties,
  specOf: (inputs: Properties) => ProcessSpec,
): Promise<CheckFailure[]> {
  if (inputs.preflight !== "preview" || containsUnknown(inputs.deployment)) return [];
  const problem = await deploymentOf(inputs.deployment).preflight(containsUnknown(inputs) ? null : specOf(inputs));
  return problem === null ? [] : [{ property: "deployment", reason: describeError(problem) }];
}

function internal(error: unknown): SluiceError {
  return new SluiceError("internal", describeError(error));
}

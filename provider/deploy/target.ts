import { z } from "zod";
import type { Deployment } from "./deployment";
import { dockerDeployment } from "./docker";
import { dockerOptionsSchema } from "./docker-options";
import { localDeployment } from "./local";

/** Where the processes run; a further target is a further member here, and a case below. */
const targetSchema = z.discriminatedUnion("kind", [z.strictObject({ kind: z.literal("local") }), dockerOptionsSchema]);
export type Target = z.infer<typeof targetSchema>;

/** The input; that of a local process is left out, as it is in stacks of before it. */
export const targetInputSchema = targetSchema
  .optional()
  .transform((target) => (target?.kind === "local" ? undefined : target));

/** The deployment of a resource's input `deployment`. */
export type DeploymentOf = (target: unknown) => Deployment;

const local = localDeployment();

export const targetOf = (input: unknown): Target => targetSchema.parse(input ?? { kind: "local" });

/**
 * Pure: what tells one place of staging from another; a deployment that moves there needs another staging. Folders of this
 * machine are one place, whatever runs there.
 */
export function stagingPlaceOf(input: unknown): unknown {
  const parsed = targetSchema.safeParse(input ?? { kind: "local" });
  return parsed.success ? placeOf(parsed.data) : input;
}

function placeOf(target: Target): string {
  switch (target.kind) {
    case "local":
    case "docker":
      return "this machine";
  }
}

export function deploymentOf(input: unknown): Deployment {
  const target = targetOf(input);
  switch (target.kind) {
    case "local":
      return local;
    case "docker":
      return dockerDeployment(target);
  }
}

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

export function deploymentOf(input: unknown): Deployment {
  const target = targetOf(input);
  switch (target.kind) {
    case "local":
      return local;
    case "docker":
      return dockerDeployment(target);
  }
}

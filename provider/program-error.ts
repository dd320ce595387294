import * as pulumi from "@pulumi/pulumi";
import { describeError } from "../runtime/errors";
import type { CheckResult, Properties } from "./lifecycle/lifecycle";

/** What ends a program: the resource's name, what is wrong and the remedy, and no lines of code. */
export function programError(resource: pulumi.Resource, error: unknown): pulumi.ResourceError {
  return new pulumi.ResourceError(describeError(error), resource, true);
}

/** What `work` returns. @throws what ends the program, of what it throws */
export function orEndProgram<T>(resource: pulumi.Resource, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw programError(resource, error);
  }
}

/** Inputs that are sound. @throws what ends the program: all that is wrong, each by its input */
export function soundInputs(resource: pulumi.Resource, { inputs, failures }: CheckResult): Properties {
  if (failures.length === 0) return inputs;
  throw programError(resource, failures.map(({ property, reason }) => `${property}: ${reason}`).join("\n"));
}

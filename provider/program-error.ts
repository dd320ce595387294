import * as pulumi from "@pulumi/pulumi";
import { describeError } from "../runtime/errors";

/** What ends a program: the resource's name, what is wrong and the remedy, and no lines of code. */
export function programError(resource: pulumi.Resource, error: unknown): pulumi.ResourceError {
  return new pulumi.ResourceError(describeError(error), resource, true);
}

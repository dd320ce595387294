import * as pulumi from "@pulumi/pulumi";

/** Which resource of which stack it is: by it a create or delete of a provider, that is told no URN, knows it again. */
export function originOf(name: string): string {
  return [pulumi.getOrganization(), pulumi.getProject(), pulumi.getStack(), name].join("/");
}

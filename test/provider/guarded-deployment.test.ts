// Contract: a deployment with a private key as a text is a secret of the state as a whole, however the key is given; one
// without is readable there. Invariant 6 (no secret leaves the place it was given to).
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { type DeploymentArgs, guardedDeployment } from "../../provider/source";

const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
const isSecret = (deployment: pulumi.Input<DeploymentArgs>) =>
  pulumi.isSecret(guardedDeployment(deployment) as pulumi.Output<unknown>);
const ssh = (given: pulumi.Input<string>): DeploymentArgs => ({
  kind: "docker",
  host: "ssh://ops@data1",
  ssh: { key: given },
});

describe("a deployment", () => {
  it.each([
    ["a key as a text", () => ssh(key)],
    ["a key that is an output", () => ssh(pulumi.output(key))],
    ["a secret key", () => ssh(pulumi.secret(key))],
    ["a certificate's key", (): DeploymentArgs => ({ kind: "docker", host: "tcp://data1:2376", tls: { key } })],
    ["an output with a key", () => pulumi.output(ssh(key))],
  ] as const)("with %s is a secret", async (_, deployment) => expect(await isSecret(deployment())).toBe(true));

  it.each([
    ["none", (): DeploymentArgs => ({ kind: "docker" })],
    ["a key's path", () => ssh("/home/ops/.ssh/id_ed25519")],
    ["no containers", (): DeploymentArgs => ({ kind: "local" })],
  ] as const)("with %s isn't", async (_, deployment) => expect(await isSecret(deployment())).toBe(false));

  it("that is left out stays so", () => expect(guardedDeployment(undefined)).toBeUndefined());
});

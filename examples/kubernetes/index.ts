import * as pulumi from "@pulumi/pulumi";
import { type KubernetesArgs, PostgresIngestion, type Preflight } from "pulumi-sluice";

const config = new pulumi.Config();

const deployment: KubernetesArgs = {
  kind: "kubernetes",
  context: config.get("context"),
  namespace: config.require("namespace"),
  // Where the cluster's nodes can pull it: npm run image, docker tag, docker push.
  image: config.require("image"),
  // It has the key SLUICE_PASSWORD, so that no password passes through Pulumi's machine into the cluster.
  existingSecret: config.get("secret"),
  staging: { size: "50Gi" },
  // One that is made, and stays at destroy; or the name of one that is there, which other pods read too.
  destinationClaim: config.get("lake") ?? { size: "500Gi" },
  resources: { requests: { cpu: "250m", memory: "1Gi" }, limits: { memory: "3Gi" } },
  labels: { "example.com/stack": pulumi.getStack() },
  service: true,
};

const orders = new PostgresIngestion("orders", {
  source: {
    host: config.require("host"),
    port: config.getNumber("port"),
    database: config.require("database"),
    user: config.require("user"),
    password: { env: "SLUICE_PASSWORD" },
    sslMode: config.get<"verify-full" | "require">("sslMode"),
  },
  tables: config.requireObject<string[]>("tables"),
  // Paths that the pods see: neither is on this machine.
  stateDir: "/var/lib/sluice",
  destination: { kind: "local", path: "/lake" },
  deployment,
  applier: { trigger: { kind: "schedule", cron: "*/5 * * * *" } },
  // Previews on machines that reach neither database nor cluster: pulumi config set preflight up.
  preflight: config.get<Preflight>("preflight"),
});

/** What `sluice manifests --stack-outputs` takes of a stack. */
export const publicationName = orders.publicationName;
export const slotName = orders.slotName;
export const image = orders.gateway.imageDigest;

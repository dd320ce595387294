import * as pulumi from "@pulumi/pulumi";
import { type DockerArgs, PostgresIngestion, type Preflight } from "pulumi-sluice";

const config = new pulumi.Config();

const deployment: DockerArgs = {
  kind: "docker",
  // ssh://user@host, or tcp://host:2376 with the certificates of DOCKER_CERT_PATH; without it DOCKER_HOST, or the socket here.
  host: config.get("engine"),
  // On this machine too, so that nothing of it is in the containers.
  storage: "volumes",
  // One that is there already, for a lake that others read; else one is made.
  destinationVolume: config.get("destinationVolume"),
  network: config.get("network"),
  memoryBytesMax: 3 * 1024 ** 3,
  labels: { "com.example.stack": pulumi.getStack() },
};
const knownHosts = config.get("knownHosts");
const key = config.getSecret("sshKey");
if (deployment.host?.startsWith("ssh:")) deployment.ssh = { knownHosts, key };

const orders = new PostgresIngestion("orders", {
  source: {
    host: config.require("host"),
    port: config.getNumber("port"),
    database: config.require("database"),
    user: config.require("user"),
    password: config.requireSecret("password"),
  },
  tables: config.requireObject<string[]>("tables"),
  // Paths that the containers see: neither is on this machine.
  stateDir: "/sluice",
  destination: { kind: "local", path: "/lake" },
  deployment,
  applier: { onDelete: config.get("onDelete") === "drop" ? "drop" : "keep" },
  // Previews on machines that reach neither database nor engine: pulumi config set preflight up.
  preflight: config.get<Preflight>("preflight"),
});

const container = (role: string) => pulumi.interpolate`sluice-${orders.gateway.deploymentId}-${role}`;
export const containers = { gateway: container("gateway"), applier: container("applier") };
export const image = orders.gateway.imageDigest;
export const look = pulumi.interpolate`docker exec ${containers.applier} sluice status`;

import * as pulumi from "@pulumi/pulumi";
import type { SecretReference } from "../runtime/secret-reference";
import type { WorkspaceArgs } from "./staging";

export type { SecretReference };

/** The same object with each property as a Pulumi input. */
export type Inputs<T> = { [K in keyof T]: pulumi.Input<NonNullable<T[K]>> };

/** How to reach the source database. */
export interface Source {
  /** Host name or address. */
  host: string;
  /** Default 5432. */
  port?: number;
  /** Database that holds the tables; another one replaces everything. */
  database: string;
  /** Role with `REPLICATION` that owns the tables, or is a member of their owner. */
  user: string;
  /**
   * Where the password is found: `{ env: "NAME" }` or `{ file: "/path" }`. It is read where it is used, so that it is in no
   * state, file, log or process argument, and its rotation is no change: the gateway reads it at each connection. Or a
   * value, `pulumi.secret(…)`: it is in the state, encrypted, and in a file of the gateway's folder for this user alone.
   */
  password?: SecretReference | string;
  /**
   * As libpq's: `disable`; `require` encrypts and checks nothing; `verify-ca` checks who has signed the server's
   * certificate; `verify-full` also that it is of this host. Default `verify-full`, and `disable` on the loopback
   * interface.
   */
  sslMode?: "disable" | "require" | "verify-ca" | "verify-full";
  /** PEM file of the certificate authorities, for `verify-ca` and `verify-full`; default: those of Node. */
  sslRootCertFile?: string;
  /** The same as text. */
  sslRootCert?: string;
  /** The name that the server's certificate has, where it isn't `host`: of a tunnel, or an address. */
  sslServerName?: string;
  /** PEM file of the client's certificate, where the server asks for one. */
  sslCertFile?: string;
  /** The same as text. */
  sslCert?: string;
  /** The client certificate's private key, PEM without a passphrase; given as a password is. */
  sslKey?: SecretReference | string;
  /** Milliseconds; default 10,000. */
  connectTimeoutMs?: number;
  /**
   * Further servers of the same cluster, in the order in which they are tried when `host` doesn't answer or isn't the
   * primary: after a failover the promoted one is found. Not needed where `host` moves with the primary.
   */
  failoverHosts?: { host: string; port?: number }[];
  /**
   * A server in recovery: `refuse`, the default; `allow` reads WAL and rows from the standby (PostgreSQL 16 and newer).
   * The slot is made there, the publication on the primary. It excludes `failoverHosts`.
   */
  standby?: "refuse" | "allow";
}

/** Secret when it is a value. */
const guarded = (secret: pulumi.Input<SecretReference | string | undefined>) =>
  pulumi.output(secret).apply((value) => (typeof value === "string" ? pulumi.secret(value) : value));

/** The settings of secrets, never in plain in a state. */
export function guardedSecrets<T extends Partial<Inputs<Source>>>(settings: T) {
  const { password, sslKey } = settings;
  return {
    ...(password === undefined ? {} : { password: guarded(password) }),
    ...(sslKey === undefined ? {} : { sslKey: guarded(sslKey) }),
  } as Pick<Inputs<Source>, "password" | "sslKey">;
}

/** A source as a whole, secret when a secret in it is a value. */
export function guardedSource(source: pulumi.Input<Source>): pulumi.Output<Source> {
  return pulumi.output(source).apply((settings) => {
    const isSecret = typeof settings.password === "string" || typeof settings.sslKey === "string";
    return isSecret ? pulumi.secret(settings) : settings;
  }) as pulumi.Output<Source>;
}

/** A table: `"schema.name"`, or `{ schema, name }` where a name has a dot. Names are case-sensitive. */
export type Table = string | { schema: string; name: string };

/**
 * When the source and this machine are looked at, read-only: `preview` (the default) in previews and updates, so that a
 * preview tells what an update would fail by; `up` in updates only, for previews on machines that can't reach them.
 */
export type Preflight = "preview" | "up";

/**
 * How a new object takes the place of an old one. `blue-green`, the default: it is made beside the old one, copies all
 * tables and catches up; only then the pipeline goes over to it, and the old one is removed. It takes a second slot and
 * walsender, and the room of a second staging, meanwhile. `stop-first`: the old one is removed before the new one is made.
 * So it is, whatever is asked for, where both would have the same name, folder or port because they are given.
 */
export type Strategy = "blue-green" | "stop-first";

/**
 * Where a process runs. `local`, the default: detached and supervised, on the machine that runs Pulumi. `docker`: in a
 * container. On that machine it has its folders, at their own paths: from one to the other the process is restarted, and
 * staging and tables stay. An engine's volumes are another place: staging there is another one, with new copies. So are the
 * claims of a cluster: `kubernetes` runs the process in a pod. `databricks` runs it as a Databricks App or job, which keeps no files:
 * staging is in a volume, and a SQL warehouse writes the tables.
 */
export type DeploymentArgs = LocalArgs | DockerArgs | KubernetesArgs | DatabricksAppArgs;

/** Processes of the machine that runs Pulumi. */
export interface LocalArgs {
  kind: "local";
  /** Who starts a process again: `sluice`, the default, as long as the machine is up; `systemd`, a unit, after that too. */
  supervisor?: "sluice" | "systemd";
  /** Of systemd: units of the machine (root's), or of this user. Default: by who runs Pulumi. */
  scope?: "user" | "system";
  /** Of scope `system`: the user of this machine whose the processes are; default root. Its folders become that user's. */
  user?: string;
}

export interface DockerArgs {
  kind: "docker";
  /**
   * The engine's address: `unix:///path`, `tcp://host:2376` (by TLS) or `ssh://user@host[:port][/path/of/its.sock]`;
   * default: that of `DOCKER_HOST`, else /var/run/docker.sock. Another engine with volumes has another staging.
   */
  host?: string;
  /** As `host: "unix://…"`: the socket of an engine (Docker, or podman's of the same API). */
  socketPath?: string;
  /** Of `tcp://`; default: ca.pem, cert.pem and key.pem of `DOCKER_CERT_PATH`, else of ~/.docker. */
  tls?: DockerTls;
  /** Of `ssh://`. */
  ssh?: DockerSsh;
  /**
   * Where staging, tables and each process's folder are: `folders` of this machine, or `volumes` of the engine; default:
   * `volumes` for an engine that isn't reached by a socket of this machine.
   */
  storage?: "folders" | "volumes";
  /**
   * With `volumes`: one that is there, for the destination; it is never removed. Default: one of ours, named by
   * `destination.path` (`/lake`: `sluice-lake`), that stays unless `onDelete: "drop"` leaves nothing in it.
   */
  destinationVolume?: string;
  /** Default `pulumi-sluice:<version>`, as `npm run image` makes it; one of another version is refused. */
  image?: string;
  /** `missing`, the default, pulls an image that the engine lacks; `always` each time; `never`. */
  pull?: "missing" | "always" | "never";
  /** A network of the engine, or `host`, where the source is on a loopback address; default: the engine's bridge. */
  network?: string;
  /** Memory of each container; the applier needs more than its `memoryBytesMax`; default: no limit. */
  memoryBytesMax?: number;
  /** Processors of each container, as 1.5; default: no limit. */
  cpus?: number;
  labels?: Record<string, string>;
  /** `uid:gid` of the process; default: whoever runs Pulumi, or 65532:65532 where that is root, or with volumes. */
  user?: string;
}

/** Each is PEM, or the absolute path of a file with it, on the machine that runs Pulumi. */
export interface DockerTls {
  /** Authority that has signed the engine's certificate; default: those that Node knows. */
  ca?: string;
  /** Our certificate and its key. A key as text is kept as a secret. */
  cert?: string;
  key?: pulumi.Input<string>;
}

/** Each is a text, or the absolute path of a file with it, on the machine that runs Pulumi. */
export interface DockerSsh {
  /** A private key without a passphrase, kept as a secret; default: those of the agent (`SSH_AUTH_SOCK`) and of ~/.ssh. */
  key?: pulumi.Input<string>;
  /** Lines of known_hosts, one of which has the host's key; default ~/.ssh/known_hosts. Another host gets nothing. */
  knownHosts?: string;
}

/** A deployment as a whole, secret when a private key in it is a text. */
export function guardedDeployment(deployment: pulumi.Input<DeploymentArgs> | undefined) {
  if (deployment === undefined) return undefined;
  return pulumi.output(deployment).apply((settings) => {
    const keys = settings.kind === "docker" ? [settings.tls?.key, settings.ssh?.key] : [];
    return keys.some((key) => key?.startsWith("-----BEGIN ")) ? pulumi.secret(settings) : settings;
  }) as pulumi.Output<DeploymentArgs>;
}

/** A PersistentVolumeClaim that is made. */
export interface ClaimArgs {
  /** As "100Gi". */
  size: string;
  /** Default: the cluster's own. */
  storageClass?: string;
  /**
   * `ReadWriteOnce`, the default: the pods of a deployment run on one node, by affinity. `ReadWriteMany` lets them run on
   * any, where the storage class has it, with hard links and flushes as a local disk has them.
   */
  accessMode?: "ReadWriteOnce" | "ReadWriteMany";
}

export interface KubernetesArgs {
  kind: "kubernetes";
  /** Absolute path; default: `KUBECONFIG`, ~/.kube/config, or the service account of the pod that runs Pulumi. */
  kubeconfig?: string;
  /** Of the kubeconfig; default: its current one. Another one replaces the gateway. */
  context?: string;
  /** It must exist: it is neither made nor removed. Another one replaces the gateway. */
  namespace: string;
  /** Default `pulumi-sluice:<version>`; of this package's version, where the cluster's nodes can pull it. */
  image?: string;
  /** Default `IfNotPresent`. */
  imagePullPolicy?: "IfNotPresent" | "Always" | "Never";
  /** Names of Secrets of the namespace. */
  imagePullSecrets?: string[];
  /**
   * A Secret that is there, with a key for each secret and file that source and staging name: NAME of `{ env: "NAME" }`, and the
   * last part of a path. Default: one of ours, with what they are on the machine that runs Pulumi.
   */
  existingSecret?: string;
  /**
   * The claim of staging and spool; default 20Gi of the cluster's default storage class. With staging in a Unity Catalog
   * volume there is none: `size` is what a pod's files on their way may take of its node's disk.
   */
  staging?: Omit<ClaimArgs, "size"> & { size?: string };
  /** Of the applier's destination: a claim that is there, by its name; or one that is made, and kept at delete. */
  destinationClaim?: string | ClaimArgs;
  /** Of each container, as `{ limits: { memory: "2Gi" } }`; the applier needs more than its `memoryBytesMax`. */
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  nodeSelector?: Record<string, string>;
  tolerations?: {
    key?: string;
    operator?: "Exists" | "Equal";
    value?: string;
    effect?: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
    tolerationSeconds?: number;
  }[];
  /** Of every object. */
  labels?: Record<string, string>;
  /** Of every object. */
  annotations?: Record<string, string>;
  /** `/healthz`, `/status` and `/metrics` as a Service of the cluster; default false. */
  service?: boolean;
  /** With `service`: a ServiceMonitor of the Prometheus operator; default none. */
  serviceMonitor?: { labels?: Record<string, string>; interval?: string };
  /** Only what the process needs may come in and go out; default true. */
  networkPolicy?: boolean;
  /** Pods that a drain of their node may evict at once: 1, the default; or 0, which holds the drain up. */
  maxUnavailable?: 0 | 1;
  /** `uid:gid` of the process; default 65532:65532. */
  user?: string;
  /** What somebody else has set of our objects: `take`, the default, sets it back and says so; `refuse` fails. */
  onConflict?: "take" | "refuse";
}

/** A Databricks App, or with `job` a job, for each process; tried against a stand-in of the API only (docs/databricks.md has the limits). */
export interface DatabricksAppArgs {
  kind: "databricks";
  /**
   * Who makes them, of apps by OAuth (`clientId` with `clientSecret`); default: the environment's. Another `host` replaces the
   * gateway.
   */
  workspace?: WorkspaceArgs;
  /** Of apps; default: the workspace's own, `MEDIUM` (2 processors, 6 GB of memory). Restarts the process. */
  computeSize?: "MEDIUM" | "LARGE";
  /** Of the workspace, for the sources; default `/Workspace/Shared/sluice`. */
  folder?: string;
  /**
   * A secret scope that is there, with a key for each secret that source, staging and destination name: NAME of `{ env: "NAME" }`,
   * and the last part of a path. Default: one of ours for each process, with what they are on the machine that runs Pulumi.
   */
  secretScope?: string;
  /** A continuous job with an image, where apps can't be had. Restarts the process, on another machine. */
  job?: DatabricksJobArgs;
}

/** The machine of a process that is a job: one node of classic compute, dedicated to who makes the job. */
export interface DatabricksJobArgs {
  /** One of Databricks' bases with Node and our runtime (docs/databricks.md says how it is made), in a registry that clusters reach. */
  image: string;
  /** A secret scope with who pulls the image; default: nobody in particular. */
  login?: { scope: string; usernameKey: string; passwordKey: string };
  /** As `16.4.x-scala2.13`: the one that the image's base is for; neither an ML runtime nor one for ARM. */
  sparkVersion: string;
  /** The smallest that has the memory which the process takes, and 2 GB for Databricks' own. */
  nodeTypeId: string;
  /** Of a cluster policy. */
  policyId?: string;
  /** Further fields of the cluster, as the API has them: `{ aws_attributes: { … } }`. */
  cluster?: Record<string, unknown>;
  /** In the image; default `/usr/local/bin/node`. */
  nodePath?: string;
  /** In the image; default `/sluice/main.js`. */
  runtimePath?: string;
}

/** What both processes, gateway and applier, have. */
export interface ProcessArgs {
  /** Folder below which configuration, status and logs are kept; absolute, as the process sees it. Replaces. */
  stateDir: pulumi.Input<string>;
  /** Where the process runs; default local. Restarts the process, unless its staging is then elsewhere: that replaces. */
  deployment?: pulumi.Input<DeploymentArgs>;
  /** Loopback port of `/healthz`, `/status` and `/metrics`; default: any free one, told in the status document. */
  httpPort?: pulumi.Input<number>;
  /** How long the process may take until it is healthy, in milliseconds; default 60,000. */
  startTimeoutMs?: pulumi.Input<number>;
  /** How long it may take to flush and end before it is killed, in milliseconds; default 30,000. */
  stopTimeoutMs?: pulumi.Input<number>;
  /** A delete that fails gives up, prints what is left and the SQL that removes it, and counts as done; default false. */
  forceDelete?: pulumi.Input<boolean>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

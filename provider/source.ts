import type * as pulumi from "@pulumi/pulumi";
import type { SecretReference } from "../runtime/secret-reference";

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
   * Where the password is found, never the password: `{ env: "NAME" }` or `{ file: "/path" }`. It is read where it is
   * used, so that it is in no state, file, log or process argument, and its rotation is no change.
   */
  password?: SecretReference;
  /** Default `disable`; `require` encrypts, `verify-full` checks the server's certificate and host name too. */
  sslMode?: "disable" | "require" | "verify-full";
  /** PEM file of the certificate authority, for `verify-full`; default: those of Node. */
  sslRootCertFile?: string;
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

/** A table: `"schema.name"`, or `{ schema, name }` where a name has a dot. Names are case-sensitive. */
export type Table = string | { schema: string; name: string };

/**
 * When the source and this machine are looked at, read-only: `preview` (the default) in previews and updates, so that a
 * preview tells what an update would fail by; `up` in updates only, for previews on machines that can't reach them.
 */
export type Preflight = "preview" | "up";

/** What both processes, gateway and applier, have. */
export interface ProcessArgs {
  /** Folder below which configuration, status and logs are kept; absolute, on the machine that runs Pulumi. Replaces. */
  stateDir: pulumi.Input<string>;
  /** Loopback port of `/healthz`, `/status` and `/metrics`; default: any free one, told in the status document. */
  httpPort?: pulumi.Input<number>;
  /** How long the process may take until it is healthy, in milliseconds; default 60,000. */
  startTimeoutMs?: pulumi.Input<number>;
  /** How long it may take to flush and end before it is killed, in milliseconds; default 30,000. */
  stopTimeoutMs?: pulumi.Input<number>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import type { Flavour } from "./postgres/flavour";
import type { UncappedSlotWal } from "./postgres/preflight";
import { guardedSecrets, type Inputs, type Preflight, type Source } from "./source";

export interface ConnectionArgs extends Inputs<Source> {
  /**
   * Who runs the server: `vanilla` (PostgreSQL of your own), `rds`, `aurora`, `azure` (flexible server), `cloudsql`,
   * `alloydb`. Default: what its roles and settings tell. It decides which privilege replicates, and what a remedy says.
   */
  flavour?: pulumi.Input<Flavour>;
  /**
   * A server with `max_slot_wal_keep_size = -1`, whose disk an abandoned slot can fill: `warn` (the default), `error` at
   * preview and update, `ignore`.
   */
  uncappedSlotWal?: pulumi.Input<UncappedSlotWal>;
  /** `false`: no Publication goes by this Connection, and the role needs no CREATE on the database; default true. */
  createsPublications?: pulumi.Input<boolean>;
  /**
   * Transactions that have been open for longer, in milliseconds, are warned of before a slot is created, which waits for
   * their end; default 30,000.
   */
  longTransactionMs?: pulumi.Input<number>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

const provider = new StoredProvider("Connection");

/**
 * A source that was checked: version, `wal_level`, free slots and walsenders, privileges. It makes nothing. Changes are
 * in place, as long as they lead to the same database of the same cluster; another `database` replaces it.
 */
export class Connection extends pulumi.dynamic.Resource {
  /** The settings as one value, for the other resources. */
  declare readonly source: pulumi.Output<Source>;
  /** As `18.4`. */
  declare readonly serverVersion: pulumi.Output<string>;
  declare readonly databaseOid: pulumi.Output<number>;
  /** The cluster's identity; empty where the role may not read it. */
  declare readonly systemIdentifier: pulumi.Output<string>;
  /** Warnings about the source, with their remedies. */
  declare readonly findings: pulumi.Output<string[]>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;

  constructor(name: string, args: ConnectionArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = {
      source: undefined,
      serverVersion: undefined,
      databaseOid: undefined,
      systemIdentifier: undefined,
      findings: undefined,
      changeCost: undefined,
    };
    const secrets = guardedSecrets(args);
    super(provider, name, { ...outputs, ...args, ...secrets }, options, moduleName, "Connection");
    // The provider's own has no secret values: an engine keeps secret by a property's name.
    this.source = pulumi.all([this.source, secrets]).apply(([source, values]) => withSecrets(source, values));
  }
}

/** References are in the source already. */
function withSecrets(source: Source, secrets: Pick<Source, "password" | "sslKey">): Source {
  const values = Object.entries(secrets).filter(([, secret]) => typeof secret === "string");
  return values.length === 0 ? source : { ...source, ...Object.fromEntries(values) };
}

import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import type { Inputs, Preflight, Source } from "./source";

export interface ConnectionArgs extends Inputs<Source> {
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
    super(provider, name, { ...outputs, ...args }, options, moduleName, "Connection");
  }
}

import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import { guardedSource, type Preflight, type Source, type Table } from "./source";

export interface PublicationArgs {
  /** `connection.source`. Another database replaces. */
  source: pulumi.Input<Source>;
  /** Tables to publish; added and dropped in place. */
  tables: pulumi.Input<pulumi.Input<Table>[]>;
  /** Default `dbx_pub_{database oid}_{id}`. Replaces. */
  publicationName?: pulumi.Input<string>;
  /**
   * Tables whose updates and deletes are to send the whole old row: REPLICA IDENTITY FULL whatever their keys, for
   * `beforeImage`; default none. In place.
   */
  fullIdentity?: pulumi.Input<pulumi.Input<Table>[]>;
  /**
   * Event triggers on the source that announce each change of a table's definition in the stream, so that it is followed
   * exactly whatever follows it; default false. They are made by a superuser, or what stands for one (`rds_superuser`,
   * `azure_pg_admin`), never fail a statement, and go with the publication.
   */
  captureDdl?: pulumi.Input<boolean>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

const provider = new StoredProvider("Publication");

/**
 * A publication of tables, marked as this stack's by its comment, and the replica identities that its tables need. The
 * identities of before are put back when a table leaves it, and at delete.
 */
export class Publication extends pulumi.dynamic.Resource {
  declare readonly publicationName: pulumi.Output<string>;
  /** Names this publication's slot too: a new one at each new publication. */
  declare readonly pipelineId: pulumi.Output<string>;
  declare readonly tables: pulumi.Output<{ schema: string; name: string }[]>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;

  constructor(name: string, args: PublicationArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = { publicationName: undefined, pipelineId: undefined, changeCost: undefined };
    super(
      provider,
      name,
      { ...outputs, ...args, source: guardedSource(args.source) },
      options,
      moduleName,
      "Publication",
    );
  }
}

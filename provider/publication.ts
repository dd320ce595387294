import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import { originOf } from "./resource-origin";
import { guardedSource, type Inputs, type Preflight, type Source, type Strategy, type Table } from "./source";

/** What is published of a table, where it isn't all of it. */
export interface PublishedTableArgs {
  table: pulumi.Input<Table>;
  /**
   * Column list: these columns only, in the copy and in the stream (PostgreSQL 15 and newer). It must hold the primary key
   * and the replica identity, and so excludes `full`. Another list copies the table again.
   */
  columns?: pulumi.Input<pulumi.Input<string>[]>;
  /**
   * Row filter: an SQL expression by which rows are published (PostgreSQL 15 and newer), of columns, constants and
   * built-in immutable functions. A column beyond the replica identity makes it FULL by `auto`, while updates or deletes
   * are published. Another meaning copies the table again; another spelling doesn't.
   */
  where?: pulumi.Input<string>;
  /**
   * What the old row of an update or delete holds: `auto`, the default, by the rules of docs/operation.md; `default` (the primary
   * key), `full`, or the columns of a unique index. What it was before is put back when the table leaves. In place.
   */
  replicaIdentity?: pulumi.Input<"auto" | "default" | "full" | { index: string }>;
}

export interface PublicationArgs {
  /** `connection.source`. Another database replaces. */
  source: pulumi.Input<Source>;
  /** Tables to publish, partitioned ones too; added, dropped and altered in place. */
  tables?: pulumi.Input<pulumi.Input<Table | PublishedTableArgs>[]>;
  /**
   * Schemas of which all tables are published, those to come too (PostgreSQL 15 and newer; a superuser only). It excludes
   * column lists. In place. A table made later has its own replica identity until the next update.
   */
  schemas?: pulumi.Input<pulumi.Input<string>[]>;
  /** All tables of the database, those to come too (a superuser only). It excludes `tables` and `schemas`. Replaces. */
  allTables?: pulumi.Input<boolean>;
  /** Default all: insert, update, delete, truncate. In place, and all tables are copied again. */
  operations?: pulumi.Input<pulumi.Input<"insert" | "update" | "delete" | "truncate">[]>;
  /**
   * A partitioned table is one table, and not each of its partitions one; default false. Filters and column lists of
   * partitioned tables need it. In place, and all tables are copied again.
   */
  viaPartitionRoot?: pulumi.Input<boolean>;
  /** Stored generated columns: `none`, the default, or `stored` (PostgreSQL 18). In place, and all tables are copied again. */
  generatedColumns?: pulumi.Input<"none" | "stored">;
  /**
   * Takes over the publication of this name, if there is one: it is altered where it differs, and what is the same isn't
   * touched nor copied again. It is this stack's from then on. Default false: one of another's is refused.
   */
  adopt?: pulumi.Input<boolean>;
  /** `drop`, the default; `keep` leaves the publication and its replica identities, without our mark. */
  onDelete?: pulumi.Input<"drop" | "keep">;
  /** Default `dbx_pub_{database oid}_{id}`. Replaces. */
  publicationName?: pulumi.Input<string>;
  /**
   * Tables whose updates and deletes are to send the whole old row: REPLICA IDENTITY FULL whatever their keys, for
   * `beforeImage`; default none. In place.
   */
  fullIdentity?: pulumi.Input<pulumi.Input<Table>[]>;
  /**
   * Tables that are refused without a key, as what writes them has nothing else to tell rows by: with `mode: "pipeline"`
   * those of `scd1` and `scd2` without `tableOptions[].key`. Default none.
   */
  keyed?: pulumi.Input<pulumi.Input<Table>[]>;
  /**
   * Event triggers on the source that announce each change of a table's definition in the stream, so that it is followed
   * exactly whatever follows it; default false. They are made by a superuser, or what stands for one (`rds_superuser`,
   * `azure_pg_admin`), never fail a statement, and go with the publication.
   */
  captureDdl?: pulumi.Input<boolean>;
  /** A delete that fails gives up, prints what is left and the SQL that removes it, and counts as done; default false. */
  forceDelete?: pulumi.Input<boolean>;
  /** Of a replacement; default `blue-green`. See `Strategy`. */
  strategy?: pulumi.Input<Strategy>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

const provider = new StoredProvider("Publication");

/** A publication's table as it is, in outputs. */
export interface PublishedTableOutput {
  schema: string;
  name: string;
  columns?: string[];
  where?: string;
  replicaIdentity?: "auto" | "default" | "full" | "nothing" | { index: string };
}

/**
 * A publication of tables, marked as this stack's by its comment, and the replica identities that its tables need. The
 * identities of before are put back when a table leaves it, and at delete.
 */
export class Publication extends pulumi.dynamic.Resource {
  declare readonly publicationName: pulumi.Output<string>;
  /** Names this publication's slot too: a new one at each new publication. */
  declare readonly pipelineId: pulumi.Output<string>;
  /** As the server has them, in the order in which they were given. */
  declare readonly tables: pulumi.Output<PublishedTableOutput[] | undefined>;
  /** As the input, where it was given; or as it was found by `refresh` or `get`. */
  declare readonly schemas: pulumi.Output<string[] | undefined>;
  /** As the input, or as it was found. */
  declare readonly allTables: pulumi.Output<boolean | undefined>;
  /** As the input, or as it was found. */
  declare readonly operations: pulumi.Output<("insert" | "update" | "delete" | "truncate")[] | undefined>;
  /** As the input, or as it was found. */
  declare readonly viaPartitionRoot: pulumi.Output<boolean | undefined>;
  /** As the input, or as it was found. */
  declare readonly generatedColumns: pulumi.Output<"none" | "stored" | undefined>;
  /** The role that owns it. */
  declare readonly owner: pulumi.Output<string>;
  /** What `refresh` found changed by hand, in sentences; the properties show it too. The next update repairs it. */
  declare readonly drift: pulumi.Output<string[]>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;

  /**
   * Reads a publication that exists, whoever made it: it is neither altered nor dropped.
   * @param publicationName its name on the server
   */
  static get(
    name: string,
    publicationName: pulumi.Input<pulumi.ID>,
    state: { source: pulumi.Input<Inputs<Source>> },
    options?: pulumi.CustomResourceOptions,
  ): Publication {
    const source = pulumi.output(state.source) as pulumi.Output<Source>;
    return new Publication(name, { source }, { ...options, id: publicationName });
  }

  constructor(name: string, args: PublicationArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = {
      publicationName: undefined,
      pipelineId: undefined,
      changeCost: undefined,
      owner: undefined,
      drift: undefined,
      tables: undefined,
      schemas: undefined,
      allTables: undefined,
      operations: undefined,
      viaPartitionRoot: undefined,
      generatedColumns: undefined,
    };
    // By it a create whose result was lost is known again. An `id` is of one that is only read.
    const isRead = options?.id !== undefined;
    super(
      provider,
      name,
      { ...outputs, ...args, source: guardedSource(args.source), ...(isRead ? {} : { origin: originOf(name) }) },
      options,
      moduleName,
      "Publication",
    );
  }
}

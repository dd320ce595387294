import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import { guardedSource, type Inputs, type Preflight, type Source, type Strategy } from "./source";

export interface ReplicationSlotArgs {
  /** `connection.source`. Another database replaces. */
  source: pulumi.Input<Source>;
  /** `publication.publicationName`: it must exist before the slot. Replaces. */
  publicationName: pulumi.Input<string>;
  /** `publication.pipelineId`. Replaces. */
  pipelineId: pulumi.Input<string>;
  /**
   * Default `dbx_{database oid}_{pipelineId}`, with `_{6 characters}` behind it when made beside the one that it replaces.
   * Replaces; one that is given stays the same in other replacements, which are `stop-first` then.
   */
  slotName?: pulumi.Input<string>;
  /**
   * Standbys keep the slot too, so that a promoted one goes on without new snapshots; PostgreSQL 17 and newer; default
   * false. In place: the gateway's connection is ended for it and comes back. The standbys need
   * `sync_replication_slots = on`, `hot_standby_feedback = on`, `primary_slot_name` and a dbname in `primary_conninfo`;
   * the primary `synchronized_standby_slots`.
   */
  failover?: pulumi.Input<boolean>;
  /**
   * Takes over the slot of this `slotName`, if there is one, where it stands: no change is lost, and a gateway that adopts
   * its staging copies nothing again. It must be of pgoutput and of this database, neither temporary nor invalidated, and
   * nobody may read it. It is this stack's from then on. Default false: one of another's is refused.
   */
  adopt?: pulumi.Input<boolean>;
  /** `drop`, the default; `keep` leaves the slot, for which the server then keeps WAL until somebody reads or drops it. */
  onDelete?: pulumi.Input<"drop" | "keep">;
  /**
   * Who reads it: our gateway (`gateway`, the default), or Databricks' own pipelines (`databricks`), of which a preview says that
   * another slot asks for a full refresh.
   */
  reader?: pulumi.Input<"gateway" | "databricks">;
  /** How long creation may wait for open transactions to end, in milliseconds; default 60,000. */
  createTimeoutMs?: pulumi.Input<number>;
  /** How long delete may take to end the slot's consumer and drop it, in milliseconds; default 30,000. */
  deleteTimeoutMs?: pulumi.Input<number>;
  /** A delete that fails gives up, prints what is left and the SQL that removes it, and counts as done; default false. */
  forceDelete?: pulumi.Input<boolean>;
  /** Of a replacement; default `blue-green`. See `Strategy`. */
  strategy?: pulumi.Input<Strategy>;
  /** Default `preview`. */
  preflight?: pulumi.Input<Preflight>;
}

const provider = new StoredProvider("ReplicationSlot");

/**
 * A logical replication slot with pgoutput. From its creation the server keeps WAL for it until the gateway has
 * acknowledged: don't set `retainOnDelete` unless something else will read it. Delete ends whoever reads it, drops it,
 * and verifies that it is gone. Every change of what it is replaces it, and with it gateway and staging; a new one is made beside it (`strategy`).
 */
export class ReplicationSlot extends pulumi.dynamic.Resource {
  declare readonly slotName: pulumi.Output<string>;
  /** Undefined of one that was read by `get`, as no slot knows it; so are `incarnation` and `consistentPoint`. */
  declare readonly publicationName: pulumi.Output<string>;
  /** As the input, or as it was found by `refresh` or `get`. */
  declare readonly failover: pulumi.Output<boolean | undefined>;
  /** Tells the slot from one that had its name before. */
  declare readonly incarnation: pulumi.Output<string>;
  /** The LSN from which it decodes, as `0/1953A28`; of one that was taken over, where it stood. */
  declare readonly consistentPoint: pulumi.Output<string>;
  /** `refresh` found it invalidated: the next update replaces it. */
  declare readonly lost: pulumi.Output<boolean>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;

  /**
   * Reads a slot of pgoutput that exists, whoever made it: it is neither altered nor dropped.
   * @param slotName its name on the server
   */
  static get(
    name: string,
    slotName: pulumi.Input<pulumi.ID>,
    state: { source: pulumi.Input<Inputs<Source>> },
    options?: pulumi.CustomResourceOptions,
  ): ReplicationSlot {
    const source = pulumi.output(state.source) as pulumi.Output<Source>;
    // What else a new one needs isn't asked of one that exists.
    const args: Partial<ReplicationSlotArgs> = { source };
    return new ReplicationSlot(name, args as ReplicationSlotArgs, { ...options, id: slotName });
  }

  constructor(name: string, args: ReplicationSlotArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = {
      slotName: undefined,
      incarnation: undefined,
      consistentPoint: undefined,
      lost: undefined,
      publicationName: undefined,
      failover: undefined,
      changeCost: undefined,
    };
    const isRead = options?.id !== undefined;
    super(
      provider,
      name,
      {
        ...outputs,
        ...args,
        source: guardedSource(args.source),
        // Of a delete that it leaves out the engine tells the provider nothing.
        ...(options?.retainOnDelete === true && !isRead ? { retainOnDelete: true } : {}),
      },
      options,
      moduleName,
      "ReplicationSlot",
    );
    if (options?.retainOnDelete === true) {
      const pinned =
        "retainOnDelete: when it is deleted the slot stays on the server, which keeps WAL for it until its disk is full, unless max_slot_wal_keep_size bounds it or somebody drops it (sluice slots)";
      void pulumi.log.warn(pinned, this);
    }
  }
}

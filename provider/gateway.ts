import * as pulumi from "@pulumi/pulumi";
import { moduleName, StoredProvider } from "./dynamic-provider";
import type { ChangeCost } from "./lifecycle/change-cost";
import { guardedDeployment, guardedSource, type ProcessArgs, type Source, type Strategy, type Table } from "./source";
import type { StagingArgs } from "./staging";

export interface SnapshotArgs {
  /** Connections that copy, over all tables and their ranges; default 2. */
  workers?: pulumi.Input<number>;
  /** A table with more bytes on disk is copied in ranges of about as many; default 64 MiB. */
  rangeBytes?: pulumi.Input<number>;
}

/** When captured changes are cut into a staged commit, always where a transaction ends: at whichever comes first. */
export interface BatchArgs {
  /** Default 64 MiB. */
  bytesMax?: pulumi.Input<number>;
  /** Default 500,000. */
  rowsMax?: pulumi.Input<number>;
  /** Milliseconds; default 1,000. */
  ageMsMax?: pulumi.Input<number>;
  /**
   * A row of more bytes stops its table alone; default 128 MiB. The gateway takes about five times as much memory,
   * the applier six to twelve times all such rows of a batch, by mode.
   */
  rowBytesMax?: pulumi.Input<number>;
}

/** Files of changes that no staged commit names yet: of large transactions, above all. */
export interface SpoolArgs {
  /** Bytes; once reached nothing more is read until there is room. It bounds the largest transaction. Default 64 GiB. */
  bytesMax?: pulumi.Input<number>;
  /** `early`, the default: as the server decodes it (PostgreSQL 14 and later); `commit`: the server spools it until then. */
  largeTransactions?: pulumi.Input<"early" | "commit">;
}

/** How values are kept where there is a choice. A change copies the tables concerned again. */
export interface TypeArgs {
  /** numeric without precision: `decimal`, the default, is DECIMAL(38, 18); `string` is STRING and holds every value. */
  unconstrainedNumeric?: pulumi.Input<"decimal" | "string">;
  /**
   * Arrays: `text`, the default, is STRING, as PostgreSQL writes them; `nested` is ARRAY of one dimension, without bounds:
   * one of more dimensions is a value that its Delta type can't hold.
   */
  arrays?: pulumi.Input<"text" | "nested">;
  /** A value that its Delta type can't hold: `null`, the default, is NULL and counted; `stop` stops its table alone. */
  unrepresentable?: pulumi.Input<"null" | "stop">;
}

/** How changes of tables' definitions are followed where there is a choice. */
export interface SchemaChangeArgs {
  /**
   * A column's wider type for which PostgreSQL writes all rows anew (integer to bigint), where the Publication has no
   * `captureDdl`: `resnapshot`, the default, copies the table again; `follow` takes it that ALTER COLUMN … USING, by which
   * old values become others, isn't used with such a change. With `captureDdl` it is always known, and followed.
   */
  onRewrittenWidening?: pulumi.Input<"follow" | "resnapshot">;
}

/** Where a measure becomes a warning, and critical. */
export interface Threshold {
  warning?: pulumi.Input<number>;
  critical?: pulumi.Input<number>;
}

/** Thresholds of the alerts in status, metrics and log; times in milliseconds. */
export interface HealthArgs {
  /** Behind the server; default 5 min and 1 h. */
  lagMs?: pulumi.Input<Threshold>;
  /** WAL that the server keeps for the slot; default 10 and 50 GiB. */
  retainedBytes?: pulumi.Input<Threshold>;
  /** Projected time until the server gives the slot up; default 6 h and 1 h. */
  lossMs?: pulumi.Input<Threshold>;
  /** Age of an open transaction that holds the slot; default 10 min and 1 h. */
  transactionMs?: pulumi.Input<Threshold>;
}

export interface GatewayArgs extends ProcessArgs {
  /** `connection.source`. Another database replaces; the rest restarts the process. */
  source: pulumi.Input<Source>;
  /** `slot.publicationName`. Replaces. */
  publicationName: pulumi.Input<string>;
  /** `slot.slotName`. Replaces. */
  slotName: pulumi.Input<string>;
  /** `slot.incarnation`: a new slot needs a new staging, with new snapshots. Replaces. */
  slotIncarnation: pulumi.Input<string>;
  /** Names the folder below `stateDir`, and the process in logs and sessions; default: the slot's name. Replaces. */
  deploymentId?: pulumi.Input<string>;
  /** Folder of the staging log; absolute, new or empty; default `<stateDir>/<deploymentId>/staging`. Replaces. */
  stagingPath?: pulumi.Input<string>;
  /** Where else staging lies, as in a Unity Catalog volume; instead of `stagingPath`. Give it to the pipeline too. */
  staging?: pulumi.Input<StagingArgs>;
  /**
   * Goes on with the staging log that is in `stagingPath`, if there is one, as that of a stack whose state was lost: what is
   * staged stays, no table that it has whole is copied again, and the pipeline goes on in its tables. It is this stack's
   * from then on. Default false: a folder with another's files is refused.
   */
  adopt?: pulumi.Input<boolean>;
  /** Restarts the process. */
  batch?: pulumi.Input<BatchArgs>;
  /** Restarts the process. */
  spool?: pulumi.Input<SpoolArgs>;
  /** Restarts the process. */
  snapshot?: pulumi.Input<SnapshotArgs>;
  /** Restarts the process. */
  types?: pulumi.Input<TypeArgs>;
  /**
   * Tables of which the row before each update is staged too, for `beforeImage` of the pipeline's options; it takes
   * REPLICA IDENTITY FULL (`fullIdentity` of the Publication), and twice the room in staging for their updates. Default
   * none. Restarts the process.
   */
  beforeImages?: pulumi.Input<pulumi.Input<Table>[]>;
  /** Restarts the process. */
  schemaChanges?: pulumi.Input<SchemaChangeArgs>;
  /** How often slot and publication are looked at, in milliseconds; default 2,000. Restarts the process. */
  pollMs?: pulumi.Input<number>;
  /**
   * A stream in which nothing comes for so long, though answers are asked for, is made again; milliseconds, default
   * 60,000. Restarts the process.
   */
  silenceMsMax?: pulumi.Input<number>;
  /**
   * When the slot is gone, invalidated or ahead of staging, so that changes are lost: `fail`, the default, stops with
   * the remedy; `resnapshot` makes the slot anew under its name and copies every table again, old data readable
   * meanwhile. Restarts the process.
   */
  onSlotLost?: pulumi.Input<"fail" | "resnapshot">;
  /**
   * A logical message is written to the source's WAL when nothing was acknowledged for so long, so that the slot moves
   * on an idle database; milliseconds, default 60,000; 0 is off. Restarts the process.
   */
  heartbeatMs?: pulumi.Input<number>;
  /** Restarts the process. */
  health?: pulumi.Input<HealthArgs>;
  /** Of a replacement; default `blue-green`. See `Strategy`. */
  strategy?: pulumi.Input<Strategy>;
  /**
   * `blue-green`: how long the new gateway may take to copy all tables and catch up, in milliseconds; default 86,400,000, a
   * day. When it is over the update fails, both gateways go on, and the next update goes on waiting.
   */
  switchTimeoutMs?: pulumi.Input<number>;
}

const provider = new StoredProvider("Gateway");

/**
 * The supervised process that carries snapshots and changes into staging. It sees by itself which tables its
 * publication has. Delete stops it, having staged and acknowledged what it has, and removes staging.
 */
export class Gateway extends pulumi.dynamic.Resource {
  declare readonly deploymentId: pulumi.Output<string>;
  declare readonly stagingPath: pulumi.Output<string>;
  /** Tells the staging from one that had its place before. */
  declare readonly incarnation: pulumi.Output<string>;
  /** File with the status document. */
  declare readonly statusPath: pulumi.Output<string>;
  /** `healthy`, or what `refresh` found: `dead`, `failed`, `absent`. */
  declare readonly processState: pulumi.Output<string>;
  /** Version of Sluice that it runs: this package's, or what `refresh` found. */
  declare readonly runtimeVersion: pulumi.Output<string>;
  /** Content of the image that its container was made of; undefined for a process of this machine. */
  declare readonly imageDigest: pulumi.Output<string | undefined>;
  /** What its last change costs; a preview tells it of the change to come. */
  declare readonly changeCost: pulumi.Output<ChangeCost>;

  constructor(name: string, args: GatewayArgs, options?: pulumi.CustomResourceOptions) {
    const outputs = {
      deploymentId: undefined,
      stagingPath: undefined,
      incarnation: undefined,
      statusPath: undefined,
      processState: undefined,
      runtimeVersion: undefined,
      imageDigest: undefined,
      changeCost: undefined,
    };
    const guarded = { source: guardedSource(args.source), deployment: guardedDeployment(args.deployment) };
    super(provider, name, { ...outputs, ...args, ...guarded }, options, moduleName, "Gateway");
  }
}

import * as pulumi from "@pulumi/pulumi";
import { Connection } from "./connection";
import type { Writer } from "./destination";
import { tableNames } from "./ingestion-processes";
import type { PostgresIngestionArgs } from "./postgres-ingestion";
import { Publication } from "./publication";
import { ReplicationSlot } from "./replication-slot";
import type { Inputs, Source, Table } from "./source";

/** Of an ingestion in any mode. */
export type SourceArgs = Pick<PostgresIngestionArgs, "source"> &
  Omit<Partial<PostgresIngestionArgs>, "source" | "destination">;

/** What there is in any mode: the objects of the source. */
export interface SourceSide {
  connection: Connection;
  standbyConnection: Connection | undefined;
  publication: Publication;
  slot: ReplicationSlot;
  /** the server that WAL and rows are read from */
  read: pulumi.Output<Source>;
  beforeImages: pulumi.Output<Table[]>;
}

/** @param by who writes the tables */
export function declareSource(
  name: string,
  args: SourceArgs,
  by: Writer["by"],
  child: pulumi.CustomResourceOptions,
): SourceSide {
  const { adopt, preflight, strategy, forceDelete, captureDdl, tables, schemas, allTables } = args;
  const setting = settingsOf(args.source);
  const shared = {
    database: setting("database"),
    user: setting("user"),
    password: setting("password"),
    sslMode: setting("sslMode"),
    sslRootCertFile: setting("sslRootCertFile"),
    sslRootCert: setting("sslRootCert"),
    sslServerName: setting("sslServerName"),
    sslCertFile: setting("sslCertFile"),
    sslCert: setting("sslCert"),
    sslKey: setting("sslKey"),
    connectTimeoutMs: setting("connectTimeoutMs"),
    preflight,
    ...args.connection,
  };
  const primary = { host: setting("host"), port: setting("port"), failoverHosts: setting("failoverHosts") };
  const connection = new Connection(name, { ...shared, ...primary, standby: setting("standby") }, child);
  const standby = args.standby === undefined ? undefined : pulumi.output(args.standby);
  const standbyConnection =
    standby === undefined
      ? undefined
      : new Connection(
          `${name}-standby`,
          { ...shared, host: standby.host, port: standby.apply(({ port }) => port as number), standby: "allow" },
          child,
        );
  const read = standbyConnection?.source ?? connection.source;
  const beforeImages = pulumi
    .output(args.tableOptions)
    .apply((all) => (all ?? []).filter(({ beforeImage }) => beforeImage === true).map(({ table }) => table));
  const publication = new Publication(
    name,
    {
      source: connection.source,
      tables,
      schemas,
      allTables,
      publicationName: args.publicationName,
      fullIdentity: beforeImages,
      ...(by === "pipeline" ? { keyed: keyedTables(args) } : {}),
      captureDdl,
      adopt,
      strategy,
      forceDelete,
      preflight,
      ...args.publication,
    },
    child,
  );
  const { publicationName, pipelineId } = publication;
  const slot = new ReplicationSlot(
    name,
    {
      source: read,
      publicationName,
      pipelineId,
      slotName: args.slotName,
      reader: by === "managed" ? "databricks" : undefined,
      failover: args.failover,
      adopt,
      strategy,
      forceDelete,
      preflight,
      ...args.slot,
    },
    child,
  );
  return { connection, standbyConnection, publication, slot, read, beforeImages };
}

/** Those that AUTO CDC merges by a key of the source. */
function keyedTables({ tables, tableOptions }: SourceArgs): pulumi.Output<Table[]> {
  return pulumi
    .all([tableNames(tables, undefined, undefined), pulumi.output(tableOptions)])
    .apply(([names, options]) => {
      const without = (options ?? []).filter(({ mode, key }) => mode === "append" || key !== undefined);
      const kept = new Set(without.map(({ table }) => nameText(table)));
      return names.filter((table) => !kept.has(nameText(table)));
    });
}

const nameText = (table: Table) => (typeof table === "string" ? table : `${table.schema}.${table.name}`);

/** Each by itself where they are given so: else a secret among them would make secrets of all. */
function settingsOf(source: PostgresIngestionArgs["source"]) {
  return <K extends keyof Source>(key: K): pulumi.Input<NonNullable<Source[K]>> => {
    if (pulumi.Output.isInstance(source) || source instanceof Promise) {
      return (pulumi.output(source) as pulumi.Output<Source>).apply((all) => all[key] as NonNullable<Source[K]>);
    }
    return (source as Inputs<Source>)[key] as pulumi.Input<NonNullable<Source[K]>>;
  };
}

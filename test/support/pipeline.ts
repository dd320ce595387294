import { join } from "node:path";
import type { Client } from "pg";
import { tablePath } from "../../runtime/destination/table-path";
import { parseLsn } from "../../runtime/postgres/lsn";
import type { ApplierStatus, GatewayStatus, GatewayTableStatus } from "../../runtime/status";
import { openDelta } from "./delta-reader";
import { compareTable, describeDifference } from "./equality";
import { flushedLsn, type GatewayInput, GatewayUnderTest } from "./gateway-under-test";
import type { TestPostgres } from "./postgres-server";
import { RuntimeProcess } from "./runtime-process";

/** A gateway of all tables of its database, and an applier behind it, as real processes. */
export class Pipeline {
  readonly database: string;
  readonly client: Client;
  readonly folder: string;
  readonly gateway: RuntimeProcess<GatewayStatus>;
  readonly applier: RuntimeProcess<ApplierStatus>;

  private constructor(private readonly source: GatewayUnderTest) {
    const { database, client, folder, process, stagingPath } = source;
    this.database = database;
    this.client = client;
    this.folder = folder;
    this.gateway = process;
    const { staging } = process.config;
    this.applier = new RuntimeProcess<ApplierStatus>(folder, {
      version: 1,
      role: "applier",
      id: "test",
      statusPath: join(folder, "applier-status.json"),
      stagingPath,
      ...(staging?.kind === "volume" ? { staging: { ...staging, localPath: join(folder, "applier-local") } } : {}),
      destination: { kind: "local", path: join(folder, "lake") },
      trigger: { kind: "continuous", intervalMs: 50 },
    });
  }

  /** @param setup SQL that makes the tables */
  static async open(
    postgres: TestPostgres,
    setup: string,
    config: Partial<GatewayInput> = {},
    createDatabase = "",
  ): Promise<Pipeline> {
    const publication = "CREATE PUBLICATION p FOR ALL TABLES";
    return new Pipeline(
      await GatewayUnderTest.create(postgres, { setup: [setup, publication], config, createDatabase }),
    );
  }

  start(): this {
    this.gateway.start();
    this.applier.start();
    return this;
  }

  /** Waits until what is committed now is acknowledged, and applied for all tables but the failed ones. */
  async settled(timeoutMs = 30_000): Promise<GatewayStatus> {
    const target = await flushedLsn(this.client);
    const status = await this.gateway.untilStatus(
      "caught up",
      ({ tables, acknowledgedLsn }) =>
        tables.length > 0 &&
        tables.every(({ state }) => state.kind === "streaming" || state.kind === "failed") &&
        parseLsn(acknowledgedLsn) >= target,
      timeoutMs,
    );
    await this.applier.untilStatus(
      "applied",
      ({ appliedSequence }) => appliedSequence >= status.stagedSequence,
      timeoutMs,
    );
    return status;
  }

  /** As of `status`. */
  table(name: string, status = this.gateway.status()): GatewayTableStatus {
    const found = status?.tables.find((table) => table.name === name);
    if (found === undefined) throw new Error(`the gateway doesn't know ${name}`);
    return found;
  }

  lakePath(table: { schema?: string; name: string }): string {
    return tablePath(join(this.folder, "lake"), { schema: "public", ...table });
  }

  /** Differences between source and destination, by an independent reader; [] when they are equal. */
  async differences(name: string, schema = "public"): Promise<string[]> {
    const destination = await openDelta(this.lakePath({ schema, name }));
    const { types } = this.gateway.config as Partial<GatewayInput>;
    const result = await compareTable(this.client, { schema, name }, destination, types?.arrays);
    if (!result.equal && result.differences.length === 0) return [`${name}: ${result.differing} rows differ`];
    return result.differences.map(describeDifference);
  }

  async close(): Promise<void> {
    await this.applier.kill();
    await this.source.close();
  }
}

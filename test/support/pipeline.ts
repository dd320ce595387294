import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import { tablePath } from "../../runtime/destination/table-path";
import type { ApplierStatus, GatewayStatus, GatewayTableStatus } from "../../runtime/status";
import { openDelta } from "./delta-reader";
import { compareTable, describeDifference } from "./equality";
import type { TestPostgres } from "./postgres-server";
import { RuntimeProcess, until } from "./runtime-process";

/** What a test may set of the gateway's configuration. */
type GatewaySettings = Partial<Extract<RuntimeProcess<GatewayStatus>["config"], { role: "gateway" }>>;

const lsnOf = (text: string): bigint => {
  const [high, low] = text.split("/").map((part) => BigInt(`0x${part}`));
  return (high << 32n) + low;
};

/** A database of its own, with publication `p` of all tables, and gateway and applier as real processes. */
export class Pipeline {
  readonly gateway: RuntimeProcess<GatewayStatus>;
  readonly applier: RuntimeProcess<ApplierStatus>;
  private static count = 0;

  private constructor(
    readonly database: string,
    readonly client: Client,
    readonly folder: string,
    postgres: TestPostgres,
    settings: GatewaySettings,
  ) {
    const stagingPath = join(folder, "staging");
    this.gateway = new RuntimeProcess<GatewayStatus>(folder, {
      version: 1,
      role: "gateway",
      id: "test",
      source: postgres.source(database),
      publication: "p",
      slot: `slot_${database}`,
      stagingPath,
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50 },
      pollMs: 200,
      ...settings,
    });
    this.applier = new RuntimeProcess<ApplierStatus>(folder, {
      version: 1,
      role: "applier",
      id: "test",
      statusPath: join(folder, "applier-status.json"),
      stagingPath,
      destination: { kind: "local", path: join(folder, "lake") },
      trigger: { kind: "continuous", intervalMs: 50 },
    });
  }

  /** @param setup SQL that makes the tables */
  static async open(
    postgres: TestPostgres,
    setup: string,
    settings: GatewaySettings = {},
    createDatabase = "",
  ): Promise<Pipeline> {
    const database = `pipeline${Pipeline.count++}`;
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${database} ${createDatabase}`);
    await admin.end();
    const client = await postgres.client(database);
    await client.query(setup);
    await client.query("CREATE PUBLICATION p FOR ALL TABLES");
    await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [`slot_${database}`]);
    return new Pipeline(database, client, mkdtempSync(join(tmpdir(), "sluice-pipeline-")), postgres, settings);
  }

  start(): this {
    this.gateway.start();
    this.applier.start();
    return this;
  }

  /** Waits until what is committed now is acknowledged, and applied for all tables but the failed ones. */
  async settled(timeoutMs = 30_000): Promise<GatewayStatus> {
    const { rows } = await this.client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const target = lsnOf(rows[0].lsn);
    const status = await this.gateway.untilStatus(
      "caught up",
      ({ tables, acknowledgedLsn }) =>
        tables.length > 0 &&
        tables.every(({ state }) => state.kind === "streaming" || state.kind === "failed") &&
        lsnOf(acknowledgedLsn) >= target,
      timeoutMs,
    );
    await this.applier.untilStatus(
      "applied",
      ({ appliedSequence }) => appliedSequence >= status.stagedSequence,
      timeoutMs,
    );
    return status;
  }

  table(name: string): GatewayTableStatus {
    const found = this.gateway.status()?.tables.find((table) => table.name === name);
    if (found === undefined) throw new Error(`the gateway doesn't know ${name}`);
    return found;
  }

  lakePath(table: { schema?: string; name: string }): string {
    return tablePath(join(this.folder, "lake"), { schema: "public", ...table });
  }

  /** Differences between source and destination, by an independent reader; [] when they are equal. */
  async differences(name: string, schema = "public"): Promise<string[]> {
    const destination = await openDelta(this.lakePath({ schema, name }));
    const result = await compareTable(this.client, { schema, name }, destination);
    if (!result.equal && result.differences.length === 0) return [`${name}: ${result.differing} rows differ`];
    return result.differences.map(describeDifference);
  }

  async close(): Promise<void> {
    await this.gateway.kill();
    await this.applier.kill();
    const slot = `slot_${this.database}`;
    await this.client.query("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", [
      slot,
    ]);
    await until("the slot is free", async () => {
      const { rows } = await this.client.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND active", [
        slot,
      ]);
      return rows.length === 0 ? true : null;
    });
    await this.client.query("SELECT pg_drop_replication_slot($1)", [slot]);
    await this.client.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

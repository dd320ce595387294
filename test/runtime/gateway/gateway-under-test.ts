import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import type { RuntimeConfigInput } from "../../../runtime/config";
import type { GatewayStatus } from "../../../runtime/status";
import type { TestPostgres } from "../../support/postgres-server";
import { RuntimeProcess, until } from "../../support/runtime-process";
import { readRecords, replayStaging } from "../../support/staging-replay";

type GatewayInput = Extract<RuntimeConfigInput, { role: "gateway" }>;

export const lsnOf = (text: string): bigint => {
  const [high, low] = text.split("/").map((part) => BigInt(`0x${part}`));
  return (high << 32n) + low;
};

let databases = 0;

/**
 * A gateway process on a database of its own: table `item (id int PRIMARY KEY, name text)`, published by `p`, read
 * through the slot `slot_<database>`.
 */
export class GatewayUnderTest {
  readonly staging: string;

  private constructor(
    readonly postgres: TestPostgres,
    readonly database: string,
    readonly client: Client,
    readonly folder: string,
    readonly process: RuntimeProcess<GatewayStatus>,
  ) {
    this.staging = process.config.role === "gateway" ? process.config.stagingPath : "";
  }

  /** @param slotArguments further arguments of pg_create_logical_replication_slot */
  static async create(
    postgres: TestPostgres,
    changes: Partial<GatewayInput> | ((database: string) => Partial<GatewayInput>) = {},
    slotArguments = "",
  ): Promise<GatewayUnderTest> {
    const folder = mkdtempSync(join(tmpdir(), "sluice-gateway-"));
    const database = `g${databases++}`;
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${database}`);
    await admin.end();
    const client = await postgres.client(database);
    await client.query("CREATE TABLE item (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE item");
    await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput'${slotArguments})`, [
      `slot_${database}`,
    ]);
    const process = new RuntimeProcess<GatewayStatus>(folder, {
      version: 1,
      role: "gateway",
      id: "test",
      source: postgres.source(database),
      publication: "p",
      slot: `slot_${database}`,
      stagingPath: join(folder, "staging"),
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50, rowsMax: 5_000 },
      pollMs: 200,
      ...(typeof changes === "function" ? changes(database) : changes),
    });
    return new GatewayUnderTest(postgres, database, client, folder, process);
  }

  get slot(): string {
    return `slot_${this.database}`;
  }

  /** The slot's row, with what the server keeps for it. */
  async slotRow(client = this.client): Promise<Record<string, string | boolean | null>> {
    const { rows } = await client.query(
      `SELECT s.*, restart_lsn::text, confirmed_flush_lsn::text,
              pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text AS retained
         FROM pg_replication_slots s WHERE slot_name = $1`,
      [this.slot],
    );
    return rows[0];
  }

  /** Waits until all tables stream and what the server has now is acknowledged. */
  async caughtUp(client = this.client): Promise<GatewayStatus> {
    const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const status = await this.process.untilStatus(
      "caught up",
      ({ tables, acknowledgedLsn }) =>
        tables.length > 0 &&
        tables.every((table) => table.state.kind === "streaming") &&
        lsnOf(acknowledgedLsn) >= lsnOf(rows[0].lsn),
    );
    // A snapshot's end is told a moment before it is durable.
    await until("every snapshot is staged", () => {
      const newest = this.records().at(-1);
      return newest !== undefined && Object.values(newest.tables).every((table) => table.snapshotComplete)
        ? true
        : null;
    });
    return status;
  }

  /** Staging, replayed, against the source's rows: nothing lost, nothing twice. */
  async difference(client = this.client): Promise<{ staged: string[]; source: string[] }> {
    const replayed = await replayStaging(this.staging);
    const { rows } = await client.query<{ id: string; name: string | null }>("SELECT id::text, name FROM item");
    const text = (list: Record<string, string | null>[]) => list.map(({ id, name }) => `${id} ${name}`).sort();
    return { staged: text(replayed.get("public.item")?.rows ?? []), source: text(rows) };
  }

  records() {
    return readRecords(this.staging);
  }

  logged(event: string): Record<string, unknown>[] {
    return this.process.output
      .split("\n")
      .filter((line) => line.includes(`"event":"${event}"`))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** Ends the process and drops the slot. */
  async close(client = this.client): Promise<void> {
    await this.process.kill();
    await until("the slot is gone", async () => {
      await client
        .query(
          `SELECT CASE WHEN active_pid IS NULL THEN pg_drop_replication_slot(slot_name)::text
                     ELSE pg_terminate_backend(active_pid)::text END
           FROM pg_replication_slots WHERE slot_name = $1`,
          [this.slot],
        )
        .catch(() => {});
      const { rowCount } = await client.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = $1", [this.slot]);
      return rowCount === 0 ? true : null;
    });
    await client.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

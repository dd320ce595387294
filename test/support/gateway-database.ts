import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import type { GatewayStatus } from "../../runtime/status";
import type { TestPostgres } from "./postgres-server";
import { RuntimeProcess, until } from "./runtime-process";
import { readRecords, replayStaging } from "./staging-replay";

const lsnOf = (text: string): bigint => {
  const [high, low] = text.split("/").map((part) => BigInt(`0x${part}`));
  return (high << 32n) + low;
};

/** A database with a publication `p` and a slot, and a gateway process over it; `stop` removes all of it. */
export class GatewayDatabase {
  private constructor(
    readonly postgres: TestPostgres,
    readonly name: string,
    readonly folder: string,
    readonly client: Client,
    readonly gateway: RuntimeProcess<GatewayStatus>,
  ) {}

  /** @param setup SQL that makes the tables and the publication `p` */
  static async make(
    postgres: TestPostgres,
    name: string,
    setup: string,
    config: { snapshot?: object; batch?: object } = {},
  ): Promise<GatewayDatabase> {
    const folder = mkdtempSync(join(tmpdir(), "sluice-gateway-"));
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${name}`);
    await admin.end();
    const client = await postgres.client(name);
    // Statement by statement: VACUUM runs in no transaction.
    for (const statement of setup.split(";")) await client.query(statement);
    await client.query(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, [`slot_${name}`]);
    const gateway = new RuntimeProcess<GatewayStatus>(folder, {
      version: 1,
      role: "gateway",
      id: "test",
      source: postgres.source(name),
      publication: "p",
      slot: `slot_${name}`,
      stagingPath: join(folder, "staging"),
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50, rowsMax: 5_000, ...config.batch },
      snapshot: config.snapshot ?? {},
      pollMs: 200,
    });
    return new GatewayDatabase(postgres, name, folder, client, gateway);
  }

  get stagingPath(): string {
    return join(this.folder, "staging");
  }

  session(): Promise<Client> {
    return this.postgres.client(this.name);
  }

  /** Until every table's snapshot is complete in staging and all that is committed now is acknowledged. */
  async caughtUp(tables = 1): Promise<GatewayStatus> {
    const { rows } = await this.client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
    const target = lsnOf(rows[0].lsn);
    const isComplete = () =>
      Object.values(readRecords(this.stagingPath).at(-1)?.tables ?? {}).every((table) => table.snapshotComplete);
    return this.gateway.untilStatus(
      "caught up",
      (status) =>
        status.tables.length >= tables &&
        status.tables.every((table) => table.state.kind === "streaming") &&
        lsnOf(status.acknowledgedLsn) >= target &&
        isComplete(),
    );
  }

  /** Rows of a table as staging gives them, and as the source has them, each sorted; columns of plain types only. */
  async rows(
    table: string,
    query = `SELECT * FROM ${quoteIdentifier(table)}`,
  ): Promise<{ staged: string[]; source: string[] }> {
    const replayed = (await replayStaging(this.stagingPath)).get(`public.${table}`);
    const { rows, fields } = await this.client.query<Record<string, unknown>>(query);
    const text = (row: Record<string, unknown>) =>
      JSON.stringify(fields.map(({ name }) => (row[name] == null ? null : String(row[name]))));
    return { staged: (replayed?.rows ?? []).map(text).sort(), source: rows.map(text).sort() };
  }

  /** After a kill: ends the walsender at once, which else lives until it next sends something. */
  async releaseSlot(): Promise<void> {
    const slot = `slot_${this.name}`;
    await this.client.query(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1`, [
      slot,
    ]);
    await until("the slot is free", async () => {
      const { rows } = await this.client.query("SELECT 1 FROM pg_replication_slots WHERE slot_name = $1 AND active", [
        slot,
      ]);
      return rows.length === 0 ? true : null;
    });
  }

  async stop(): Promise<void> {
    await this.gateway.kill();
    await this.releaseSlot();
    await this.client.query("SELECT pg_drop_replication_slot($1)", [`slot_${this.name}`]);
    await this.client.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

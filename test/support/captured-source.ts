import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import type { RuntimeConfigInput } from "../../runtime/config";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { parseLsn } from "../../runtime/postgres/lsn";
import type { GatewayStatus } from "../../runtime/status";
import type { TestPostgres } from "./postgres-server";
import { RuntimeProcess, until } from "./runtime-process";
import { replayStaging } from "./staging-replay";

type GatewayInput = Extract<RuntimeConfigInput, { role: "gateway" }>;

/** A database of its own with a publication, a slot and a gateway that captures it. */
export class CapturedSource {
  readonly stagingPath: string;

  private constructor(
    private readonly postgres: TestPostgres,
    readonly database: string,
    readonly folder: string,
    readonly client: Client,
    readonly gateway: RuntimeProcess<GatewayStatus>,
  ) {
    this.stagingPath = join(folder, "staging");
  }

  /** @param setUp SQL that makes the tables and the publication `p` */
  static async open(
    postgres: TestPostgres,
    database: string,
    setUp: string,
    settings: Partial<GatewayInput> = {},
  ): Promise<CapturedSource> {
    const folder = mkdtempSync(join(tmpdir(), "sluice-captured-"));
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${quoteIdentifier(database)}`);
    await admin.end();
    const client = await postgres.client(database);
    await client.query(setUp);
    await client.query("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", [`slot_${database}`]);
    const gateway = new RuntimeProcess<GatewayStatus>(folder, {
      version: 1,
      role: "gateway",
      id: database,
      source: postgres.source(database),
      publication: "p",
      slot: `slot_${database}`,
      stagingPath: join(folder, "staging"),
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50 },
      pollMs: 200,
      ...settings,
    });
    return new CapturedSource(postgres, database, folder, client, gateway);
  }

  session(): Promise<Client> {
    return this.postgres.client(this.database);
  }

  /** Waits until all that is committed now is staged and acknowledged, and every table streams. */
  async caughtUp(timeoutMs = 30_000): Promise<GatewayStatus> {
    const { rows } = await this.client.query<{ lsn: string }>("SELECT pg_current_wal_insert_lsn()::text AS lsn");
    // Something that is flushed, so that the server has a position behind it to tell.
    await this.client.query("SELECT pg_logical_emit_message(true, 'test', '')");
    const target = parseLsn(rows[0].lsn);
    return this.gateway.untilStatus(
      "caught up",
      (status) =>
        status.tables.every((table) => table.state.kind === "streaming") && parseLsn(status.acknowledgedLsn) >= target,
      timeoutMs,
    );
  }

  /** Differences between the source's published tables and what the staging log makes of them; empty when equal. */
  async differences(): Promise<string[]> {
    const replayed = await replayStaging(this.stagingPath);
    const { rows: tables } = await this.client.query<{ schema: string; name: string }>(
      "SELECT schemaname AS schema, tablename AS name FROM pg_publication_tables WHERE pubname = 'p'",
    );
    const found: string[] = [];
    for (const table of tables) {
      const name = `${table.schema}.${table.name}`;
      const copy = replayed.get(name);
      if (copy === undefined) {
        found.push(`${name}: absent; there are ${[...replayed.keys()].join(", ")}`);
        continue;
      }
      const { rows: columns } = await this.client.query<{ name: string }>(
        `SELECT attname AS name FROM pg_attribute
          WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
        [quoteTable(table)],
      );
      const texts = columns.map((column) => `${quoteIdentifier(column.name)}::text`).join(", ");
      const source = await this.client.query({ text: `SELECT ${texts} FROM ${quoteTable(table)}`, rowMode: "array" });
      const expected = source.rows.map((row) => JSON.stringify(row)).sort();
      const names = copy.schema.columns.map((column) => column.name);
      const expectedNames = columns.map((column) => column.name);
      if (names.join() !== expectedNames.join()) {
        found.push(`${name}: columns ${names.join()}, in the source ${expectedNames.join()}`);
      }
      const got = copy.rows.map((row) => JSON.stringify(expectedNames.map((column) => row[column] ?? null))).sort();
      const [gotRows, expectedRows] = [new Set(got), new Set(expected)];
      const missing = expected.filter((row) => !gotRows.has(row)).slice(0, 5);
      const surplus = got.filter((row) => !expectedRows.has(row)).slice(0, 5);
      if (missing.length + surplus.length > 0 || expected.length !== got.length) {
        found.push(
          `${name}: ${got.length} of ${expected.length} rows; missing ${missing.join(" ")}; surplus ${surplus.join(" ")}`,
        );
      }
    }
    return found;
  }

  /** How often each table was copied, by name. */
  snapshots(): Record<string, number> {
    return Object.fromEntries((this.gateway.status()?.tables ?? []).map((table) => [table.name, table.snapshots]));
  }

  async close(): Promise<void> {
    await this.gateway.kill();
    const slot = `slot_${this.database}`;
    await until("the slot is free", async () => {
      const { rows } = await this.client.query<{ active: boolean }>(
        "SELECT active, pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1",
        [slot],
      );
      return rows.some((row) => row.active) ? null : true;
    });
    await this.client.query("SELECT pg_drop_replication_slot($1)", [slot]);
    await this.client.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

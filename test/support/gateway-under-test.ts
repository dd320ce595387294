import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Client } from "pg";
import type { RuntimeConfigInput } from "../../runtime/config";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { parseLsn } from "../../runtime/postgres/lsn";
import type { GatewayStatus } from "../../runtime/status";
import { until } from "./conditions";
import type { TestPostgres } from "./postgres-server";
import { RuntimeProcess } from "./runtime-process";
import { type ReplayedTable, readRecords, replayStaging } from "./staging-replay";

export type GatewayInput = Extract<RuntimeConfigInput, { role: "gateway" }>;

export interface GatewayOptions {
  /**
   * SQL that makes the tables and the publication `p`; statements of a list run each by itself (VACUUM runs in no
   * transaction). Default: a table `item (id int PRIMARY KEY, name text)`, published.
   */
  setup?: string | string[];
  config?: Partial<GatewayInput> | ((database: string) => Partial<GatewayInput>);
  /** further arguments of pg_create_logical_replication_slot */
  slotArguments?: string;
  /** what follows CREATE DATABASE and its name */
  createDatabase?: string;
  /** on which the slot is made, and from which the gateway reads; default: the server that is written to */
  standby?: TestPostgres;
}

const oneTable = "CREATE TABLE item (id int PRIMARY KEY, name text); CREATE PUBLICATION p FOR TABLE item";

let databases = 0;

/** A gateway process on a database, a publication `p`, a slot and a folder of its own; `close` removes all of it. */
export class GatewayUnderTest {
  readonly stagingPath: string;

  private constructor(
    readonly postgres: TestPostgres,
    readonly database: string,
    readonly client: Client,
    readonly folder: string,
    readonly process: RuntimeProcess<GatewayStatus>,
    /** where the slot is */
    private readonly reader: TestPostgres,
  ) {
    this.stagingPath = process.config.role === "gateway" ? process.config.stagingPath : "";
  }

  static async create(postgres: TestPostgres, options: GatewayOptions = {}): Promise<GatewayUnderTest> {
    const { setup = oneTable, config = {}, slotArguments = "", createDatabase = "", standby } = options;
    const reader = standby ?? postgres;
    const folder = mkdtempSync(join(tmpdir(), "sluice-gateway-"));
    const database = `g${databases++}`;
    const admin = await postgres.client();
    await admin.query(`CREATE DATABASE ${database} ${createDatabase}`);
    await admin.end();
    const client = await postgres.client(database);
    for (const sql of [setup].flat()) await client.query(sql);
    const createSlot = `SELECT pg_create_logical_replication_slot('slot_${database}', 'pgoutput'${slotArguments})`;
    if (standby === undefined) await client.query(createSlot);
    else await onStandby(standby, client, createSlot);
    const { batch, ...settings } = typeof config === "function" ? config(database) : config;
    const process = new RuntimeProcess<GatewayStatus>(folder, {
      version: 1,
      role: "gateway",
      id: "test",
      source: { ...reader.source(database), ...(standby === undefined ? {} : { standby: "allow" }) },
      publication: "p",
      slot: `slot_${database}`,
      stagingPath: join(folder, "staging"),
      statusPath: join(folder, "gateway-status.json"),
      batch: { ageMsMax: 50, rowsMax: 5_000, ...batch },
      pollMs: 200,
      ...settings,
    });
    return new GatewayUnderTest(postgres, database, client, folder, process, reader);
  }

  get slot(): string {
    return `slot_${this.database}`;
  }

  session(): Promise<Client> {
    return this.postgres.client(this.database);
  }

  /** The slot's row, with what the server keeps for it. */
  async slotRow(): Promise<Record<string, string | boolean | null>> {
    const { rows } = await this.client.query(
      `SELECT s.*, restart_lsn::text, confirmed_flush_lsn::text,
              pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::text AS retained
         FROM pg_replication_slots s WHERE slot_name = $1`,
      [this.slot],
    );
    return rows[0];
  }

  /**
   * Waits until so many tables stream, none doesn't, every snapshot is complete in staging, and what the server of
   * `client` has committed by now is acknowledged.
   */
  async caughtUp({
    client = this.client,
    tables: count = 1,
    timeoutMs = 30_000,
  }: {
    client?: Client;
    tables?: number;
    timeoutMs?: number;
  } = {}): Promise<GatewayStatus> {
    const target = await flushedLsn(client);
    return this.process.untilStatus(
      "caught up",
      ({ tables, acknowledgedLsn }) =>
        tables.length >= count &&
        tables.every((table) => table.state.kind === "streaming") &&
        parseLsn(acknowledgedLsn) >= target &&
        // As its record says, beside the status.
        (count === 0 || this.snapshotsAreStaged()),
      timeoutMs,
    );
  }

  private snapshotsAreStaged(): boolean {
    const newest = this.records().at(-1);
    return newest !== undefined && Object.values(newest.tables).every((table) => table.snapshotComplete);
  }

  /** Rows of a table as staging gives them, and as the source has them, each sorted; columns of plain types only. */
  async rows(
    table: string,
    {
      query = `SELECT * FROM ${quoteIdentifier(table)}`,
      client = this.client,
    }: { query?: string; client?: Client } = {},
  ): Promise<{ staged: string[]; source: string[] }> {
    const replayed = (await replayStaging(this.stagingPath)).get(`public.${table}`);
    const { rows, fields } = await client.query<Record<string, unknown>>(query);
    const text = (row: Record<string, unknown>) =>
      JSON.stringify(fields.map(({ name }) => (row[name] == null ? null : String(row[name]))));
    return { staged: (replayed?.rows ?? []).map(text).sort(), source: rows.map(text).sort() };
  }

  /** Differences between the source's published tables and what staging makes of them, as text; [] when equal. */
  async differences(client = this.client): Promise<string[]> {
    const replayed = await replayStaging(this.stagingPath);
    const { rows: tables } = await client.query<{ schema: string; name: string }>(
      "SELECT schemaname AS schema, tablename AS name FROM pg_publication_tables WHERE pubname = 'p'",
    );
    const found: string[] = [];
    for (const table of tables) found.push(...(await differencesOf(client, table, replayed)));
    return found;
  }

  /** How often each table was copied, by name. */
  snapshots(): Record<string, number> {
    return Object.fromEntries((this.process.status()?.tables ?? []).map((table) => [table.name, table.snapshots]));
  }

  records() {
    return readRecords(this.stagingPath);
  }

  logged(event: string): Record<string, unknown>[] {
    return this.process.output
      .split("\n")
      .filter((line) => line.includes(`"event":"${event}"`))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** After a kill: ends the walsender at once, which else lives until it next sends something. */
  releaseSlot(): Promise<void> {
    return this.onReader((client) =>
      until("the slot is free", async () => {
        const { rows } = await client.query(
          "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active",
          [this.slot],
        );
        return rows.length === 0;
      }),
    );
  }

  private async onReader(work: (client: Client) => Promise<unknown>): Promise<void> {
    if (this.reader === this.postgres) {
      await work(this.client);
      return;
    }
    const client = await this.reader.client(this.database);
    await work(client).finally(() => client.end());
  }

  async close(): Promise<void> {
    await this.process.kill();
    await this.releaseSlot();
    await this.onReader((client) =>
      client.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", [
        this.slot,
      ]),
    );
    await this.client.end();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A slot waits there for records of running transactions, which the primary writes on demand. */
async function onStandby(standby: TestPostgres, primary: Client, createSlot: string): Promise<void> {
  let client: Client | undefined;
  await until("the database is replayed", async () => {
    client = await standby.client(primary.database).catch(() => undefined);
    return client !== undefined;
  });
  let isMade = false;
  const making = client?.query(createSlot).finally(() => {
    isMade = true;
  });
  making?.catch(() => {});
  await until("the slot is made", async () => {
    await primary.query("SELECT pg_log_standby_snapshot()");
    return isMade;
  });
  await making;
  await client?.end();
}

/** End of what is durable on the server. */
export async function flushedLsn(client: Client): Promise<bigint> {
  const { rows } = await client.query<{ lsn: string }>("SELECT pg_current_wal_flush_lsn()::text AS lsn");
  return parseLsn(rows[0].lsn);
}

async function differencesOf(
  client: Client,
  table: { schema: string; name: string },
  replayed: ReadonlyMap<string, ReplayedTable>,
): Promise<string[]> {
  const name = `${table.schema}.${table.name}`;
  const copy = replayed.get(name);
  if (copy === undefined) return [`${name}: absent; there are ${[...replayed.keys()].join(", ")}`];
  const { rows: columns } = await client.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute
      WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum`,
    [quoteTable(table)],
  );
  const texts = columns.map((column) => `${quoteIdentifier(column.name)}::text`).join(", ");
  const source = await client.query({ text: `SELECT ${texts} FROM ${quoteTable(table)}`, rowMode: "array" });
  const expected = source.rows.map((row) => JSON.stringify(row));
  const found: string[] = [];
  const names = copy.schema.columns.map((column) => column.name);
  const expectedNames = columns.map((column) => column.name);
  if (names.join() !== expectedNames.join()) {
    found.push(`${name}: columns ${names.join()}, in the source ${expectedNames.join()}`);
  }
  const got = copy.rows.map((row) => JSON.stringify(expectedNames.map((column) => row[column] ?? null)));
  const [gotRows, expectedRows] = [new Set(got), new Set(expected)];
  const missing = expected.filter((row) => !gotRows.has(row)).slice(0, 5);
  const surplus = got.filter((row) => !expectedRows.has(row)).slice(0, 5);
  if (missing.length + surplus.length > 0 || expected.length !== got.length) {
    found.push(
      `${name}: ${got.length} of ${expected.length} rows; missing ${missing.join(" ")}; surplus ${surplus.join(" ")}`,
    );
  }
  return found;
}

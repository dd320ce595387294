import { rmSync } from "node:fs";
import { dirname } from "node:path";
import { Client } from "pg";
import { startPostgres, stopPostgres, type TestPostgres } from "../support/postgres-server";
import { loadTpch } from "../support/tpch";
import type { DemoSession } from "./demo-session";

const role = "sluice";
const database = "tpch";

export interface DemoSource
  extends Pick<DemoSession, "dataFolder" | "host" | "port" | "database" | "user" | "passwordEnv"> {
  version: string;
  /** of the role */
  password: string;
  /** ends the server and removes its data */
  stop(): Promise<void>;
}

/** A PostgreSQL with an ordinary role that may replicate and owns a database: all that a stack needs. */
export async function startDemoSource(detached: boolean): Promise<DemoSource> {
  const server = await startPostgres({ detached, settings: { max_slot_wal_keep_size: "16GB" } });
  try {
    const { user, password, passwordEnv } = await server.createRole(role, "REPLICATION");
    return {
      dataFolder: server.dataFolder,
      host: server.host,
      port: server.port,
      database,
      user,
      password,
      passwordEnv,
      version: await prepareDatabase(server),
      stop: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

async function prepareDatabase(server: TestPostgres): Promise<string> {
  const admin = await server.client();
  try {
    await admin.query(`CREATE DATABASE ${database} OWNER ${role}`);
    const { rows } = await admin.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    return rows[0].version;
  } finally {
    await admin.end();
  }
}

/** Ends the server of an earlier process, and removes its data. */
export async function stopDemoSource({ dataFolder }: Pick<DemoSession, "dataFolder">): Promise<void> {
  await stopPostgres(dataFolder);
  rmSync(dirname(dataFolder), { recursive: true, force: true });
}

export function connectionOf(source: Pick<DemoSession, "host" | "port" | "database" | "user" | "passwordEnv">) {
  const { host, port, user, passwordEnv } = source;
  return { host, port, database: source.database, user, password: process.env[passwordEnv] };
}

/** Values are read as UTC. */
export async function connectDemo(source: DemoSession | DemoSource): Promise<Client> {
  const client = new Client({ ...connectionOf(source), application_name: "sluice demo" });
  client.on("error", () => {});
  await client.connect();
  await client.query("SET TimeZone = 'UTC'");
  return client;
}

/** @returns rows of the six tables */
export async function loadDemo(source: DemoSource, scale: number): Promise<number> {
  const client = await connectDemo(source);
  try {
    return await loadTpch(client, scale);
  } finally {
    await client.end();
  }
}

/** What a stack must leave as it was. */
export interface SourceTraces {
  slots: number;
  publications: number;
  /** replica identity of each table, by name */
  identities: Record<string, string>;
}

export async function readTraces(client: Client): Promise<SourceTraces> {
  const counts = await client.query<{ slots: number; publications: number }>(
    `SELECT (SELECT count(*)::int FROM pg_replication_slots) AS slots,
            (SELECT count(*)::int FROM pg_publication) AS publications`,
  );
  const { rows } = await client.query<{ name: string; identity: string }>(
    `SELECT relname AS name, relreplident::text AS identity FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname`,
  );
  return { ...counts.rows[0], identities: Object.fromEntries(rows.map(({ name, identity }) => [name, identity])) };
}

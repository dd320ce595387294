import type { Client } from "pg";

/** As a number: 180004 for 18.4 (PostgreSQL documentation, server_version_num). */
export async function readServerVersion(client: Client): Promise<number> {
  const { rows } = await client.query<{ number: number }>(
    "SELECT pg_catalog.current_setting('server_version_num')::int AS number",
  );
  return rows[0].number;
}

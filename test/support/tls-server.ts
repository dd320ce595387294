import { chmodSync, chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Certificate } from "./certificates";
import { until } from "./conditions";
import type { TestPostgres } from "./postgres-server";

export interface ServerTls {
  /** null: TLS is off */
  server: Certificate | null;
  /** by which client certificates are signed */
  clientAuthority?: Certificate;
  /** lines of pg_hba.conf, before which there is only our own local one for `postgres` over any way */
  hba?: string[];
}

/** Gives a running server these settings; new sessions have them. */
export async function setTls(postgres: TestPostgres, { server, clientAuthority, hba }: ServerTls): Promise<void> {
  const write = (name: string, text: string) => {
    const path = join(postgres.dataFolder, name);
    const { uid, gid } = statSync(postgres.dataFolder);
    writeFileSync(path, text);
    chownSync(path, uid, gid);
    chmodSync(path, 0o600);
  };
  if (server !== null) {
    write("server.crt", server.certificate);
    write("server.key", server.key);
  }
  write("clients.crt", clientAuthority?.certificate ?? "");
  const hbaPath = join(postgres.dataFolder, "pg_hba.conf");
  const own = "host all postgres 127.0.0.1/32 scram-sha-256";
  const rest = hba ?? ["host all all 127.0.0.1/32 scram-sha-256", "host replication all 127.0.0.1/32 scram-sha-256"];
  write("pg_hba.conf", [own, ...rest, ""].join("\n"));
  if (!readFileSync(hbaPath, "utf8").startsWith(own)) throw new Error("pg_hba.conf was not written");
  const client = await postgres.client();
  try {
    await client.query(`ALTER SYSTEM SET ssl_ca_file = '${clientAuthority === undefined ? "" : "clients.crt"}'`);
    await client.query(`ALTER SYSTEM SET ssl = ${server === null ? "off" : "on"}`);
    const { rows } = await client.query<{ at: string }>("SELECT pg_conf_load_time()::text AS at");
    await client.query("SELECT pg_reload_conf()");
    await until("the server has its settings", async () => {
      const now = await client.query<{ at: string; ssl: string }>(
        "SELECT pg_conf_load_time()::text AS at, current_setting('ssl') AS ssl",
      );
      return now.rows[0].at !== rows[0].at && now.rows[0].ssl === (server === null ? "off" : "on");
    });
  } finally {
    await client.end();
  }
}

import { execFileSync } from "node:child_process";
import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readServerVersion } from "../../runtime/postgres/server-version";
import { type PostgresOptions, startPostgres, type TestPostgres } from "./postgres-server";

export interface TestStandby extends TestPostgres {
  /** the physical slot on the primary through which it streams */
  physicalSlot: string;
  promote(): Promise<void>;
}

let standbys = 0;

/**
 * A hot standby of a running primary, streaming through a physical slot of its own: made by a backup as the
 * documentation has it for other tools than pg_basebackup (section 25.3.4).
 */
export async function startStandby(primary: TestPostgres, options: PostgresOptions = {}): Promise<TestStandby> {
  const physicalSlot = `standby_${standbys++}`;
  const conninfo = `host=${primary.host} port=${primary.port} user=${primary.user} password=${primary.password} dbname=postgres`;
  const standby = await startPostgres({
    ...options,
    settings: {
      hot_standby: "on",
      hot_standby_feedback: "on",
      primary_slot_name: physicalSlot,
      wal_receiver_status_interval: "1s",
      ...options.settings,
    },
    cluster: {
      password: primary.password,
      make: (dataFolder) => copyCluster(primary, dataFolder, physicalSlot, conninfo),
    },
  });
  return Object.assign(standby, {
    physicalSlot,
    promote: async () => {
      const client = await standby.client();
      try {
        await client.query("SELECT pg_promote(true, 30)");
      } finally {
        await client.end();
      }
    },
  });
}

async function copyCluster(primary: TestPostgres, dataFolder: string, slot: string, conninfo: string): Promise<void> {
  const client = await primary.client();
  try {
    await client.query("SELECT pg_create_physical_replication_slot($1, true)", [slot]);
    // Renamed in PostgreSQL 15.
    const [start, stop] =
      (await readServerVersion(client)) >= 150_000
        ? ["pg_backup_start('sluice test', true)", "pg_backup_stop(false)"]
        : ["pg_start_backup('sluice test', true, false)", "pg_stop_backup(false, false)"];
    await client.query(`SELECT ${start}`);
    execFileSync("cp", ["-a", primary.dataFolder, dataFolder]);
    const { rows } = await client.query<{ labelfile: string }>(`SELECT labelfile FROM ${stop}`);
    for (const name of ["postmaster.pid", "postmaster.opts"]) rmSync(join(dataFolder, name), { force: true });
    // Slots belong to the server that was copied.
    rmSync(join(dataFolder, "pg_replslot"), { recursive: true });
    execFileSync("install", ["-d", "-m", "700", join(dataFolder, "pg_replslot")]);
    writeFileSync(join(dataFolder, "backup_label"), rows[0].labelfile);
    writeFileSync(join(dataFolder, "standby.signal"), "");
    appendFileSync(join(dataFolder, "postgresql.auto.conf"), `primary_conninfo = '${conninfo}'\n`);
    for (const name of ["backup_label", "standby.signal", "pg_replslot"]) {
      execFileSync("chown", [`--reference=${dataFolder}`, join(dataFolder, name)]);
    }
  } finally {
    await client.end();
  }
}

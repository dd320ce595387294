import type { Client } from "pg";
import { type Flavour, flavourOf, logicalSwitch, readFlavourMarks, readSetting } from "./flavour";

/** What a source says of itself and of our role. */
export interface SourceFacts {
  /** as detected, or as given */
  flavour: Flavour;
  /** the flavour's own switch for logical decoding is on; false where there is none, or our role may not read it */
  logicalSwitchedOn: boolean;
  /** `server_version_num`, as 180004 */
  versionNumber: number;
  /** `server_version`, as `18.4` */
  version: string;
  database: string;
  /** server_encoding */
  encoding: string;
  databaseOid: number;
  user: string;
  walLevel: string;
  slotsMax: number;
  slotsUsed: number;
  walSendersMax: number;
  walSendersUsed: number;
  inRecovery: boolean;
  /** of a standby: whether the primary's vacuum spares what is read on it */
  hotStandbyFeedback: boolean;
  /** of a standby: the physical slot through which it streams; empty without one */
  primarySlotName: string;
  /** MB; -1 is no limit; null before PostgreSQL 13 */
  slotWalKeepMegabytes: number | null;
  superuser: boolean;
  replication: boolean;
  /** member of RDS's `rds_replication` */
  rdsReplication: boolean;
  createOnDatabase: boolean;
}

/** Read-only. `flavour`: given, it isn't detected. */
export async function readSourceFacts(client: Client, flavour?: Flavour): Promise<SourceFacts> {
  const { rows } = await client.query<Record<string, string | null> & { booleans: boolean[] }>(
    `SELECT current_setting('server_version_num') AS version_number,
            current_setting('server_version') AS version,
            current_database() AS database,
            current_setting('server_encoding') AS encoding,
            (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = current_database()) AS database_oid,
            current_user AS "user",
            current_setting('wal_level') AS wal_level,
            current_setting('max_replication_slots') AS slots_max,
            (SELECT count(*)::text FROM pg_catalog.pg_replication_slots) AS slots_used,
            current_setting('max_wal_senders') AS wal_senders_max,
            (SELECT count(*)::text FROM pg_catalog.pg_stat_replication) AS wal_senders_used,
            (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') AS slot_wal_keep,
            current_setting('primary_slot_name') AS primary_slot_name,
            ARRAY[pg_is_in_recovery(), r.rolsuper, r.rolreplication,
                  EXISTS (SELECT FROM pg_catalog.pg_roles g
                           WHERE g.rolname = 'rds_replication' AND pg_has_role(r.oid, g.oid, 'MEMBER')),
                  has_database_privilege(current_database(), 'CREATE'),
                  current_setting('hot_standby_feedback')::boolean] AS booleans
       FROM pg_catalog.pg_roles r WHERE r.rolname = current_user`,
  );
  const row = rows[0];
  const found = flavour ?? flavourOf(await readFlavourMarks(client));
  const switchName = logicalSwitch[found];
  const switchValue = switchName === null ? null : await readSetting(client, switchName);
  return {
    flavour: found,
    logicalSwitchedOn: switchValue !== null && ["1", "on", "true"].includes(switchValue.toLowerCase()),
    versionNumber: Number(row.version_number),
    version: row.version ?? "",
    database: row.database ?? "",
    encoding: row.encoding ?? "",
    databaseOid: Number(row.database_oid),
    user: row.user ?? "",
    walLevel: row.wal_level ?? "",
    slotsMax: Number(row.slots_max),
    slotsUsed: Number(row.slots_used),
    walSendersMax: Number(row.wal_senders_max),
    walSendersUsed: Number(row.wal_senders_used),
    slotWalKeepMegabytes: row.slot_wal_keep === null ? null : Number(row.slot_wal_keep),
    inRecovery: row.booleans[0],
    superuser: row.booleans[1],
    replication: row.booleans[2],
    rdsReplication: row.booleans[3],
    createOnDatabase: row.booleans[4],
    hotStandbyFeedback: row.booleans[5],
    primarySlotName: row.primary_slot_name ?? "",
  };
}

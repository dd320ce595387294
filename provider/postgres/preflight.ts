import type { Client } from "pg";
import { SluiceError } from "../../runtime/errors";
import { encodingProblem } from "../../runtime/postgres/encoding";
import { quoteIdentifier } from "../../runtime/postgres/identifier";

/** What a source says of itself and of our role; one read-only query. */
export interface SourceFacts {
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

export interface Finding {
  severity: "error" | "warning";
  /** input that it is reported at */
  property: "host" | "user" | "database";
  message: string;
  remedy: string;
}

export interface FindingOptions {
  /** count free slots and walsenders; false when ours exist already */
  needsSlot: boolean;
  /** a server in recovery is read from */
  allowStandby: boolean;
}

/** Pure: what stands against replicating from such a source, worst first. */
export function findProblems(facts: SourceFacts, options: FindingOptions): Finding[] {
  const findings: Finding[] = [];
  const error = (property: Finding["property"], message: string, remedy: string) =>
    findings.push({ severity: "error", property, message, remedy });
  const user = quoteIdentifier(facts.user);

  if (facts.versionNumber < 140_000) {
    error("host", `PostgreSQL ${facts.version} is too old: 14 or newer is needed`, "Upgrade the server.");
  }
  const encoding = encodingProblem(facts.encoding);
  if (encoding !== null) error("database", encoding.message, encoding.remedy);
  if (facts.walLevel !== "logical") {
    error(
      "host",
      `wal_level is ${facts.walLevel}, not logical`,
      "Run ALTER SYSTEM SET wal_level = 'logical' and restart PostgreSQL (RDS and Aurora: set rds.logical_replication = 1 in the parameter group; Cloud SQL: the flag cloudsql.logical_decoding; Azure: wal_level in the server parameters).",
    );
  }
  if (facts.inRecovery) findings.push(...findStandbyProblems(facts, options.allowStandby));
  if (!facts.superuser && !facts.replication && !facts.rdsReplication) {
    error(
      "user",
      `role ${user} may not replicate`,
      `Run ALTER ROLE ${user} WITH REPLICATION (RDS and Aurora: GRANT rds_replication TO ${user}).`,
    );
  }
  // On a standby nothing is published.
  if (!facts.createOnDatabase && !facts.inRecovery) {
    error(
      "user",
      `role ${user} may not create publications in database ${quoteIdentifier(facts.database)}`,
      `Run GRANT CREATE ON DATABASE ${quoteIdentifier(facts.database)} TO ${user}.`,
    );
  }
  if (options.needsSlot) findings.push(...findSlotShortage(facts));
  if (facts.slotWalKeepMegabytes === -1) {
    findings.push({
      severity: "warning",
      property: "host",
      message: "max_slot_wal_keep_size is -1: a slot that nobody reads can fill the disk",
      remedy:
        "Run ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' (or what the disk can spare); SELECT pg_reload_conf().",
    });
  }
  return findings;
}

/** Pure: what stands against reading from a standby. */
function findStandbyProblems(facts: SourceFacts, isAllowed: boolean): Finding[] {
  const finding = (severity: Finding["severity"], message: string, remedy: string): Finding => ({
    severity,
    property: "host",
    message,
    remedy,
  });
  if (facts.versionNumber < 160_000) {
    return [
      finding(
        "error",
        `the server is a standby (in recovery), and PostgreSQL ${facts.version} decodes on a primary only`,
        "Give the primary's host, or upgrade to PostgreSQL 16 or newer.",
      ),
    ];
  }
  if (!isAllowed) {
    return [
      finding(
        "error",
        "the server is a standby (in recovery)",
        'Give the primary\'s host, and name standbys that may be promoted in failoverHosts. To read from the standby: standby: "allow" on this Connection, for ReplicationSlot and Gateway, and one to the primary for the Publication; or standby: { host } on PostgresIngestion.',
      ),
    ];
  }
  if (!facts.hotStandbyFeedback) {
    return [
      finding(
        "error",
        "hot_standby_feedback is off: the primary's vacuum would remove catalog rows that the slot on the standby needs, and with them the slot",
        "Run ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf() on the standby.",
      ),
    ];
  }
  if (facts.primarySlotName !== "") return [];
  return [
    finding(
      "warning",
      "primary_slot_name is empty: while the standby is away its feedback isn't kept, and the slot on it may be lost",
      "On the primary run SELECT pg_create_physical_replication_slot('standby'), and on the standby ALTER SYSTEM SET primary_slot_name = 'standby'; SELECT pg_reload_conf().",
    ),
  ];
}

/** @throws SluiceError `unsupported` on a standby */
export async function requirePrimary(client: Client): Promise<void> {
  if (!(await isInRecovery(client))) return;
  throw new SluiceError("unsupported", "the server is a standby (in recovery): a publication is made on the primary", {
    remedy: "Give the Publication the source of a Connection to the primary; it is replayed by the standby.",
  });
}

export async function isInRecovery(client: Client): Promise<boolean> {
  const { rows } = await client.query<{ standby: boolean }>("SELECT pg_is_in_recovery() AS standby");
  return rows[0].standby;
}

/** Pure: what stands against one more slot and its consumer. */
export function findSlotShortage(
  facts: Pick<SourceFacts, "slotsUsed" | "slotsMax" | "walSendersUsed" | "walSendersMax">,
): Finding[] {
  const findings: Finding[] = [];
  if (facts.slotsUsed >= facts.slotsMax) {
    findings.push({
      severity: "error",
      property: "host",
      message: `no free replication slot: ${facts.slotsUsed} of max_replication_slots = ${facts.slotsMax} are in use`,
      remedy:
        "Drop an unused one (SELECT slot_name, active FROM pg_replication_slots; SELECT pg_drop_replication_slot('…')), or raise max_replication_slots and restart PostgreSQL.",
    });
  }
  if (facts.walSendersUsed >= facts.walSendersMax) {
    findings.push({
      severity: "error",
      property: "host",
      message: `no free walsender: ${facts.walSendersUsed} of max_wal_senders = ${facts.walSendersMax} are in use`,
      remedy:
        "Stop an unused consumer (SELECT pid, application_name FROM pg_stat_replication), or raise max_wal_senders and restart PostgreSQL.",
    });
  }
  return findings;
}

export async function readSourceFacts(client: Client): Promise<SourceFacts> {
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
  return {
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

export async function readDatabaseOid(client: Client): Promise<number> {
  const { rows } = await client.query<{ oid: string }>(
    "SELECT oid::text FROM pg_catalog.pg_database WHERE datname = current_database()",
  );
  return Number(rows[0].oid);
}

/** The cluster's identity, the same after a failover; `null` where the function is closed to our role. */
export async function readSystemIdentifier(client: Client): Promise<string | null> {
  const { rows } = await client.query<{ allowed: boolean }>(
    "SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') AS allowed",
  );
  if (!rows[0].allowed) return null;
  const system = await client.query<{ id: string }>("SELECT system_identifier::text AS id FROM pg_control_system()");
  return system.rows[0].id;
}

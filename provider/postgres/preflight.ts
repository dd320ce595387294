import type { Client } from "pg";
import { SluiceError } from "../../runtime/errors";
import { encodingProblem } from "../../runtime/postgres/encoding";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import {
  asAdministrator,
  type Flavour,
  flavourNames,
  logicalRemedy,
  replicatesByMembership,
  replicationGrant,
  settingRemedy,
} from "./flavour";
import type { SourceFacts } from "./source-facts";

/** What is made of a server that keeps WAL for an abandoned slot without limit. */
export type UncappedSlotWal = "warn" | "error" | "ignore";

export interface Finding {
  severity: "error" | "warning" | "note";
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
  /** the stack makes its publication; default true */
  createsPublications?: boolean;
  /** default `warn` */
  uncappedSlotWal?: UncappedSlotWal;
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
    error("host", `wal_level is ${facts.walLevel}, not logical`, logicalRemedy(facts.flavour, facts.logicalSwitchedOn));
  }
  if (facts.inRecovery) findings.push(...findStandbyProblems(facts, options.allowStandby));
  if (!mayReplicate(facts)) {
    const grant = replicationGrant(facts.flavour, facts.user);
    error("user", `role ${user} may not replicate`, `Run ${grant} ${asAdministrator(facts.flavour)}.`);
  }
  // On a standby nothing is published.
  if (!facts.createOnDatabase && !facts.inRecovery && options.createsPublications !== false) {
    error(
      "user",
      `role ${user} may not create publications in database ${quoteIdentifier(facts.database)}`,
      `Run GRANT CREATE ON DATABASE ${quoteIdentifier(facts.database)} TO ${user}.`,
    );
  }
  if (options.needsSlot) findings.push(...findSlotShortage(facts));
  const policy = options.uncappedSlotWal ?? "warn";
  if (facts.slotWalKeepMegabytes === -1 && policy !== "ignore") {
    findings.push({
      severity: policy === "error" ? "error" : "warning",
      property: "host",
      message: "max_slot_wal_keep_size is -1: a slot that nobody reads can fill the disk",
      remedy: slotWalRemedy(facts.flavour),
    });
  }
  return findings.sort((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity));
}

const severities: readonly Finding["severity"][] = ["error", "warning", "note"];

function mayReplicate({ flavour, superuser, replication, rdsReplication }: SourceFacts): boolean {
  return superuser || replication || (replicatesByMembership(flavour) && rdsReplication);
}

function slotWalRemedy(flavour: Flavour): string {
  if (flavour === "azure") {
    return `${flavourNames.azure} lets nobody change it: let the storage grow by itself, watch the gateway's slot alerts, and say uncappedSlotWal: "ignore" here.`;
  }
  const setting = { name: "max_slot_wal_keep_size", restart: false, hint: "or what the disk can spare" };
  // A parameter group and a flag take MB without a unit.
  return settingRemedy(flavour, { ...setting, value: flavour === "vanilla" ? "50GB" : "51200" });
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
        `On the standby: ${settingRemedy(facts.flavour, { name: "hot_standby_feedback", value: "on", restart: false })}`,
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
  facts: Pick<SourceFacts, "flavour" | "slotsUsed" | "slotsMax" | "walSendersUsed" | "walSendersMax">,
): Finding[] {
  const { flavour, slotsUsed, slotsMax, walSendersUsed, walSendersMax } = facts;
  const raise = (name: string, max: number) =>
    settingRemedy(flavour, { name, value: String(max + 10), restart: true }).replace(/^[A-Z]/, (first) =>
      first.toLowerCase(),
    );
  const shortage = (message: string, free: string, name: string, max: number): Finding => ({
    severity: "error",
    property: "host",
    message,
    remedy: `${free}, or ${raise(name, max)}`,
  });
  const findings: Finding[] = [];
  if (slotsUsed >= slotsMax) {
    findings.push(
      shortage(
        `no free replication slot: ${slotsUsed} of max_replication_slots = ${slotsMax} are in use`,
        "Drop an unused one (sluice slots lists them; SELECT pg_drop_replication_slot('…'))",
        "max_replication_slots",
        slotsMax,
      ),
    );
  }
  if (walSendersUsed >= walSendersMax) {
    findings.push(
      shortage(
        `no free walsender: ${walSendersUsed} of max_wal_senders = ${walSendersMax} are in use`,
        "Stop an unused consumer (SELECT pid, application_name FROM pg_stat_replication)",
        "max_wal_senders",
        walSendersMax,
      ),
    );
  }
  return findings;
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

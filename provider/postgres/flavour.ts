import type { Client } from "pg";
import { quoteIdentifier } from "../../runtime/postgres/identifier";
import { sqlStateOf } from "../../runtime/postgres/source-error";

/** Who runs the server, as far as rights and settings differ. */
export const flavours = ["vanilla", "rds", "aurora", "azure", "cloudsql", "alloydb"] as const;
export type Flavour = (typeof flavours)[number];

export const flavourNames: Record<Flavour, string> = {
  vanilla: "PostgreSQL",
  rds: "Amazon RDS",
  aurora: "Amazon Aurora",
  azure: "Azure Database for PostgreSQL flexible server",
  cloudsql: "Google Cloud SQL",
  alloydb: "Google AlloyDB",
};

/** What only some server has. */
export interface FlavourMarks {
  /** the function `aurora_version` */
  hasAuroraVersion: boolean;
  /** those of `markRoles` that exist */
  roles: string[];
  /** those of `markPrefixes` that a setting has */
  prefixes: string[];
}

const markRoles = ["rdsadmin", "rds_superuser", "azuresu", "azure_pg_admin", "cloudsqlsuperuser", "alloydbsuperuser"];
const markPrefixes = ["rds", "azure", "cloudsql", "alloydb"];
/** A setting of each prefix that every role may read: a role that may read no others finds none in pg_settings. */
const markSettings = [
  "rds.logical_replication",
  "azure.extensions",
  "cloudsql.logical_decoding",
  "alloydb.logical_decoding",
];

/** Pure: Aurora has all that RDS has, and AlloyDB something of Cloud SQL. */
export function flavourOf({ hasAuroraVersion, roles, prefixes }: FlavourMarks): Flavour {
  const has = (prefix: string, ...names: string[]) =>
    prefixes.includes(prefix) || names.some((name) => roles.includes(name));
  if (has("alloydb", "alloydbsuperuser")) return "alloydb";
  if (has("rds", "rdsadmin", "rds_superuser")) return hasAuroraVersion ? "aurora" : "rds";
  if (has("azure", "azuresu", "azure_pg_admin")) return "azure";
  return has("cloudsql", "cloudsqlsuperuser") ? "cloudsql" : "vanilla";
}

export async function readFlavourMarks(client: Client): Promise<FlavourMarks> {
  const { rows } = await client.query<FlavourMarks>(
    `SELECT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'aurora_version') AS "hasAuroraVersion",
            array(SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY ($1)) AS roles,
            array(SELECT DISTINCT split_part(name, '.', 1) FROM pg_catalog.pg_settings
                   WHERE split_part(name, '.', 1) = ANY ($2)) AS prefixes`,
    [markRoles, markPrefixes],
  );
  const [marks] = rows;
  for (const setting of markSettings) {
    const [prefix] = setting.split(".");
    if (marks.prefixes.includes(prefix)) continue;
    if ((await readSetting(client, setting)) !== null) marks.prefixes.push(prefix);
  }
  return marks;
}

/** Null where there is none of that name, or it is empty, or our role may not read it. */
export async function readSetting(client: Client, name: string): Promise<string | null> {
  try {
    const { rows } = await client.query<{ value: string | null }>("SELECT current_setting($1, true) AS value", [name]);
    // What a session has set once of a name that no module has is empty ever after.
    return rows[0].value === "" ? null : rows[0].value;
  } catch (error) {
    if (sqlStateOf(error) === "42501") return null;
    throw error;
  }
}

/** The switch for logical decoding where `wal_level` can't be set itself. */
export const logicalSwitch: Record<Flavour, string | null> = {
  vanilla: null,
  rds: "rds.logical_replication",
  aurora: "rds.logical_replication",
  azure: null,
  cloudsql: "cloudsql.logical_decoding",
  alloydb: "alloydb.logical_decoding",
};

/** The role whose members administer the server in place of a superuser. */
export const administrators: Record<Flavour, string | null> = {
  vanilla: null,
  rds: "rds_superuser",
  aurora: "rds_superuser",
  azure: "azure_pg_admin",
  cloudsql: "cloudsqlsuperuser",
  alloydb: "alloydbsuperuser",
};

/** On RDS and Aurora membership takes the place of the attribute REPLICATION. */
export function replicatesByMembership(flavour: Flavour): boolean {
  return flavour === "rds" || flavour === "aurora";
}

/** Pure: the statement, without a semicolon, by which a role may replicate. */
export function replicationGrant(flavour: Flavour, user: string): string {
  const role = quoteIdentifier(user);
  return replicatesByMembership(flavour) ? `GRANT rds_replication TO ${role}` : `ALTER ROLE ${role} WITH REPLICATION`;
}

/** Pure: who can run it, as the end of a sentence. */
export function asAdministrator(flavour: Flavour): string {
  const role = administrators[flavour];
  return role === null ? "as a superuser" : `as a member of ${role}`;
}

/** Pure: how `wal_level` becomes logical; `switchedOn`: the provider's own switch is on already, as far as known. */
export function logicalRemedy(flavour: Flavour, switchedOn: boolean): string {
  const name = logicalSwitch[flavour];
  if (name !== null && switchedOn) {
    return `${name} is on, and takes effect with a restart: reboot the ${flavour === "aurora" ? "cluster's writer" : "instance"}.`;
  }
  switch (flavour) {
    case "vanilla":
      return "Run ALTER SYSTEM SET wal_level = 'logical' and restart PostgreSQL.";
    case "azure":
      return settingRemedy(flavour, { name: "wal_level", value: "logical", restart: true });
    case "rds":
    case "aurora":
      return settingRemedy(flavour, { name: "rds.logical_replication", value: "1", restart: true });
    case "cloudsql":
    case "alloydb":
      return settingRemedy(flavour, { name: logicalSwitch[flavour] as string, value: "on", restart: true });
  }
}

export interface WantedSetting {
  name: string;
  /** as it is written; a phrase in parentheses may follow by `hint` */
  value: string;
  restart: boolean;
  hint?: string;
}

/** Pure: how a setting is changed. */
export function settingRemedy(flavour: Flavour, { name, value, restart, hint }: WantedSetting): string {
  const more = hint === undefined ? "" : ` (${hint})`;
  switch (flavour) {
    case "vanilla":
      return restart
        ? `Run ALTER SYSTEM SET ${name} = '${value}'${more} and restart PostgreSQL.`
        : `Run ALTER SYSTEM SET ${name} = '${value}'${more}; SELECT pg_reload_conf().`;
    case "rds":
      return `Set ${name} = ${value}${more} in the instance's own DB parameter group${restart ? " and reboot the instance" : ""}.`;
    case "aurora":
      return `Set ${name} = ${value}${more} in the cluster's own DB cluster parameter group${restart ? " and reboot the writer" : ""}.`;
    case "azure":
      return `Set ${name} = ${value}${more} in the server parameters (az postgres flexible-server parameter set --name ${name} --value ${value})${restart ? " and restart the server" : ""}.`;
    case "cloudsql":
      return `Set the flag ${name} = ${value}${more} (gcloud sql instances patch INSTANCE --database-flags with it and all flags that are set now)${restart ? "; the instance restarts" : ""}.`;
    case "alloydb":
      return `Set the flag ${name} = ${value}${more} (gcloud alloydb instances update INSTANCE --database-flags with it and all flags that are set now)${restart ? "; the instance restarts" : ""}.`;
  }
}

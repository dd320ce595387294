import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { asAdministrator, type Flavour, replicatesByMembership, replicationGrant } from "./flavour";
import type { TableName } from "./table-inspection";

/** What a stack's role is to do. */
export interface GrantNeeds {
  flavour: Flavour;
  database: string;
  role: string;
  /** the role exists, as far as known */
  roleExists: boolean;
  /** `ours`: the stack makes its publication of `tables`; `by-hand`: somebody makes it, and the stack reads only */
  publication: "ours" | "by-hand";
  /** what is read: tables by name with their owners, where known; or whole schemas; or everything */
  scope:
    | { kind: "tables"; tables: readonly OwnedTable[] }
    | { kind: "schemas"; schemas: readonly string[] }
    | { kind: "all" };
  /** how the role comes to own the tables that it publishes: through a role of their own, or through each one's owner */
  ownership: "group" | "member";
  /** the role of its own; default `<role>_tables` */
  ownerRole?: string;
  /** it exists, as far as known; default: when it owns one of the tables */
  ownerRoleExists?: boolean;
}

/** Pure: the role of their own that published tables get. */
export function ownerRoleOf({ role, ownerRole }: Pick<GrantNeeds, "role" | "ownerRole">): string {
  return ownerRole ?? `${role}_tables`;
}

export interface OwnedTable extends TableName {
  /** null where it isn't known */
  owner: string | null;
}

/** What a statement is for; the preflight finds each that is left out, but optional ones. */
export type GrantPurpose =
  | "role"
  | "replication"
  | "database"
  | "schema"
  | "owner-role"
  | "owner-member"
  | "former-owner"
  | "table-owner"
  | "select"
  | "later-tables"
  | "statistics";

export interface GrantStatement {
  purpose: GrantPurpose;
  /** without a semicolon */
  sql: string;
  /** one line without a full stop */
  why: string;
  /** nothing fails without it */
  optional: boolean;
}

/** Pure: the least that the role needs, in the order in which it is run. */
export function grantStatements(needs: GrantNeeds): GrantStatement[] {
  const { flavour, database, scope, publication } = needs;
  const role = quoteIdentifier(needs.role);
  const statements: GrantStatement[] = [];
  const add = (purpose: GrantPurpose, sql: string, why: string, optional = false) =>
    statements.push({ purpose, sql, why, optional });

  if (!needs.roleExists) {
    add("role", `CREATE ROLE ${role} LOGIN`, "the role; give it a password with \\password, which sends no plain text");
  }
  add("replication", replicationGrant(flavour, needs.role), "to create a slot and to read the WAL");
  if (publication === "ours") {
    add("database", `GRANT CREATE ON DATABASE ${quoteIdentifier(database)} TO ${role}`, "to create the publication");
  }
  const schemas = scope.kind === "schemas" ? scope.schemas : scope.kind === "tables" ? schemasOf(scope.tables) : [];
  for (const schema of schemas) {
    add("schema", `GRANT USAGE ON SCHEMA ${quoteIdentifier(schema)} TO ${role}`, "to reach its tables");
  }
  if (publication === "ours" && scope.kind === "tables") statements.push(...ownership(needs, scope.tables));
  else statements.push(...reading(needs));
  add(
    "statistics",
    `GRANT pg_read_all_stats TO ${role}`,
    "to tell since when other roles' transactions hold a slot or a copy back",
    true,
  );
  return statements;
}

/** An owner may read: no SELECT is needed beside it. */
function ownership(needs: GrantNeeds, tables: readonly OwnedTable[]): GrantStatement[] {
  const role = quoteIdentifier(needs.role);
  const why = "only its owner publishes a table and sets its replica identity";
  const owners = [...new Set(tables.flatMap(({ owner }) => owner ?? []))].filter((owner) => owner !== needs.role);
  const statement = (purpose: GrantPurpose, sql: string, reason: string): GrantStatement => ({
    purpose,
    sql,
    why: reason,
    optional: false,
  });
  if (needs.ownership === "member") {
    return owners.map((owner) => statement("owner-member", `GRANT ${quoteIdentifier(owner)} TO ${role}`, why));
  }
  const foreign = tables.filter(({ owner }) => owner !== needs.role);
  if (foreign.length === 0) return [];
  const name = ownerRoleOf(needs);
  const group = quoteIdentifier(name);
  const moved = foreign.filter(({ owner }) => owner !== name);
  const members = owners.filter((owner) => owner !== name);
  // Who isn't a superuser gives a table to a role only of which it is a member, and that may create in the schema.
  const byMember = needs.flavour !== "vanilla" && moved.length > 0;
  const schemas = byMember ? schemasOf(moved) : [];
  return [
    ...(needs.ownerRoleExists !== true && moved.length === foreign.length
      ? [
          statement(
            "owner-role",
            `CREATE ROLE ${group} NOLOGIN`,
            "owns the tables that are published, and nothing else",
          ),
        ]
      : []),
    statement("owner-member", `GRANT ${group} TO ${role}`, why),
    ...(byMember ? [statement("former-owner", `GRANT ${group} TO CURRENT_USER`, "to give it tables")] : []),
    ...members.map((owner) =>
      statement(
        "former-owner",
        `GRANT ${group} TO ${quoteIdentifier(owner)}`,
        "the owner of before does with its tables what it did",
      ),
    ),
    ...schemas.map((schema) =>
      statement("former-owner", `GRANT CREATE ON SCHEMA ${quoteIdentifier(schema)} TO ${group}`, "for the change only"),
    ),
    ...moved.map((table) => statement("table-owner", `ALTER TABLE ${quoteTable(table)} OWNER TO ${group}`, why)),
    ...schemas.map((schema) =>
      statement("former-owner", `REVOKE CREATE ON SCHEMA ${quoteIdentifier(schema)} FROM ${group}`, "it is done"),
    ),
  ];
}

function reading({ role: name, scope }: GrantNeeds): GrantStatement[] {
  const role = quoteIdentifier(name);
  const select = (on: string): GrantStatement => ({
    purpose: "select",
    sql: `GRANT SELECT ON ${on} TO ${role}`,
    why: "to copy rows",
    optional: false,
  });
  switch (scope.kind) {
    case "tables":
      return scope.tables.map((table) => select(quoteTable(table)));
    case "schemas":
      return scope.schemas.flatMap((schema) => {
        const of = quoteIdentifier(schema);
        return [
          select(`ALL TABLES IN SCHEMA ${of}`),
          {
            purpose: "later-tables",
            sql: `ALTER DEFAULT PRIVILEGES IN SCHEMA ${of} GRANT SELECT ON TABLES TO ${role}`,
            why: "for tables that the one who runs this makes later; other roles that make tables run it too",
            optional: true,
          },
        ];
      });
    case "all":
      return [
        {
          purpose: "select",
          sql: `GRANT pg_read_all_data TO ${role}`,
          why: "to copy rows of every table, of later ones too",
          optional: false,
        },
      ];
  }
}

function schemasOf(tables: readonly TableName[]): string[] {
  return [...new Set(tables.map(({ schema }) => schema))];
}

/** Pure: what statements can't say. */
export function grantNotes({ flavour, publication, scope, ownership: how }: GrantNeeds): string[] {
  const notes = [`Run it ${asAdministrator(flavour)}, in the database.`];
  if (replicatesByMembership(flavour)) {
    notes.push("The attribute REPLICATION isn't given here: membership of rds_replication takes its place.");
  }
  if (publication === "ours") {
    notes.push(
      how === "group"
        ? "PostgreSQL has no privilege to publish a table: its owner does. So a role owns the published tables, with the stack's role and the owner of before as members; new tables of theirs are given to it before they are published."
        : "PostgreSQL has no privilege to publish a table: its owner does. As a member of the owner the stack's role may do all that the owner may; --ownership group gives it the published tables only.",
    );
  } else {
    notes.push(
      "Connection: createsPublications: false. Whoever makes the publication owns its tables and sets their replica identities; by schema or FOR ALL TABLES it is a superuser.",
    );
  }
  if (flavour !== "vanilla" && publication === "ours" && how === "group" && scope.kind === "tables") {
    notes.push("Who runs it owns the tables, or is a member of their owners.");
  }
  return notes;
}

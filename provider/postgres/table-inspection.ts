import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { identityOf } from "./publication-members";
import type { Identity } from "./replica-identity";

export interface TableName {
  schema: string;
  name: string;
}

/** A table as the catalog holds it, seen with our role's rights. */
export interface TableFacts extends TableName {
  oid: string;
  /** pg_class.relkind */
  kind: string;
  /** pg_class.relpersistence */
  persistence: string;
  isPartition: boolean;
  owner: string;
  /** our role owns it, is a member of its owner, or is a superuser */
  owned: boolean;
  selectable: boolean;
  schemaUsable: boolean;
  /** one that isn't deferrable: another is no replica identity to PostgreSQL */
  hasPrimaryKey: boolean;
  /** a value of it can be stored out of line, so that an update may not send it */
  toastable: boolean;
  identity: Identity;
}

export interface TableProblem {
  table: TableName;
  kind: "missing-object" | "permission" | "unsupported";
  message: string;
  remedy: string;
}

/** Facts in the order of `tables`; `null` for one that doesn't exist. */
export async function inspectTables(client: Client, tables: readonly TableName[]): Promise<(TableFacts | null)[]> {
  const { rows } = await client.query<
    TableFacts & { ordinal: string; relreplident: string; index_name: string | null }
  >(
    `SELECT wanted.ordinal::text, n.nspname AS schema, c.relname AS name, c.oid::text, c.relkind::text AS kind,
            c.relpersistence::text AS persistence, c.relispartition AS "isPartition",
            pg_get_userbyid(c.relowner) AS owner, pg_has_role(c.relowner, 'USAGE') AS owned,
            has_table_privilege(c.oid, 'SELECT') AS selectable, has_schema_privilege(n.oid, 'USAGE') AS "schemaUsable",
            EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate)
              AS "hasPrimaryKey",
            c.reltoastrelid <> 0 AND EXISTS (
              SELECT FROM pg_catalog.pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> 'p') AS toastable,
            c.relreplident::text,
            (SELECT ic.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
              WHERE i.indrelid = c.oid AND i.indisreplident) AS index_name
       FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (schema, name, ordinal)
       JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
       JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name`,
    [tables.map((table) => table.schema), tables.map((table) => table.name)],
  );
  const found = new Map(rows.map((row) => [Number(row.ordinal), row]));
  return tables.map((_, index) => {
    const row = found.get(index + 1);
    if (row === undefined) return null;
    const { ordinal: _ordinal, relreplident, index_name, ...facts } = row;
    return { ...facts, identity: identityOf(relreplident, index_name) };
  });
}

/** Pure: why no row of a table can be told from another, with this replica identity; null where one can. */
export function keyProblem(
  { schema, name, primaryKey }: TableName & { primaryKey: readonly string[] },
  identity: Identity,
): TableProblem | null {
  if (primaryKey.length > 0 || identity.kind === "index") return null;
  return {
    table: { schema, name },
    kind: "unsupported",
    message: `${quoteTable({ schema, name })} has no key (a primary key that isn't deferrable, or a replica identity index), by which its rows would be merged`,
    remedy:
      'Add a primary key, or name a unique index as its replicaIdentity; or give columns that are unique in tableOptions: { table, key }; or use mode "append" for it.',
  };
}

/** Pure: why a table can't be replicated by `user`, or null. */
export function tableProblem(table: TableName, facts: TableFacts | null, user: string): TableProblem | null {
  const name = quoteTable(table);
  const role = quoteIdentifier(user);
  if (facts === null) {
    return {
      table,
      kind: "missing-object",
      message: `table ${name} does not exist`,
      remedy: `Create it, or correct its name (names are case-sensitive): SELECT schemaname, tablename FROM pg_tables WHERE tablename ILIKE '${table.name.replaceAll("'", "''")}'.`,
    };
  }
  const unsupported = (what: string, remedy: string): TableProblem => ({
    table,
    kind: "unsupported",
    message: `${name} is ${what}, which can't be replicated`,
    remedy,
  });
  switch (facts.kind) {
    case "r":
    case "p":
      break;
    case "v":
    case "m":
      return unsupported("a view", "Name the tables that it reads.");
    case "f":
      return unsupported("a foreign table", "Replicate it from the server that holds it.");
    default:
      return unsupported("not a table", "Name an ordinary table.");
  }
  if (facts.persistence !== "p") {
    return unsupported(
      facts.persistence === "u" ? "an unlogged table" : "a temporary table",
      `Run ALTER TABLE ${name} SET LOGGED, or leave it out.`,
    );
  }
  if (table.schema === "pg_catalog" || table.schema === "information_schema") {
    return unsupported("a system table", "Leave it out.");
  }
  const grants: string[] = [];
  if (!facts.schemaUsable) grants.push(`GRANT USAGE ON SCHEMA ${quoteIdentifier(table.schema)} TO ${role}`);
  if (!facts.selectable) grants.push(`GRANT SELECT ON ${name} TO ${role}`);
  // Only an owner can add a table to a publication and set its replica identity (PostgreSQL documentation, section 29.11).
  if (!facts.owned) grants.push(`GRANT ${quoteIdentifier(facts.owner)} TO ${role}`);
  if (grants.length === 0) return null;
  return {
    table,
    kind: "permission",
    message: `role ${role} lacks ${facts.owned ? "privileges on" : `the ownership of`} table ${name} (owner: ${quoteIdentifier(facts.owner)})`,
    remedy: `Run ${grants.join("; ")}.`,
  };
}

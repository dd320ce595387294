import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import type { TableFacts, TableName } from "./table-inspection";

/** What the old row of an update or delete holds (PostgreSQL documentation, ALTER TABLE, REPLICA IDENTITY). */
export type Identity = { kind: "default" } | { kind: "full" } | { kind: "nothing" } | { kind: "index"; index: string };

/** An identity that we changed, to be put back. */
export interface PreviousIdentity extends TableName {
  previous: Identity;
}

/**
 * Pure: A. primary key and nothing that could be stored out of line: DEFAULT; B. primary key and such values: FULL,
 * since an unchanged one isn't sent otherwise; C. no primary key: FULL.
 */
export function requiredIdentity(facts: Pick<TableFacts, "hasPrimaryKey" | "toastable">): "default" | "full" {
  return facts.hasPrimaryKey && !facts.toastable ? "default" : "full";
}

/** Pure: FULL holds all that DEFAULT does. */
export function satisfies(identity: Identity, required: "default" | "full"): boolean {
  return identity.kind === "full" || identity.kind === required;
}

/** Pure: of a table of which whole old rows are wanted (`full`): FULL in any case. */
export function wantedIdentity(table: TableFacts, full: readonly TableName[]): "default" | "full" {
  const isFull = full.some(({ schema, name }) => schema === table.schema && name === table.name);
  return isFull ? "full" : requiredIdentity(table);
}

/** Sets the identity where it doesn't suffice; returns those that were changed. */
export async function requireIdentities(
  client: Client,
  tables: readonly TableFacts[],
  full: readonly TableName[],
): Promise<PreviousIdentity[]> {
  const changed: PreviousIdentity[] = [];
  for (const table of tables) {
    const required = wantedIdentity(table, full);
    if (satisfies(table.identity, required)) continue;
    await setIdentity(client, table, { kind: required });
    changed.push({ schema: table.schema, name: table.name, previous: table.identity });
  }
  return changed;
}

export async function setIdentity(client: Client, table: TableName, identity: Identity): Promise<void> {
  await client.query(`ALTER TABLE ${quoteTable(table)} REPLICA IDENTITY ${identityClause(identity)}`);
}

function identityClause(identity: Identity): string {
  switch (identity.kind) {
    case "default":
      return "DEFAULT";
    case "full":
      return "FULL";
    case "nothing":
      return "NOTHING";
    case "index":
      return `USING INDEX ${quoteIdentifier(identity.index)}`;
  }
}

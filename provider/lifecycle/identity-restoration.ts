import type { Client } from "pg";
import { quoteTable } from "../../runtime/postgres/identifier";
import { publishedElsewhere } from "../postgres/publication-statements";
import { type PreviousIdentity, setIdentity } from "../postgres/replica-identity";
import { inspectTables, type TableName } from "../postgres/table-inspection";

/** Pure: the first identity remembered is the user's own. */
export function mergeIdentities(olds: PreviousIdentity[] | undefined, changed: PreviousIdentity[]): PreviousIdentity[] {
  const known = new Set((olds ?? []).map(quoteTable));
  return [...(olds ?? []), ...changed.filter((table) => !known.has(quoteTable(table)))];
}

/**
 * Puts back the identities of tables that nothing publishes any more; returns those still to be put back. A table that
 * is gone, or isn't ours to alter any more, is left alone.
 */
export async function restoreIdentities(
  client: Client,
  identities: readonly PreviousIdentity[],
  stillWanted: readonly TableName[],
): Promise<PreviousIdentity[]> {
  const wanted = new Set(stillWanted.map(quoteTable));
  const leaving = identities.filter((table) => !wanted.has(quoteTable(table)));
  const elsewhere = await publishedElsewhere(client, leaving);
  const facts = await inspectTables(client, leaving);
  for (const [index, table] of leaving.entries()) {
    if (facts[index]?.owned !== true || elsewhere.has(quoteTable(table))) continue;
    await client.query("SAVEPOINT identity");
    try {
      await setIdentity(client, table, table.previous);
      await client.query("RELEASE SAVEPOINT identity");
    } catch {
      // Best effort: the index it used may be gone.
      await client.query("ROLLBACK TO SAVEPOINT identity");
    }
  }
  return identities.filter((table) => wanted.has(quoteTable(table)));
}

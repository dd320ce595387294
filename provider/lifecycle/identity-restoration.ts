import type { Client } from "pg";
import { quoteTable } from "../../runtime/postgres/identifier";
import { sqlStateOf } from "../../runtime/postgres/source-error";
import { byName } from "../postgres/publication-definition";
import { readMarks } from "../postgres/publication-mark";
import { publishedElsewhere } from "../postgres/publication-statements";
import { type PreviousIdentity, sameIdentity, setIdentity } from "../postgres/replica-identity";
import { inspectTables, type TableName } from "../postgres/table-inspection";
import type { PublicationPlan } from "./publication-plan";

/**
 * What other publications of ours remember of the members' identities: the one that is left last puts them back.
 * @param known those that are remembered already
 */
export async function readOthersIdentities(
  client: Client,
  publication: string,
  known: readonly TableName[],
  members: readonly TableName[],
): Promise<PreviousIdentity[]> {
  const unknown = new Set(members.map(quoteTable));
  for (const table of known) unknown.delete(quoteTable(table));
  const others = (await readMarks(client)).filter(({ name }) => name !== publication);
  return others.flatMap(({ identities }) => identities).filter((table) => unknown.delete(quoteTable(table)));
}

/**
 * Sets identities where they don't suffice, and puts back those of before where they would do by now and no other
 * publication has the table.
 * @param remembered identities that we changed, with what they were: the first one remembered is the user's own
 * @returns the same, as it is now
 */
export async function setIdentities(
  client: Client,
  publication: string,
  plan: PublicationPlan,
  remembered: readonly PreviousIdentity[],
): Promise<PreviousIdentity[]> {
  const known = byName(remembered);
  const elsewhere = await publishedElsewhere(client, remembered, publication);
  for (const member of plan.members) {
    const name = quoteTable(member);
    const before = known.get(name);
    const decision = plan.decide(member);
    if (decision.kind === "set") {
      await setIdentity(client, member, decision.identity);
      const previous = before?.previous ?? member.identity;
      if (sameIdentity(previous, decision.identity)) known.delete(name);
      else known.set(name, { schema: member.schema, name: member.name, previous });
    } else if (decision.kind === "right" && before !== undefined && member.owned && !elsewhere.has(name)) {
      if (plan.decide(member, before.previous).kind !== "right") continue;
      await setIdentity(client, member, before.previous);
      known.delete(name);
    }
  }
  return [...known.values()];
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
    } catch (error) {
      if (!isImpossible(error)) throw error;
      await client.query("ROLLBACK TO SAVEPOINT identity");
    }
  }
  return identities.filter((table) => wanted.has(quoteTable(table)));
}

/** The index of before is gone, say, or can't be an identity any more. @see PostgreSQL documentation, Appendix A */
function isImpossible(error: unknown): boolean {
  const state = sqlStateOf(error) ?? "";
  return state.startsWith("42") || state.startsWith("0A") || state === "55000";
}

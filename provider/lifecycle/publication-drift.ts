import { quoteTable } from "../../runtime/postgres/identifier";
import { ownershipMark, type PublicationFacts } from "../postgres/publication-statements";
import { satisfies, wantedIdentity } from "../postgres/replica-identity";
import type { TableFacts, TableName } from "../postgres/table-inspection";
import type { Properties } from "./lifecycle";

/** Ours by its mark, or, where the comment was changed by hand, by being the very object that we made. */
export function isOurs(found: PublicationFacts, props: Properties): boolean {
  return found.comment === ownershipMark(props.pipelineId as string) || found.oid === props.publicationOid;
}

/** Pure: what of the live publication isn't as we leave it; the list of tables is compared by `diff`. */
export function findDrift(
  found: PublicationFacts,
  facts: readonly (TableFacts | null)[],
  mark: string,
  fullIdentity: readonly TableName[] = [],
): string[] {
  const drift: string[] = [];
  if (found.comment !== mark) drift.push("its comment, which marks it as ours, was changed");
  if (!found.standardOptions) drift.push("it doesn't publish all of insert, update, delete and truncate any more");
  for (const table of found.tables) {
    if (table.restricted) drift.push(`${quoteTable(table)} has a row filter or a column list`);
  }
  for (const table of facts) {
    if (table === null) continue;
    const required = wantedIdentity(table, fullIdentity);
    if (!satisfies(table.identity, required)) {
      drift.push(`${quoteTable(table)} has replica identity ${table.identity.kind}, and needs ${required}`);
    }
  }
  return drift;
}

/** Pure: what to add and drop; a table with a filter or column list is dropped and added again. */
export function tableChange(found: PublicationFacts, wanted: readonly TableName[]) {
  const wantedNames = new Set(wanted.map(quoteTable));
  const sound = new Set(found.tables.filter((table) => !table.restricted).map(quoteTable));
  return {
    add: wanted.filter((table) => !sound.has(quoteTable(table))),
    drop: found.tables.filter((table) => table.restricted || !wantedNames.has(quoteTable(table))),
  };
}

/** Pure: what is there, in the order that the program has, so that order makes no difference. */
export function sortedLike(actual: TableName[], before: readonly TableName[]): TableName[] {
  const order = new Map(before.map((table, index) => [quoteTable(table), index]));
  const rank = (table: TableName) => order.get(quoteTable(table)) ?? before.length;
  return [...actual].sort((a, b) => rank(a) - rank(b));
}

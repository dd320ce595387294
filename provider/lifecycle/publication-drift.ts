import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import {
  byName,
  type PublicationDefinition,
  type PublishedTable,
  sameColumns,
  sameOptions,
} from "../postgres/publication-definition";
import { markedPipelineId } from "../postgres/publication-mark";
import type { Member } from "../postgres/publication-members";
import type { Alteration, PublicationFacts } from "../postgres/publication-statements";
import type { Identity } from "../postgres/replica-identity";
import type { RowFilter } from "../postgres/row-filter";
import type { Properties } from "./lifecycle";
import type { PublicationPlan } from "./publication-plan";

/** Pure: whether its comment is the mark of this pipeline. */
export const isMarked = ({ comment }: PublicationFacts, pipelineId: unknown): boolean =>
  markedPipelineId(comment) === pipelineId;

/** Ours by its mark, or, where the comment was changed by hand, by being the very object that we made. */
export function isOurs(found: PublicationFacts, props: Properties): boolean {
  return isMarked(found, props.pipelineId) || found.oid === props.publicationOid;
}

/** Pure: filters are compared as the server writes them. */
function isFilterAsWanted(found: PublishedTable, wanted: PublishedTable, filter: RowFilter | undefined): boolean {
  return wanted.where === undefined ? found.where === undefined : found.where === filter?.text;
}

/** Pure: whether a table is published as it is wanted. */
function isAsWanted(found: PublishedTable, wanted: PublishedTable, filter: RowFilter | undefined): boolean {
  return isFilterAsWanted(found, wanted, filter) && sameColumns(found.columns, wanted.columns);
}

/** Pure: the least that makes what is found what is wanted. */
export function alterationOf(
  found: PublicationFacts,
  wanted: PublicationDefinition,
  filters: readonly RowFilter[],
): Alteration {
  const filterOf = byName(filters);
  const wantedTables = byName(wanted.tables);
  const sound = new Set(
    found.tables
      .filter((table) => {
        const one = wantedTables.get(quoteTable(table));
        return one !== undefined && isAsWanted(table, one, filterOf.get(quoteTable(table)));
      })
      .map(quoteTable),
  );
  return {
    dropTables: found.tables.filter((table) => !sound.has(quoteTable(table))),
    dropSchemas: found.schemas.filter((name) => !wanted.schemas.includes(name)),
    options: sameOptions(found, wanted) ? null : wanted,
    addTables: wanted.tables.filter((table) => !sound.has(quoteTable(table))),
    addSchemas: wanted.schemas.filter((name) => !found.schemas.includes(name)),
  };
}

/**
 * Pure: the properties as they were found, so that a refresh shows each difference as one; what is as it was left keeps
 * its spelling and its order.
 */
export function foundProperties(found: PublicationFacts, props: Properties, plan: PublicationPlan): Properties {
  const { definition: wanted, filters, members } = plan;
  const wantedTables = byName(wanted.tables);
  const filterOf = byName(filters);
  const memberOf = byName(members);
  const tables = sortedLike(found.tables, wanted.tables).map((table) => {
    const one = wantedTables.get(quoteTable(table));
    if (one === undefined) return table;
    const kept = { ...one };
    if (!sameColumns(table.columns, one.columns)) kept.columns = table.columns;
    if (!isFilterAsWanted(table, one, filterOf.get(quoteTable(table)))) kept.where = table.where;
    const member = memberOf.get(quoteTable(table));
    if (member === undefined || plan.decide(member).kind !== "set") return kept;
    return { ...kept, replicaIdentity: identityOption(member.identity) };
  });
  const schemas = [
    ...wanted.schemas.filter((name) => found.schemas.includes(name)),
    ...found.schemas.filter((name) => !wanted.schemas.includes(name)),
  ];
  const { operations, viaPartitionRoot, generatedColumns, allTables } = found;
  return {
    ...(props.tables === undefined && tables.length === 0 ? {} : { tables }),
    ...(props.schemas === undefined && schemas.length === 0 ? {} : { schemas }),
    ...(allTables === wanted.allTables ? {} : { allTables }),
    ...(sameColumns(operations, wanted.operations) ? {} : { operations }),
    ...(viaPartitionRoot === wanted.viaPartitionRoot ? {} : { viaPartitionRoot }),
    ...(generatedColumns === wanted.generatedColumns ? {} : { generatedColumns }),
  };
}

/** As an input has it, and `nothing`, which no input asks for. */
function identityOption(identity: Identity): unknown {
  return identity.kind === "index" ? { index: identity.index } : identity.kind;
}

/** Pure: what of the live publication isn't as we leave it, in sentences. */
export function findDrift(found: PublicationFacts, pipelineId: string, plan: PublicationPlan): string[] {
  const { definition: wanted, filters, members } = plan;
  const drift: string[] = [];
  const alteration = alterationOf(found, wanted, filters);
  const readded = new Set(alteration.addTables.map(quoteTable));
  if (!isMarked(found, pipelineId)) drift.push("its comment, which marks it as ours, was changed");
  if (!sameColumns(found.operations, wanted.operations)) {
    drift.push(
      `it publishes ${found.operations.join(", ") || "no operation"}, and not ${wanted.operations.join(", ")}`,
    );
  }
  if (found.viaPartitionRoot !== wanted.viaPartitionRoot) {
    drift.push(`publish_via_partition_root is ${found.viaPartitionRoot}`);
  }
  if (found.generatedColumns !== wanted.generatedColumns) {
    drift.push(`publish_generated_columns is ${found.generatedColumns}`);
  }
  for (const table of alteration.dropTables) {
    if (readded.has(quoteTable(table))) drift.push(`${quoteTable(table)} has another row filter or column list`);
  }
  for (const member of presentMembers(found, members)) {
    const decision = plan.decide(member);
    if (decision.kind !== "set") continue;
    const needed = decision.identity.kind;
    drift.push(`${quoteTable(member)} has replica identity ${member.identity.kind}, and needs ${needed}`);
  }
  return drift;
}

/** Pure. */
export function ownerDrift(found: PublicationFacts, props: Properties): string[] {
  const { intendedOwner } = props;
  if (typeof intendedOwner !== "string" || found.owner === intendedOwner) return [];
  return [`its owner is ${quoteIdentifier(found.owner)}, and was ${quoteIdentifier(intendedOwner)}`];
}

/** Pure: what is there, in the order that the program has, so that order makes no difference. */
function sortedLike(actual: readonly PublishedTable[], before: readonly PublishedTable[]): PublishedTable[] {
  const order = new Map(before.map((table, index) => [quoteTable(table), index]));
  const rank = (table: PublishedTable) => order.get(quoteTable(table)) ?? before.length;
  return [...actual].sort((a, b) => rank(a) - rank(b));
}

/** Pure: the members that are still published. */
function presentMembers(found: PublicationFacts, members: readonly Member[]): Member[] {
  if (found.allTables) return [...members];
  const named = byName(found.tables);
  return members.filter(({ root }) => named.has(quoteTable(root)) || found.schemas.includes(root.schema));
}

import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { readServerVersion } from "../../runtime/postgres/server-version";
import { mayCaptureDdl as standsForSuperuser } from "../postgres/ddl-capture-statements";
import { byName, type PublicationDefinition, sendsOldRows } from "../postgres/publication-definition";
import { type Member, readMembers } from "../postgres/publication-members";
import { decideIdentity, type IdentityDecision, type IdentityFacts } from "../postgres/replica-identity";
import { type RowFilter, readRowFilters } from "../postgres/row-filter";
import {
  inspectTables,
  keyProblem,
  type TableFacts,
  type TableName,
  type TableProblem,
  tableProblem,
} from "../postgres/table-inspection";
import { readTableTraits, rowSecurityProblem, type TableTraits } from "../postgres/table-notes";

export interface PlanProblem {
  /** path of the input */
  property: string;
  kind: TableProblem["kind"];
  message: string;
  remedy: string;
}

/** What the server says of a publication that is wanted. */
export interface PublicationPlan {
  /** server_version_num */
  version: number;
  definition: PublicationDefinition;
  filters: RowFilter[];
  members: Member[];
  /** of a member whose identity were another one */
  decide(member: Member, identity?: IdentityFacts["identity"]): IdentityDecision;
  /** of the tables that are named; null of one that doesn't exist */
  facts: (TableFacts | null)[];
  traits: TableTraits[];
  problems: PlanProblem[];
}

/** @param keyed tables that can't be without a key; @param known row filters that needn't be asked for */
export async function planPublication(
  client: Client,
  definition: PublicationDefinition,
  {
    user,
    fullIdentity,
    keyed = [],
    known = [],
  }: {
    user: string;
    fullIdentity: readonly TableName[];
    keyed?: readonly TableName[];
    known?: readonly RowFilter[];
  },
): Promise<PublicationPlan> {
  const version = await readServerVersion(client);
  const { tables, schemas, allTables } = definition;
  const problems: PlanProblem[] = versionProblems(definition, version);
  if ((allTables || schemas.length > 0) && !(await standsForSuperuser(client))) {
    problems.push({
      property: allTables ? "allTables" : "schemas",
      kind: "permission",
      message: `only a superuser can publish ${allTables ? "all tables" : "schemas"}, and role ${quoteIdentifier(user)} is none`,
      remedy: "Name the tables one by one, or connect as a superuser.",
    });
  }
  const facts = await inspectTables(client, tables);
  const traits = await readTableTraits(client, tables);
  const hidden = byName(traits);
  const isNamed = byName(tables);
  for (const [index, table] of tables.entries()) {
    const property = `tables[${index}]`;
    const found = tableProblem(table, facts[index], user);
    const traitsOf = hidden.get(quoteTable(table));
    const rows = traitsOf === undefined ? null : rowSecurityProblem(traitsOf, user);
    for (const problem of [found, rows]) if (problem !== null) problems.push({ ...problem, property });
    if (facts[index]?.kind === "p" && !definition.viaPartitionRoot && (table.columns ?? table.where) !== undefined) {
      problems.push({
        property: `${property}.${table.where === undefined ? "columns" : "where"}`,
        kind: "unsupported",
        message: `${quoteTable(table)} is partitioned, and its partitions are published each by itself`,
        remedy: "Set viaPartitionRoot: true.",
      });
    }
  }
  const members = await readMembers(client, definition);
  const { filters, refused } =
    version < 150_000 ? { filters: [], refused: [] } : await readRowFilters(client, tables, known);
  const pathOf = (table: TableName) => {
    const index = tables.findIndex((one) => quoteTable(one) === quoteTable(table));
    return index >= 0 ? `tables[${index}]` : allTables ? "allTables" : "schemas";
  };
  for (const { message, ...table } of refused) {
    problems.push({
      property: `${pathOf(table)}.where`,
      kind: "unsupported",
      message: `the row filter of ${quoteTable(table)} is refused: ${message}`,
      remedy: "Use columns of the table, constants, and built-in operators and functions that are immutable.",
    });
  }
  const filterOf = byName(filters);
  const isFull = byName(fullIdentity);
  const decide = (member: Member, identity = member.identity): IdentityDecision => {
    const entry = isNamed.get(quoteTable(member)) ?? isNamed.get(quoteTable(member.root));
    const filter = filterOf.get(quoteTable(member)) ?? filterOf.get(quoteTable(member.root));
    const wanted = entry?.replicaIdentity ?? "auto";
    if (typeof wanted === "object" && (member.isPartitioned || quoteTable(member.root) !== quoteTable(member))) {
      return {
        kind: "problem",
        message: "an index of a partitioned table can't be its replica identity here",
        remedy: 'Use replicaIdentity: "full", or name the partitions.',
      };
    }
    return decideIdentity(
      { ...member, identity },
      {
        option: wanted,
        isFullWanted: isFull.has(quoteTable(member)) || isFull.has(quoteTable(member.root)),
        columns: entry?.columns ?? null,
        filterColumns: filter?.columns ?? [],
        sendsOldRows: sendsOldRows(definition),
        sendsGenerated: definition.generatedColumns === "stored",
        version,
      },
    );
  };
  for (const member of members) {
    const decision = decide(member);
    if (decision.kind === "problem") {
      const { message, remedy } = decision;
      problems.push({
        property: pathOf(member.root),
        kind: "unsupported",
        message: `${quoteTable(member)}: ${message}`,
        remedy,
      });
    } else if (quoteTable(member) !== quoteTable(member.root)) {
      const role = quoteIdentifier(user);
      const lacksOwner = decision.kind === "set" && !member.owned;
      const lacksSelect = !definition.viaPartitionRoot && !member.isPartitioned && !member.selectable;
      if (!lacksOwner && !lacksSelect) continue;
      const grants = [
        ...(lacksSelect ? [`GRANT SELECT ON ${quoteTable(member)} TO ${role}`] : []),
        ...(lacksOwner ? [`GRANT ${quoteIdentifier(member.owner)} TO ${role}`] : []),
      ];
      problems.push({
        property: pathOf(member.root),
        kind: "permission",
        message: `role ${role} lacks ${lacksOwner ? "the ownership of" : "privileges on"} the partition ${quoteTable(member)}`,
        remedy: `Run ${grants.join("; ")}.`,
      });
    }
  }
  const isKeyed = byName(keyed);
  for (const member of members) {
    if (!isKeyed.has(quoteTable(member.root))) continue;
    const decision = decide(member);
    const problem = keyProblem(member, decision.kind === "set" ? decision.identity : member.identity);
    if (problem !== null) problems.push({ ...problem, property: pathOf(member.root) });
  }
  return { version, definition, filters, members, decide, facts, traits, problems };
}

/** Pure. */
function versionProblems({ tables, schemas, generatedColumns }: PublicationDefinition, version: number): PlanProblem[] {
  const tooOld = (property: string, what: string, needed: number): PlanProblem => ({
    property,
    kind: "unsupported",
    message: `${what} came with PostgreSQL ${needed}, and this is ${Math.floor(version / 10_000)}`,
    remedy: `Leave ${property.replace(/.*\./, "")} out, or upgrade the server.`,
  });
  return [
    ...(version < 150_000
      ? [
          ...(schemas.length > 0 ? [tooOld("schemas", "publishing a schema's tables", 15)] : []),
          ...tables.flatMap(({ columns, where }, index) => [
            ...(columns === undefined ? [] : [tooOld(`tables[${index}].columns`, "column lists", 15)]),
            ...(where === undefined ? [] : [tooOld(`tables[${index}].where`, "row filters", 15)]),
          ]),
        ]
      : []),
    ...(version < 180_000 && generatedColumns === "stored"
      ? [tooOld("generatedColumns", "generated columns in publications", 18)]
      : []),
  ];
}

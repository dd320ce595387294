import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { withCheck } from "../postgres/admin-session";
import { installDdlCapture, mayCaptureDdl, readDdlCapture } from "../postgres/ddl-capture-statements";
import { readDatabaseOid, requirePrimary } from "../postgres/preflight";
import type { PublicationDefinition, PublishedTable } from "../postgres/publication-definition";
import { findLostPublication, ownershipMark } from "../postgres/publication-mark";
import { readMembers } from "../postgres/publication-members";
import { isEmpty, type PublicationFacts, readPublication } from "../postgres/publication-statements";
import { readRowFilters } from "../postgres/row-filter";
import { tableNotes } from "../postgres/table-notes";
import { readTableSizes } from "../postgres/table-size";
import { dearest } from "./change-cost";
import type { Change } from "./comparison";
import type { CheckFailure, Properties } from "./lifecycle";
import { publicationNameOf } from "./names";
import { isOwn } from "./own-names";
import { alterationOf, isMarked } from "./publication-drift";
import { addedSchemas, changedTables, definitionOf, fullIdentityOf, keyedOf } from "./publication-inputs";
import { type PlanProblem, type PublicationPlan, planPublication } from "./publication-plan";

/** @throws SluiceError with all problems that the server would make, or the source's writers would have */
export function requireSound({ problems }: PublicationPlan): void {
  if (problems.length === 0) return;
  throw new SluiceError(problems[0].kind, problems.map((problem) => problem.message).join("; "), {
    remedy: problems.map((problem) => problem.remedy).join(" "),
  });
}

export function nameTaken(name: string): SluiceError {
  return new SluiceError("name-taken", `a publication ${quoteIdentifier(name)} exists and isn't this stack's`, {
    remedy: `Choose another publicationName; or take it over with adopt: true; or, if nothing uses it, run DROP PUBLICATION ${quoteIdentifier(name)}.`,
  });
}

/** What stands against taking over this publication in place, or null. */
export function adoptionProblem(found: PublicationFacts, wanted: PublicationDefinition, user: string) {
  const name = quoteIdentifier(found.name);
  if (found.allTables !== wanted.allTables) {
    const what = found.allTables ? "publishes all tables" : "doesn't publish all tables";
    return new SluiceError("unsupported", `publication ${name} ${what}, which can't be altered`, {
      remedy: `Set allTables: ${found.allTables}, or choose another publicationName.`,
    });
  }
  if (found.owned) return null;
  return new SluiceError("permission", `publication ${name} belongs to role ${quoteIdentifier(found.owner)}`, {
    remedy: `Run GRANT ${quoteIdentifier(found.owner)} TO ${quoteIdentifier(user)}, or ALTER PUBLICATION ${name} OWNER TO ${quoteIdentifier(user)}.`,
  });
}

type Scope = Pick<PublicationDefinition, "tables" | "schemas" | "allTables">;

/** Pure: all of what is new, or of which every table is copied again; else what is new in it or published otherwise. */
export function copiedScope(olds: Properties | null, inputs: Properties, changes: readonly Change[]): Scope {
  const ofAll: readonly string[] = ["operations", "viaPartitionRoot", "generatedColumns"];
  const isAll = dearest(changes).effect === "newSlot" || changes.some(({ input }) => ofAll.includes(input));
  if (olds === null || isAll) return definitionOf(inputs);
  return { tables: changedTables(olds.tables, inputs.tables), schemas: addedSchemas(olds, inputs), allTables: false };
}

/** Pure: what an adoption changes of a publication. */
export function adoptionChanges(found: PublicationFacts, plan: PublicationPlan): Change[] {
  const alteration = alterationOf(found, plan.definition, plan.filters);
  const { addTables, dropTables, addSchemas, dropSchemas, options } = alteration;
  const of = (input: string, added: unknown[], dropped: unknown[]): Change[] =>
    added.length + dropped.length === 0 ? [] : [{ input, effect: added.length > 0 ? "resnapshot" : "inPlace" }];
  return [
    ...(isEmpty(alteration) ? [{ input: "adopt", effect: "none" } as const] : []),
    ...(options === null ? [] : [{ input: "operations", effect: "resnapshot" } as const]),
    ...of("tables", addTables, dropTables),
    ...of("schemas", addSchemas, dropSchemas),
  ];
}

/** A create whose result was lost is gone on with: the id is what nobody else can know. */
async function takeLostId(client: Client, inputs: Properties): Promise<void> {
  if (typeof inputs.origin !== "string") return;
  const lost = await findLostPublication(client, inputs.origin);
  if (lost !== null && !isOwn("publication", lost.name)) inputs.pipelineId = lost.pipelineId;
}

/** What a check finds on the server. */
export async function inspectAtCheck(inputs: Properties, olds: Properties | null, changes: readonly Change[]) {
  const source = inputs.source as SourceConfig;
  return withCheck(source, "checking the publication's tables", async (client) => {
    await requirePrimary(client);
    if (olds === null) await takeLostId(client, inputs);
    const definition = definitionOf(inputs);
    const fullIdentity = fullIdentityOf(inputs);
    const plan = await planPublication(client, definition, { user: source.user, fullIdentity, keyed: keyedOf(inputs) });
    const pipelineId = inputs.pipelineId as string;
    const name =
      (inputs.publicationName as string | undefined) ??
      (await readPublication(client, { pipelineId }))?.name ??
      publicationNameOf(await readDatabaseOid(client), pipelineId);
    const found = olds === null ? await readPublication(client, { name }) : null;
    const isForeign = found !== null && !isMarked(found, pipelineId);
    const adopted = isForeign && inputs.adopt === true ? found : null;
    const bySchema = definition.schemas.length > 0;
    const capture =
      inputs.captureDdl === true ? await captureProblem(client, name, ownershipMark(pipelineId), bySchema) : null;
    const scope = adopted === null ? copiedScope(olds, inputs, changes) : adoptedScope(adopted, plan);
    const members = await readMembers(client, scope);
    const isWide = scope.allTables || scope.schemas.length > 0;
    const copied = isWide ? members.filter(({ isPartitioned }) => !isPartitioned) : scope.tables;
    const names = new Set(members.map(quoteTable));
    const becomesFull = plan.members.filter((member) => {
      const decision = plan.decide(member);
      return names.has(quoteTable(member)) && decision.kind === "set" && decision.identity.kind === "full";
    });
    const traits = plan.traits.filter((table) => names.has(quoteTable(table)));
    return {
      plan,
      name,
      taken: isForeign && adopted === null,
      adopted,
      capture,
      sizes: copied.length === 0 ? [] : await readTableSizes(client, copied),
      notes: tableNotes(becomesFull, traits, definition.generatedColumns === "stored"),
    };
  });
}

function adoptedScope(found: PublicationFacts, plan: PublicationPlan): Scope {
  const { options, addTables, addSchemas } = alterationOf(found, plan.definition, plan.filters);
  return options !== null ? plan.definition : { tables: addTables, schemas: addSchemas, allTables: false };
}

/** Why event triggers can't be made, with what a superuser may run instead; null when they can, or are there. */
async function captureProblem(client: Client, name: string, mark: string, bySchema: boolean): Promise<string | null> {
  if (await mayCaptureDdl(client)) return null;
  if ((await readDdlCapture(client, name, mark, bySchema)).faults.length === 0) return null;
  const statements = installDdlCapture(name, mark, bySchema).join(";\n");
  return `only a superuser can make event triggers\n  remedy: leave captureDdl out, or have a superuser run:\n${statements};`;
}

/** Pure: one failure for each input, however many tables it stands for. */
export function failuresOf(problems: readonly PlanProblem[]): CheckFailure[] {
  const byProperty = new Map<string, PlanProblem[]>();
  for (const problem of problems) {
    byProperty.set(problem.property, [...(byProperty.get(problem.property) ?? []), problem]);
  }
  return [...byProperty].map(([property, [first, ...more]]) => {
    const others = more.length === 0 ? "" : ` (and ${more.length} more)`;
    return { property, reason: `${first.message}${others}\n  remedy: ${first.remedy}` };
  });
}

/**
 * Tables whose row filter is another text of the same meaning keep the one of before: an edit of its spelling is no
 * change. Only where the source can be asked.
 */
export async function keepEqualFilters(olds: Properties, inputs: Properties): Promise<void> {
  const before = new Map(definitionOf(olds).tables.map((table) => [quoteTable(table), table]));
  const pairs = definitionOf(inputs).tables.flatMap((table) => {
    const old = before.get(quoteTable(table));
    const isOther = old?.where !== undefined && table.where !== undefined && old.where !== table.where;
    return isOther ? [{ table, old }] : [];
  });
  if (pairs.length === 0) return;
  const source = inputs.source as SourceConfig;
  const equal = await withCheck(source, "comparing row filters", async (client) => {
    const textsOf = async (tables: PublishedTable[]) =>
      new Map((await readRowFilters(client, tables)).filters.map((filter) => [quoteTable(filter), filter.text]));
    const was = await textsOf(pairs.map(({ old }) => old));
    const is = await textsOf(pairs.map(({ table }) => table));
    const names = pairs.map(({ table }) => quoteTable(table));
    return new Set(names.filter((name) => was.has(name) && was.get(name) === is.get(name)));
  });
  inputs.tables = definitionOf(inputs).tables.map((table) =>
    equal.has(quoteTable(table)) ? { ...table, where: before.get(quoteTable(table))?.where } : table,
  );
}

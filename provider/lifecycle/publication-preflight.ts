import type { Client } from "pg";
import type { SourceConfig } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { withCheck } from "../postgres/admin-session";
import { installDdlCapture, mayCaptureDdl, readDdlCapture } from "../postgres/ddl-capture-statements";
import { readDatabaseOid, requirePrimary } from "../postgres/preflight";
import { ownershipMark, readPublication } from "../postgres/publication-statements";
import {
  inspectTables,
  type TableFacts,
  type TableName,
  type TableProblem,
  tableProblem,
} from "../postgres/table-inspection";
import { readTableTraits, rowSecurityProblem, tableNotes } from "../postgres/table-notes";
import { readTableSizes } from "../postgres/table-size";
import { addedTables, dearest } from "./change-cost";
import type { Change } from "./comparison";
import type { Properties } from "./lifecycle";
import { publicationNameOf } from "./names";
import { fullIdentityOf } from "./publication-inputs";

/** `problems`: of each of the tables, in their order; `facts` too. */
async function lookAtTables(client: Client, tables: readonly TableName[], user: string) {
  const facts = await inspectTables(client, tables);
  const traits = await readTableTraits(client, tables);
  const hidden = new Map(traits.map((table) => [quoteTable(table), rowSecurityProblem(table, user)]));
  const problems = tables.map((table, index) =>
    [tableProblem(table, facts[index], user), hidden.get(quoteTable(table)) ?? null].filter((one) => one !== null),
  );
  return { facts, traits, problems };
}

export async function requireTables(client: Client, tables: readonly TableName[], user: string): Promise<TableFacts[]> {
  const { facts, problems: ofTables } = await lookAtTables(client, tables, user);
  const problems = ofTables.flat();
  if (problems.length === 0) return facts as TableFacts[];
  throw new SluiceError(problems[0].kind, problems.map((problem) => problem.message).join("; "), {
    remedy: problems.map((problem) => problem.remedy).join(" "),
  });
}

export function nameTaken(name: string): SluiceError {
  return new SluiceError("name-taken", `a publication ${quoteIdentifier(name)} exists and isn't this stack's`, {
    remedy: `Choose another publicationName; or, if nothing uses it, run DROP PUBLICATION ${quoteIdentifier(name)}.`,
  });
}

const isAmong = (tables: readonly TableName[]) => {
  const names = new Set(tables.map(quoteTable));
  return (table: TableName) => names.has(quoteTable(table));
};

/** Pure: all tables of what is new, those that are new to what isn't. */
export function copiedTables(olds: Properties | null, inputs: Properties, changes: readonly Change[]): TableName[] {
  if (olds === null || dearest(changes).effect === "newSlot") return inputs.tables as TableName[];
  return addedTables(olds.tables, inputs.tables);
}

/** What a check finds on the server. */
export async function inspectAtCheck(inputs: Properties, existing: boolean, copied: readonly TableName[]) {
  const source = inputs.source as SourceConfig;
  const tables = inputs.tables as TableName[];
  return withCheck(source, "checking the publication's tables", async (client) => {
    await requirePrimary(client);
    const { facts, traits, problems } = await lookAtTables(client, tables, source.user);
    const isCopied = isAmong(copied);
    const notes = tableNotes(
      facts.filter((table) => table !== null).filter(isCopied),
      traits.filter(isCopied),
      fullIdentityOf(inputs),
    );
    const mark = ownershipMark(inputs.pipelineId as string);
    const name =
      (inputs.publicationName as string | undefined) ??
      (await readPublication(client, { mark }))?.name ??
      publicationNameOf(await readDatabaseOid(client), inputs.pipelineId as string);
    const publication = existing ? null : await readPublication(client, { name });
    const capture = inputs.captureDdl === true ? await captureProblem(client, name, mark) : null;
    const sizes = copied.length === 0 ? [] : await readTableSizes(client, copied);
    return {
      problems: problems.map(([first]) => first ?? null),
      name,
      taken: publication !== null && publication.comment !== mark,
      capture,
      sizes,
      notes,
    };
  });
}

/** Why event triggers can't be made, with what a superuser may run instead; null when they can, or are there. */
async function captureProblem(client: Client, name: string, mark: string): Promise<string | null> {
  if (await mayCaptureDdl(client)) return null;
  if ((await readDdlCapture(client, name, mark)).faults.length === 0) return null;
  const statements = installDdlCapture(name, mark).join(";\n");
  return `only a superuser can make event triggers\n  remedy: leave captureDdl out, or have a superuser run:\n${statements};`;
}

export function reasonOf(problem: TableProblem): string {
  return `${problem.message}\n  remedy: ${problem.remedy}`;
}

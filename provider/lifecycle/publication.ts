import type { Client } from "pg";
import { z } from "zod";
import { type SourceConfig, sourceSchema } from "../../runtime/config";
import { SluiceError } from "../../runtime/errors";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { inTransaction, withAdmin, withCheck } from "../postgres/admin-session";
import {
  installDdlCapture,
  mayCaptureDdl,
  readDdlCapture,
  removeDdlCapture,
  setDdlCapture,
} from "../postgres/ddl-capture-statements";
import { readDatabaseOid } from "../postgres/preflight";
import {
  alterPublicationTables,
  createPublication,
  dropPublication,
  ownershipMark,
  type PublicationFacts,
  publishedElsewhere,
  readPublication,
  resetPublicationOptions,
} from "../postgres/publication-statements";
import {
  type PreviousIdentity,
  requireIdentities,
  satisfies,
  setIdentity,
  wantedIdentity,
} from "../postgres/replica-identity";
import {
  inspectTables,
  type TableFacts,
  type TableName,
  type TableProblem,
  tableProblem,
} from "../postgres/table-inspection";
import { readTableTraits, rowSecurityProblem, tableNotes } from "../postgres/table-notes";
import { readTableSizes, type TableSize } from "../postgres/table-size";
import { addedTables, copiesOf, dearest, tellCost } from "./change-cost";
import { type Change, changesOf, compare, type Effects, same, withDrift } from "./comparison";
import { pick } from "./connection";
import { checkInputs, nestedSource, sourceFailure } from "./input-check";
import type { CheckResult, DiffResult, Lifecycle, Properties } from "./lifecycle";
import { identifierSchema, newPipelineId, pipelineIdSchema, publicationNameOf } from "./names";
import { isOwn, printOnce, rememberOwn } from "./own-names";
import { tableNameSchema } from "./table-name";
import { containsUnknown } from "./unknown-value";

export const shape = {
  source: sourceSchema,
  tables: z
    .array(tableNameSchema)
    .min(1, { error: "at least one table is needed" })
    .superRefine((tables, context) => {
      const seen = new Set<string>();
      for (const [index, table] of tables.entries()) {
        const name = quoteTable(table);
        if (seen.has(name)) context.addIssue({ code: "custom", path: [index], message: `${name} is listed twice` });
        seen.add(name);
      }
    }),
  publicationName: identifierSchema.optional(),
  pipelineId: pipelineIdSchema.optional(),
  /** tables of which old rows are wanted whole, whatever their keys */
  fullIdentity: z.array(tableNameSchema).default([]),
  captureDdl: z.boolean().default(false),
  preflight: z.enum(["preview", "up"]).default("preview"),
};

/** Pure but for the id that it makes for a new publication. */
export function checkPublication(olds: Properties, news: Properties): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  inputs.pipelineId ??= olds.pipelineId ?? newPipelineId();
  if (inputs.publicationName === undefined && olds.publicationName !== undefined) {
    inputs.publicationName = olds.publicationName;
  }
  return { inputs, failures };
}

export const publicationEffects: Effects = {
  source: { part: "database", effect: "newSlot", else: "none" },
  /** without a table that is new: see `publicationChanges` */
  tables: "inPlace",
  publicationName: "newSlot",
  pipelineId: "newSlot",
  fullIdentity: "inPlace",
  captureDdl: "inPlace",
  preflight: "none",
};

/** The order of tables means nothing, and publications of before an option don't have it. */
const normalised = (props: Properties): Properties => ({
  ...props,
  tables: sorted(props.tables),
  fullIdentity: sorted(props.fullIdentity ?? []),
  captureDdl: props.captureDdl ?? false,
});

const keepingName = (olds: Properties, news: Properties): Properties =>
  news.publicationName === undefined ? { ...news, publicationName: olds.publicationName } : news;

/** Pure. */
export function diffPublication(olds: Properties, news: Properties): DiffResult {
  const wanted = normalised(keepingName(olds, news));
  return withDrift(compare(publicationEffects, normalised(olds), wanted), olds);
}

/** Pure: what an update changes; a table that is new is copied. */
export function publicationChanges(olds: Properties, news: Properties): Change[] {
  const changes = changesOf(publicationEffects, normalised(olds), normalised(keepingName(olds, news)));
  const isAdded = addedTables(olds.tables, news.tables).length > 0;
  return changes.map((change) => (change.input === "tables" && isAdded ? { ...change, effect: "resnapshot" } : change));
}

const fullIdentityOf = (props: Properties) => (props.fullIdentity as TableName[] | undefined) ?? [];

function sorted(tables: unknown): unknown {
  if (!Array.isArray(tables) || containsUnknown(tables)) return tables;
  return [...(tables as TableName[])].sort((a, b) => (quoteTable(a) < quoteTable(b) ? -1 : 1));
}

async function requireTables(client: Client, tables: readonly TableName[], user: string): Promise<TableFacts[]> {
  const facts = await inspectTables(client, tables);
  const traits = await readTableTraits(client, tables);
  const problems = [
    ...facts.flatMap((found, index) => tableProblem(tables[index], found, user) ?? []),
    ...traits.flatMap((table) => rowSecurityProblem(table, user) ?? []),
  ];
  if (problems.length === 0) return facts as TableFacts[];
  throw new SluiceError(problems[0].kind, problems.map((problem) => problem.message).join("; "), {
    remedy: problems.map((problem) => problem.remedy).join(" "),
  });
}

function nameTaken(name: string): SluiceError {
  return new SluiceError("name-taken", `a publication ${quoteIdentifier(name)} exists and isn't this stack's`, {
    remedy: `Choose another publicationName; or, if nothing uses it, run DROP PUBLICATION ${quoteIdentifier(name)}.`,
  });
}

const isAmong = (tables: readonly TableName[]) => {
  const names = new Set(tables.map(quoteTable));
  return (table: TableName) => names.has(quoteTable(table));
};

/** Pure: all tables of what is new, those that are new to what isn't. */
function copiedTables(olds: Properties | null, inputs: Properties, changes: readonly Change[]): TableName[] {
  if (olds === null || dearest(changes).effect === "newSlot") return inputs.tables as TableName[];
  return addedTables(olds.tables, inputs.tables);
}

/** What a check finds on the server. */
async function inspectAtCheck(inputs: Properties, existing: boolean, copied: readonly TableName[]) {
  const source = inputs.source as SourceConfig;
  const tables = inputs.tables as TableName[];
  return withCheck(source, "checking the publication's tables", async (client) => {
    const facts = await inspectTables(client, tables);
    const traits = await readTableTraits(client, tables);
    const hidden = new Map(traits.map((table) => [quoteTable(table), rowSecurityProblem(table, source.user)]));
    const problems = facts.map(
      (found, index) =>
        tableProblem(tables[index], found, source.user) ?? hidden.get(quoteTable(tables[index])) ?? null,
    );
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
    return { problems, name, taken: publication !== null && publication.comment !== mark, capture, sizes, notes };
  });
}

export const publication: Lifecycle = {
  async check(olds, news) {
    const result = checkPublication(olds, news);
    const { inputs, failures } = result;
    const existing = olds.pipelineId !== undefined;
    if (typeof olds.publicationName === "string") rememberOwn("publication", olds.publicationName);
    const keys = Object.keys(shape);
    const unchanged = existing && inputs.publicationName !== undefined && same(pick(olds, keys), pick(inputs, keys));
    if (failures.length > 0) return result;
    const changes = existing ? publicationChanges(olds, inputs) : [];
    const tell = (sizes?: TableSize[]) => {
      const copies = sizes === undefined || sizes.length === 0 ? undefined : copiesOf(sizes);
      tellCost("Publication", inputs.publicationName, existing ? olds : null, inputs, changes, copies);
    };
    if (unchanged || inputs.preflight !== "preview" || containsUnknown(pick(inputs, keys))) {
      tell();
      return result;
    }
    try {
      const copied = copiedTables(existing ? olds : null, inputs, changes);
      const { problems, name, taken, capture, sizes, notes } = await inspectAtCheck(inputs, existing, copied);
      inputs.publicationName ??= name;
      tell(sizes);
      for (const line of notes) printOnce(line);
      for (const [index, problem] of problems.entries()) {
        if (problem !== null) failures.push({ property: `tables[${index}]`, reason: reasonOf(problem) });
      }
      if (capture !== null) failures.push({ property: "captureDdl", reason: capture });
      if (taken && !isOwn("publication", name)) {
        failures.push({ property: "publicationName", reason: nameTaken(name).describe() });
      }
    } catch (error) {
      failures.push(sourceFailure(error, nestedSource));
    }
    return result;
  },

  diff: (_id, olds, news) => diffPublication(olds, news),

  /** Everything in one transaction: nothing half-made remains. */
  async create(inputs) {
    const source = inputs.source as SourceConfig;
    const tables = inputs.tables as TableName[];
    const pipelineId = inputs.pipelineId as string;
    const mark = ownershipMark(pipelineId);
    return withAdmin(source, "creating the publication", async (client) => {
      const facts = await requireTables(client, tables, source.user);
      const databaseOid = await readDatabaseOid(client);
      const name = (inputs.publicationName as string | undefined) ?? publicationNameOf(databaseOid, pipelineId);
      const found = await readPublication(client, { name });
      if (found !== null && found.comment !== mark) throw nameTaken(name);
      const identities = await inTransaction(client, async () => {
        // One with our mark is left of a create whose result was lost.
        if (found !== null) await dropPublication(client, name);
        const changed = await requireIdentities(client, facts, fullIdentityOf(inputs));
        await createPublication(client, name, tables, mark);
        await setDdlCapture(client, name, mark, inputs.captureDdl === true);
        return changed;
      });
      const made = await readPublication(client, { name });
      const outs = {
        ...inputs,
        publicationName: name,
        databaseOid,
        publicationOid: made?.oid ?? "",
        identities,
        drift: [],
      };
      return { id: name, outs };
    });
  },

  async read(_id, props) {
    const source = props.source as SourceConfig;
    const name = props.publicationName as string;
    return withAdmin(source, "reading the publication", async (client) => {
      const found = await readPublication(client, { name });
      if (found === null || !isOurs(found, props)) return { id: "" };
      const facts = await inspectTables(client, found.tables);
      const mark = ownershipMark(props.pipelineId as string);
      const capture = await readDdlCapture(client, name, mark);
      const captureDrift = props.captureDdl === true ? capture.faults.map((fault) => `DDL capture: ${fault}`) : [];
      const refreshed = {
        ...props,
        tables: sortedLike(
          found.tables.map(({ schema, name: table }) => ({ schema, name: table })),
          props.tables as TableName[],
        ),
        publicationOid: found.oid,
        drift: [...findDrift(found, facts, mark, fullIdentityOf(props)), ...captureDrift],
      };
      return { id: name, props: refreshed, inputs: pick(refreshed, [...Object.keys(shape), "changeCost"]) };
    });
  },

  /** Tables are added and dropped in place; the gateway sees it by itself. */
  async update(_id, olds, news) {
    const source = news.source as SourceConfig;
    const name = olds.publicationName as string;
    const wanted = news.tables as TableName[];
    const mark = ownershipMark(olds.pipelineId as string);
    return withAdmin(source, `altering publication ${quoteIdentifier(name)}`, async (client) => {
      const found = await readPublication(client, { name });
      if (found === null) {
        throw new SluiceError("missing-object", `publication ${quoteIdentifier(name)} does not exist any more`, {
          remedy: "Run pulumi refresh, then pulumi up: publication and slot are made anew.",
        });
      }
      if (!isOurs(found, olds)) throw nameTaken(name);
      const facts = await requireTables(client, wanted, source.user);
      const identities = await inTransaction(client, async () => {
        const changed = await requireIdentities(client, facts, fullIdentityOf(news));
        await alterPublicationTables(client, name, tableChange(found, wanted));
        await resetPublicationOptions(client, name, mark);
        await setDdlCapture(client, name, mark, news.captureDdl === true);
        const kept = mergeIdentities(olds.identities as PreviousIdentity[] | undefined, changed);
        return restoreIdentities(client, kept, wanted);
      });
      const outs = {
        ...pick(olds, ["databaseOid", "publicationOid"]),
        ...news,
        publicationName: name,
        pipelineId: olds.pipelineId,
        identities,
        drift: [],
      };
      return { outs };
    });
  },

  async delete(_id, props) {
    const source = props.source as SourceConfig;
    const name = props.publicationName as string;
    const mark = ownershipMark(props.pipelineId as string);
    const capture = props.captureDdl === true ? removeDdlCapture(name) : [];
    const sql = [...capture, `DROP PUBLICATION IF EXISTS ${quoteIdentifier(name)}`].join("; ");
    try {
      await withAdmin(source, `dropping publication ${quoteIdentifier(name)}`, async (client) => {
        const found = await readPublication(client, { name });
        const foreign = found !== null && !isOurs(found, props);
        if (foreign) {
          console.log(`warning: publication ${quoteIdentifier(name)} isn't this stack's any more and is left alone`);
        }
        await inTransaction(client, async () => {
          await setDdlCapture(client, name, mark, false);
          if (!foreign) await dropPublication(client, name);
          await restoreIdentities(client, (props.identities as PreviousIdentity[] | undefined) ?? [], []);
        });
        const left = await readDdlCapture(client, name, mark);
        if (left.ours && left.present.length > 0) {
          throw new SluiceError(
            "internal",
            `${left.present.join(", ")} of publication ${quoteIdentifier(name)} are left`,
            {
              remedy: `Run ${removeDdlCapture(name).join("; ")}.`,
            },
          );
        }
        if (!foreign && (await readPublication(client, { name })) !== null) {
          throw new SluiceError("internal", `publication ${quoteIdentifier(name)} is still there`, {
            remedy: `Run ${sql}.`,
          });
        }
      });
    } catch (error) {
      throw withManualSql(error, sql, source);
    }
  },
};

/** Why event triggers can't be made, with what a superuser may run instead; null when they can, or are there. */
async function captureProblem(client: Client, name: string, mark: string): Promise<string | null> {
  if (await mayCaptureDdl(client)) return null;
  if ((await readDdlCapture(client, name, mark)).faults.length === 0) return null;
  const statements = installDdlCapture(name, mark).join(";\n");
  return `only a superuser can make event triggers\n  remedy: leave captureDdl out, or have a superuser run:\n${statements};`;
}

function reasonOf(problem: TableProblem): string {
  return `${problem.message}\n  remedy: ${problem.remedy}`;
}

/** Ours by its mark, or, where the comment was changed by hand, by being the very object that we made. */
function isOurs(found: PublicationFacts, props: Properties): boolean {
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

/** Pure: the first identity remembered is the user's own. */
function mergeIdentities(olds: PreviousIdentity[] | undefined, changed: PreviousIdentity[]): PreviousIdentity[] {
  const known = new Set((olds ?? []).map(quoteTable));
  return [...(olds ?? []), ...changed.filter((table) => !known.has(quoteTable(table)))];
}

/**
 * Puts back the identities of tables that nothing publishes any more; returns those still to be put back. A table that
 * is gone, or isn't ours to alter any more, is left alone.
 */
async function restoreIdentities(
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

function sortedLike(actual: TableName[], before: readonly TableName[]): TableName[] {
  const order = new Map(before.map((table, index) => [quoteTable(table), index]));
  const rank = (table: TableName) => order.get(quoteTable(table)) ?? before.length;
  return [...actual].sort((a, b) => rank(a) - rank(b));
}

/** A failed delete says what to run by hand. */
export function withManualSql(error: unknown, sql: string, source: SourceConfig): unknown {
  if (!(error instanceof SluiceError)) return error;
  const byHand = `Once ${source.host}:${source.port}/${source.database} is reachable run pulumi destroy again; or run by hand: ${sql}; then pulumi state delete.`;
  return new SluiceError(error.kind, error.message, {
    remedy: error.remedy === undefined ? byHand : `${error.remedy} ${byHand}`,
    sqlState: error.sqlState,
    cause: error,
  });
}

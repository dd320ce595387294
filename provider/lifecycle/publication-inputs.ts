import { z } from "zod";
import type { SourceConfig } from "../../runtime/config";
import { quoteTable } from "../../runtime/postgres/identifier";
import { operations, type PublicationDefinition, type PublishedTable } from "../postgres/publication-definition";
import type { TableName } from "../postgres/table-inspection";
import {
  type Change,
  changesOf,
  compare,
  type Effects,
  isReplacing,
  same,
  strategySchema,
  withDrift,
} from "./comparison";
import { checkInputs } from "./input-check";
import type { CheckFailure, CheckResult, DiffResult, Properties } from "./lifecycle";
import { identifierSchema, newPipelineId, pipelineIdSchema } from "./names";
import { normalisedTables, publishedTablesSchema } from "./published-table-input";
import { sourceInputSchema } from "./source-input";
import { tableNameSchema } from "./table-name";
import { containsUnknown } from "./unknown-value";

const namesSchema = z.array(identifierSchema).refine((names) => new Set(names).size === names.length, {
  error: "a name is listed twice",
});

export const shape = {
  source: sourceInputSchema,
  tables: publishedTablesSchema.optional(),
  schemas: namesSchema.optional(),
  allTables: z.boolean().optional(),
  operations: z
    .array(z.enum(operations))
    .min(1, {
      error: `at least one operation is needed\n  remedy: Leave operations out for all: ${operations.join(", ")}.`,
    })
    .optional(),
  viaPartitionRoot: z.boolean().optional(),
  generatedColumns: z.enum(["none", "stored"]).optional(),
  publicationName: identifierSchema.optional(),
  pipelineId: pipelineIdSchema.optional(),
  /** which resource of which stack it is; no diff compares it */
  origin: z.string().optional(),
  /** tables of which old rows are wanted whole, whatever their keys */
  fullIdentity: z.array(tableNameSchema).default([]),
  /** tables that are refused without a key */
  keyed: z.array(tableNameSchema).optional(),
  captureDdl: z.boolean().default(false),
  adopt: z.boolean().optional(),
  onDelete: z.enum(["drop", "keep"]).optional(),
  forceDelete: z.boolean().optional(),
  strategy: strategySchema.optional(),
  preflight: z.enum(["preview", "up"]).default("preview"),
};

/** Pure but for the id that it makes for a new publication. */
export function checkPublication(olds: Properties, news: Properties): CheckResult {
  const { inputs, failures } = checkInputs(shape, news);
  if (failures.length === 0) failures.push(...contradictions(inputs));
  inputs.pipelineId ??= olds.pipelineId ?? newPipelineId();
  if (inputs.publicationName === undefined && olds.publicationName !== undefined) {
    inputs.publicationName = olds.publicationName;
  }
  return { inputs, failures };
}

/** Pure: what can't be together in one publication (PostgreSQL documentation, CREATE PUBLICATION). */
function contradictions(inputs: Properties): CheckFailure[] {
  if (containsUnknown([inputs.tables, inputs.schemas, inputs.allTables])) return [];
  const { tables, schemas, allTables } = definitionOf(inputs);
  const failures: CheckFailure[] = [];
  const fail = (property: string, reason: string, remedy: string) =>
    failures.push({ property, reason: `${reason}\n  remedy: ${remedy}` });
  if (!allTables && schemas.length === 0 && tables.length === 0) {
    fail("tables", "at least one table is needed", "Name tables or schemas, or set allTables: true.");
  }
  if (allTables && (tables.length > 0 || schemas.length > 0)) {
    fail("allTables", "it publishes every table, and tables or schemas are named too", "Leave one of them out.");
  }
  for (const [index, { schema, columns, where }] of tables.entries()) {
    if (columns !== undefined && schemas.length > 0) {
      const reason = "a publication with schemas has no column lists";
      fail(`tables[${index}].columns`, reason, "Leave columns or schemas out, or make two publications.");
    }
    if (where !== undefined && schemas.includes(schema)) {
      const reason = `all rows of its schema ${schema} are published anyway (schemas)`;
      fail(`tables[${index}].where`, reason, "Leave the filter out, or name the schema's tables one by one.");
    }
  }
  return failures;
}

/** Pure: checked inputs, or a state of whatever version, with the defaults. */
export function definitionOf(props: Properties): PublicationDefinition {
  return {
    tables: (props.tables as PublishedTable[] | undefined) ?? [],
    schemas: (props.schemas as string[] | undefined) ?? [],
    allTables: props.allTables === true,
    operations: (props.operations as PublicationDefinition["operations"] | undefined) ?? [...operations],
    viaPartitionRoot: props.viaPartitionRoot === true,
    generatedColumns: props.generatedColumns === "stored" ? "stored" : "none",
  };
}

export const publicationEffects: Effects = {
  source: { part: "database", effect: "newSlot", else: "none" },
  /** without a table that is new, or published otherwise: see `publicationChanges` */
  tables: "inPlace",
  /** without a schema that is new */
  schemas: "inPlace",
  allTables: "newSlot",
  /** a gateway takes altered options for a gap */
  operations: "resnapshot",
  viaPartitionRoot: "resnapshot",
  generatedColumns: "resnapshot",
  publicationName: "newSlot",
  pipelineId: "newSlot",
  fullIdentity: "inPlace",
  keyed: "none",
  captureDdl: "inPlace",
  /** decides when it is made */
  adopt: "none",
  onDelete: "none",
  forceDelete: "none",
  strategy: "none",
  preflight: "none",
};

/** Orders mean nothing, and publications of before an option don't have it. */
const normalised = (props: Properties): Properties => ({
  ...props,
  tables: normalisedTables(props.tables ?? []),
  schemas: sortedNames(props.schemas ?? []),
  allTables: props.allTables ?? false,
  operations: sortedNames(props.operations ?? operations),
  viaPartitionRoot: props.viaPartitionRoot ?? false,
  generatedColumns: props.generatedColumns ?? "none",
  fullIdentity: normalisedTables(props.fullIdentity ?? []),
  captureDdl: props.captureDdl ?? false,
  adopt: props.adopt ?? false,
  onDelete: props.onDelete ?? "drop",
});

const sortedNames = (names: unknown) =>
  Array.isArray(names) && !containsUnknown(names) ? [...(names as string[])].sort() : names;

const keepingName = (olds: Properties, news: Properties): Properties =>
  news.publicationName === undefined ? { ...news, publicationName: olds.publicationName } : news;

/** Pure. Two of one name can't be in one database at the same time. */
export function diffPublication(olds: Properties, news: Properties): DiffResult {
  const wanted = normalised(keepingName(olds, news));
  const clashes = same(olds.publicationName, wanted.publicationName) && same(databaseOf(olds), databaseOf(wanted));
  return withDrift(compare(publicationEffects, normalised(olds), wanted, clashes), olds);
}

const databaseOf = (props: Properties) => (props.source as SourceConfig | undefined)?.database;

/** Pure: whether another publication takes the place of the old one, in the same database. */
export function isReplacedInPlace(olds: Properties, news: Properties): boolean {
  return isReplacing(publicationChanges(olds, news)) && same(databaseOf(olds), databaseOf(news));
}

/** Pure: what an update changes; what is new, or published otherwise, is copied. */
export function publicationChanges(olds: Properties, news: Properties): Change[] {
  const changes = changesOf(publicationEffects, normalised(olds), normalised(keepingName(olds, news)));
  const copied = new Set<string>();
  if (changedTables(olds.tables, news.tables).length > 0) copied.add("tables");
  if (addedSchemas(olds, news).length > 0) copied.add("schemas");
  return changes.map((change) => (copied.has(change.input) ? { ...change, effect: "resnapshot" } : change));
}

/** Pure: tables that are new, or have other columns or another row filter. */
export function changedTables(before: unknown, after: unknown): PublishedTable[] {
  if (!Array.isArray(after) || containsUnknown(after)) return [];
  const stripped = (tables: unknown) =>
    ((normalisedTables(Array.isArray(tables) ? tables : []) as PublishedTable[]) ?? []).map(
      ({ replicaIdentity: _identity, ...rest }) => rest,
    );
  const known = containsUnknown(before) ? [] : stripped(before);
  const old = new Map(known.map((table) => [quoteTable(table), table]));
  return stripped(after).filter((table) => !same(old.get(quoteTable(table)), table));
}

/** Pure. */
export function addedSchemas(olds: Properties, news: Properties): string[] {
  if (containsUnknown([olds.schemas, news.schemas])) return [];
  const known = new Set(definitionOf(olds).schemas);
  return definitionOf(news).schemas.filter((name) => !known.has(name));
}

export const keyedOf = (props: Properties) => (props.keyed as TableName[] | undefined) ?? [];

export const fullIdentityOf = (props: Properties) => (props.fullIdentity as TableName[] | undefined) ?? [];

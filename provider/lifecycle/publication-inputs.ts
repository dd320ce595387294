import { z } from "zod";
import { quoteTable } from "../../runtime/postgres/identifier";
import type { TableName } from "../postgres/table-inspection";
import { addedTables } from "./change-cost";
import { type Change, changesOf, compare, type Effects, withDrift } from "./comparison";
import { checkInputs } from "./input-check";
import type { CheckResult, DiffResult, Properties } from "./lifecycle";
import { identifierSchema, newPipelineId, pipelineIdSchema } from "./names";
import { sourceInputSchema } from "./source-input";
import { tableNameSchema } from "./table-name";
import { containsUnknown } from "./unknown-value";

export const shape = {
  source: sourceInputSchema,
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

export const fullIdentityOf = (props: Properties) => (props.fullIdentity as TableName[] | undefined) ?? [];

function sorted(tables: unknown): unknown {
  if (!Array.isArray(tables) || containsUnknown(tables)) return tables;
  return [...(tables as TableName[])].sort((a, b) => (quoteTable(a) < quoteTable(b) ? -1 : 1));
}

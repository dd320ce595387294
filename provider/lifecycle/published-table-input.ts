import { z } from "zod";
import { quoteTable } from "../../runtime/postgres/identifier";
import type { PublishedTable } from "../postgres/publication-definition";
import { identifierSchema } from "./names";
import { tableNameSchema } from "./table-name";
import { containsUnknown, isUnknown } from "./unknown-value";

const columnsSchema = z
  .array(identifierSchema)
  .min(1, { error: "a column list has at least one column\n  remedy: Leave columns out to publish all." })
  .refine((columns) => new Set(columns).size === columns.length, { error: "a column is listed twice" });

const identitySchema = z.union([z.enum(["auto", "default", "full"]), z.strictObject({ index: identifierSchema })], {
  error: 'a replica identity is "auto", "default", "full" or { index: "name" }',
});

const restrictedSchema = z.strictObject({
  table: tableNameSchema,
  columns: columnsSchema.optional(),
  where: z
    .string()
    .trim()
    .min(1, { error: "a row filter is an SQL expression\n  remedy: Leave it out for all rows." })
    .optional(),
  replicaIdentity: identitySchema.optional(),
});

const isRestricted = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && "table" in value;

/** A table's name alone, or `{ table, columns, where, replicaIdentity }`; becomes one flat object. */
export const publishedTableSchema = z.custom<PublishedTable>().transform((value: unknown, context) => {
  const schema = isRestricted(value) ? restrictedSchema : tableNameSchema;
  const parsed = schema.safeParse(value);
  if (parsed.success) {
    if (!("table" in parsed.data)) return parsed.data as PublishedTable;
    const { table, ...rest } = parsed.data;
    return { ...table, ...rest } as PublishedTable;
  }
  for (const issue of parsed.error.issues) {
    context.addIssue({ code: "custom", path: [...issue.path], message: issue.message });
  }
  return z.NEVER;
});

export const publishedTablesSchema = z.array(publishedTableSchema).superRefine((tables, context) => {
  const seen = new Set<string>();
  for (const [index, table] of tables.entries()) {
    const name = quoteTable(table);
    if (seen.has(name)) context.addIssue({ code: "custom", path: [index], message: `${name} is listed twice` });
    seen.add(name);
  }
});

/** Pure: an order that means nothing, and what stands for a default, are taken away for a comparison. */
export function normalisedTables(tables: unknown): unknown {
  if (!Array.isArray(tables) || containsUnknown(tables)) return tables;
  return [...(tables as PublishedTable[])]
    .map(({ schema, name, columns, where, replicaIdentity }) => ({
      schema,
      name,
      ...(columns === undefined ? {} : { columns: [...columns].sort() }),
      ...(where === undefined ? {} : { where }),
      ...(replicaIdentity === undefined || replicaIdentity === "auto" ? {} : { replicaIdentity }),
    }))
    .sort((a, b) => (quoteTable(a) < quoteTable(b) ? -1 : 1));
}

/** Pure: names, in their order, that are known. */
export function namesOf(tables: unknown): PublishedTable[] {
  return Array.isArray(tables) ? (tables as PublishedTable[]).filter((table) => !isUnknown(table)) : [];
}

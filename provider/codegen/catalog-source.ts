import type { CatalogColumnFacts, CatalogTableFacts } from "../postgres/table-catalog";
import type { CatalogColumn, CatalogTable, ColumnValue, Unfilterable } from "../typed/catalog";

/** By oid of pg_type. */
const values: Readonly<Record<number, ColumnValue>> = {
  16: "boolean",
  17: "bytea",
  20: "bigint",
  21: "smallint",
  23: "integer",
  25: "text",
  700: "real",
  701: "double",
  1042: "text",
  1043: "text",
  1082: "date",
  1114: "timestamp",
  1184: "timestamptz",
  1700: "numeric",
  2950: "uuid",
};

/** PostgreSQL 18 publishes stored generated columns. */
const generatedSince = 18;

/**
 * Pure: a TypeScript module with the catalogue of these tables. The same tables give the same text, in whatever order
 * the server names them and whatever order their columns were made in.
 * @param serverMajor PostgreSQL's major version
 */
export function catalogSource(tables: readonly CatalogTableFacts[], serverMajor: number): string {
  const bySchema = new Map<string, CatalogTableFacts[]>();
  for (const table of tables) bySchema.set(table.schema, [...(bySchema.get(table.schema) ?? []), table]);
  const lines = [
    "// Written by `sluice codegen`: run it again rather than edit this. `sluice codegen --check` tells when it is stale.",
    'import type { Catalog } from "pulumi-sluice";',
    "",
    "export const catalog = {",
  ];
  for (const [schema, members] of [...bySchema].sort(([a], [b]) => order(a, b))) {
    lines.push(`  ${propertyName(schema)}: {`);
    for (const table of [...members].sort((a, b) => order(a.name, b.name)))
      lines.push(...tableLines(table, serverMajor));
    lines.push("  },");
  }
  lines.push("} as const satisfies Catalog;", "");
  return lines.join("\n");
}

function tableLines(facts: CatalogTableFacts, serverMajor: number): string[] {
  const { schema, name, kind, key } = facts;
  const head: Omit<CatalogTable, "columns"> = { schema, name, kind, key };
  const lines = [...documentation(facts.comment, "    "), `    ${propertyName(name)}: {`];
  for (const [property, value] of Object.entries(head)) lines.push(`      ${property}: ${literal(value)},`);
  lines.push("      columns: {");
  for (const column of [...facts.columns].sort((a, b) => order(a.name, b.name))) {
    lines.push(...documentation(column.comment, "        "));
    lines.push(`        ${propertyName(column.name)}: ${literal(columnOf(column, serverMajor))},`);
  }
  lines.push("      },", "    },");
  return lines;
}

function columnOf(facts: CatalogColumnFacts, serverMajor: number): CatalogColumn {
  const value = facts.baseKind === "e" ? "enum" : (values[facts.baseOid] ?? "other");
  const isUnpublishable = facts.generated === "v" || (facts.generated === "s" && serverMajor < generatedSince);
  const unfilterable = reasonAgainstFilter(facts);
  return {
    type: facts.type,
    value,
    nullable: facts.nullable,
    ...(value === "enum" && { labels: facts.labels ?? [] }),
    ...(isUnpublishable && { unpublishable: true }),
    ...(unfilterable !== null && { unfilterable }),
  };
}

function reasonAgainstFilter(facts: CatalogColumnFacts): Unfilterable | null {
  if (facts.generated !== "") return "it is generated";
  if (facts.isUserDefined) return "its type is user-defined";
  return facts.hasOwnCollation ? "its collation is user-defined" : null;
}

/** By code units: no locale has a part in it. */
const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** `__proto__: …` would set the prototype. */
function propertyName(name: string): string {
  if (name === "__proto__") return '["__proto__"]';
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : text(name);
}

/** Line separators of JavaScript are none of JSON's. */
const text = (value: string) => JSON.stringify(value).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");

function literal(value: unknown): string {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object" || value === null) return String(value);
  const members = Object.entries(value).map(([name, member]) => `${propertyName(name)}: ${literal(member)}`);
  return `{ ${members.join(", ")} }`;
}

function documentation(comment: string | null, indent: string): string[] {
  const lines = (comment ?? "")
    .replaceAll("*/", "*\u200b/")
    .trim()
    .split(/\r\n|[\n\r\u2028\u2029]/);
  if (lines.length === 1) return lines[0] === "" ? [] : [`${indent}/** ${lines[0]} */`];
  return [`${indent}/**`, ...lines.map((line) => `${indent} * ${line}`.trimEnd()), `${indent} */`];
}

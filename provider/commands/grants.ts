import type { Client } from "pg";
import { SluiceError } from "../../runtime/errors";
import { quoteTable } from "../../runtime/postgres/identifier";
import { tableNameSchema } from "../lifecycle/table-name";
import { withAdmin } from "../postgres/admin-session";
import { type Flavour, flavourNames, flavourOf, flavours, readFlavourMarks } from "../postgres/flavour";
import {
  type GrantNeeds,
  type GrantStatement,
  grantNotes,
  grantStatements,
  type OwnedTable,
  ownerRoleOf,
} from "../postgres/grant-statements";
import { inspectTables, type TableName } from "../postgres/table-inspection";
import { type Command, parseOptions, print, printJson } from "./command";
import { sourceOf, sourceOptions, sourceUsage } from "./source-options";

const options = {
  ...sourceOptions,
  role: { type: "string" },
  database: { type: "string" },
  table: { type: "string", multiple: true },
  schema: { type: "string", multiple: true },
  "all-tables": { type: "boolean" },
  flavour: { type: "string" },
  publication: { type: "string", default: "ours" },
  ownership: { type: "string", default: "group" },
  "owner-role": { type: "string" },
} as const;

export const grants: Command = {
  name: "grants",
  summary: "the SQL by which a stack's role gets what it needs, and no more",
  usage: `sluice grants: prints SQL, and runs nothing

  --role NAME            the stack's role (its Connection's user)
  --database NAME        its database (that of --from)
  --table SCHEMA.TABLE   a table of the stack; may be given again
  --schema NAME          or every table of a schema, for a publication by hand; may be given again
  --all-tables           or every table, for a publication by hand
  --publication ours     the stack makes its publication (default); or by-hand: it reads one that somebody else makes
  --ownership group      published tables get an owner of their own, of which role and former owner are members (default);
                         or member: the role becomes a member of each table's owner
  --owner-role NAME      that owner (ROLE_tables)
  --flavour NAME         ${flavours.join(", ")} (with --from as detected, else vanilla)
${sourceUsage}                         optional: looks, read-only, who owns the tables, and whether the role exists
  --json                 one line of JSON
`,
  async run(argv) {
    const values = parseOptions("grants", argv, options);
    const isConnected = values.from !== undefined || values.config !== undefined;
    const source = isConnected ? sourceOf("grants", values) : null;
    const role = values.role ?? wrong("--role is needed", "Give the user of the stack's Connection.");
    const database = values.database ?? source?.database ?? wrong("--database is needed", "Or give --from.");
    const publication = oneOf("--publication", values.publication, ["ours", "by-hand"] as const);
    const given: Given = {
      role,
      database,
      publication,
      ownership: oneOf("--ownership", values.ownership, ["group", "member"] as const),
      ownerRole: values["owner-role"],
      flavour: values.flavour === undefined ? null : oneOf("--flavour", values.flavour, flavours),
      scope: scopeOf(values, publication),
    };
    const needs =
      source === null
        ? offline(given)
        : await withAdmin({ ...source, database }, "reading the tables' owners", (client) => lookUp(client, given));
    const statements = grantStatements(needs);
    const notes = grantNotes(needs);
    const { flavour } = needs;
    if (values.json === true) printJson({ flavour, database, role, notes, statements });
    else print(grantsText(needs, statements, notes));
    return 0;
  },
};

type Scope = { kind: "tables"; tables: TableName[] } | { kind: "schemas"; schemas: string[] } | { kind: "all" };

interface Given extends Omit<GrantNeeds, "flavour" | "scope" | "roleExists"> {
  flavour: Flavour | null;
  scope: Scope;
}

interface ScopeValues {
  table?: string[];
  schema?: string[];
  "all-tables"?: boolean;
}

function scopeOf(values: ScopeValues, publication: GrantNeeds["publication"]): Scope {
  const { table = [], schema = [], "all-tables": all = false } = values;
  const kinds = [table.length > 0, schema.length > 0, all].filter((is) => is).length;
  if (kinds !== 1) wrong("one of --table, --schema and --all-tables is needed", "Name what the stack carries.");
  if (table.length > 0) {
    const tables = table.map((name) => {
      const parsed = tableNameSchema.safeParse(name);
      return parsed.success
        ? (parsed.data as TableName)
        : wrong("--table is no SCHEMA.TABLE", "Give names as the catalog has them.");
    });
    return { kind: "tables", tables };
  }
  if (publication === "ours") {
    wrong(
      "a publication of schemas or of all tables is a superuser's to make",
      "Name the tables by --table; or have it made by a superuser, and give --publication by-hand.",
    );
  }
  return all ? { kind: "all" } : { kind: "schemas", schemas: schema };
}

/** Without a look at the server the owners of tables aren't known. */
function offline({ flavour, scope, ...given }: Given): GrantNeeds {
  if (given.publication === "ours" && given.ownership === "member") {
    wrong("--ownership member needs --from", "The tables' owners are looked up.");
  }
  return { ...given, flavour: flavour ?? "vanilla", roleExists: false, scope: withOwners(scope, () => null) };
}

async function lookUp(client: Client, { flavour, scope, ...given }: Given): Promise<GrantNeeds> {
  const ownerRole = ownerRoleOf(given);
  const { rows } = await client.query<{ name: string }>(
    "SELECT rolname AS name FROM pg_catalog.pg_roles WHERE rolname = ANY ($1)",
    [[given.role, ownerRole]],
  );
  const exists = (role: string) => rows.some(({ name }) => name === role);
  const found = scope.kind === "tables" ? await inspectTables(client, scope.tables) : [];
  const missing = scope.kind === "tables" ? scope.tables.filter((_, index) => found[index] === null) : [];
  if (missing.length > 0) {
    throw new SluiceError("missing-object", `sluice grants: there is no table ${missing.map(quoteTable).join(", ")}`, {
      remedy: "Correct its name (names are case-sensitive).",
    });
  }
  const owners = new Map(found.map((table) => [table === null ? "" : quoteTable(table), table?.owner ?? null]));
  return {
    ...given,
    flavour: flavour ?? flavourOf(await readFlavourMarks(client)),
    roleExists: exists(given.role),
    ownerRoleExists: exists(ownerRole),
    scope: withOwners(scope, (table) => owners.get(quoteTable(table)) ?? null),
  };
}

function withOwners(scope: Scope, ownerOf: (table: TableName) => string | null): GrantNeeds["scope"] {
  if (scope.kind !== "tables") return scope;
  return { kind: "tables", tables: scope.tables.map((table): OwnedTable => ({ ...table, owner: ownerOf(table) })) };
}

/** Pure: a script for psql; optional statements are comments. */
export function grantsText(
  { flavour, database, scope, publication, ownership }: GrantNeeds,
  statements: readonly GrantStatement[],
  notes: readonly string[],
): string {
  const ownerless =
    publication === "ours" &&
    ownership === "group" &&
    scope.kind === "tables" &&
    scope.tables.some(({ owner }) => owner === null);
  const lines = [
    `-- ${flavourNames[flavour]}, database ${JSON.stringify(database)}`,
    ...notes.map((note) => `-- ${note}`),
    ...(ownerless
      ? ["-- Make the owner of before a member too: GRANT <the role that owns the tables> TO <it>; --from looks it up."]
      : []),
    "",
    ...statements.flatMap(({ sql, why, optional }) => [
      `-- ${optional ? "optional: " : ""}${why}`,
      optional ? `-- ${sql.replaceAll("\n", "\n-- ")};` : `${sql};`,
    ]),
  ];
  return lines.join("\n");
}

function oneOf<const T extends readonly string[]>(name: string, value: string, allowed: T): T[number] {
  return allowed.find((one) => one === value) ?? wrong(`${name} is none of ${allowed.join(", ")}`, "Give one of them.");
}

function wrong(message: string, remedy: string): never {
  throw new SluiceError("config", `sluice grants: ${message}`, { remedy });
}

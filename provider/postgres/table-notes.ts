import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { listNames } from "../name-list";
import type { TableName, TableProblem } from "./table-inspection";

/** What of a table's rows and columns a preview tells before it is published. */
export interface TableTraits extends TableName {
  /** a policy would hide rows from our role */
  isRowSecurityActive: boolean;
  /** stored generated columns, which a publication of ours doesn't send */
  generatedColumns: string[];
  /** numeric columns without precision, domains over it not */
  unconstrainedNumerics: string[];
  moneyColumns: string[];
  /** a value of them can be stored out of line, so that an update may not send it */
  toastableColumns: string[];
}

/** In the order of the catalog; a table that doesn't exist is left out. */
export async function readTableTraits(client: Client, tables: readonly TableName[]): Promise<TableTraits[]> {
  const { rows } = await client.query<TableTraits>(
    `SELECT n.nspname AS schema, c.relname AS name, row_security_active(c.oid) AS "isRowSecurityActive",
            array(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = 's'
                   ORDER BY a.attnum) AS "generatedColumns",
            array(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                     AND a.atttypid = 'pg_catalog.numeric'::regtype AND a.atttypmod = -1
                   ORDER BY a.attnum) AS "unconstrainedNumerics",
            array(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                     AND a.atttypid = 'pg_catalog.money'::regtype
                   ORDER BY a.attnum) AS "moneyColumns",
            array(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> 'p'
                     AND c.reltoastrelid <> 0
                   ORDER BY a.attnum) AS "toastableColumns"
       FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
       JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.schema
       JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
      ORDER BY 1, 2`,
    [tables.map((table) => table.schema), tables.map((table) => table.name)],
  );
  return rows;
}

/** Pure: a copy of such a table fails, as rows that are hidden would be lost (PostgreSQL documentation, row_security). */
export function rowSecurityProblem(traits: TableTraits, user: string): TableProblem | null {
  if (!traits.isRowSecurityActive) return null;
  const name = quoteTable(traits);
  return {
    table: { schema: traits.schema, name: traits.name },
    kind: "permission",
    message: `row-level security of ${name} would hide rows from role ${quoteIdentifier(user)}`,
    remedy: `Run ALTER ROLE ${quoteIdentifier(user)} WITH BYPASSRLS, or ALTER TABLE ${name} NO FORCE ROW LEVEL SECURITY where the role owns it.`,
  };
}

const namedMax = 5;
const columnsNamedMax = 3;

/**
 * Pure: a line for each kind of note, however many tables there are.
 * @param full tables whose replica identity becomes FULL
 * @param sendsGenerated stored generated columns are published
 */
export function tableNotes(
  full: readonly TableName[],
  traits: readonly TableTraits[],
  sendsGenerated: boolean,
): string[] {
  const columnsOf = (key: "generatedColumns" | "unconstrainedNumerics" | "moneyColumns") =>
    traits.flatMap((table) => table[key].map((column) => `${quoteTable(table)}.${quoteIdentifier(column)}`));
  const toastable = new Map(traits.map((table) => [quoteTable(table), table.toastableColumns]));
  const withColumns = (table: TableName) => {
    const columns = (toastable.get(quoteTable(table)) ?? []).map(quoteIdentifier);
    return columns.length === 0 ? quoteTable(table) : `${quoteTable(table)} (${listNames(columns, columnsNamedMax)})`;
  };
  const note = (names: string[], text: string) =>
    names.length === 0 ? [] : [`note: ${text}: ${listNames(names, namedMax)}`];
  return [
    ...note(
      full.map(withColumns),
      "REPLICA IDENTITY FULL is set, as a table without a primary key or with TOASTable columns (named here) needs it, or your options do; its updates and deletes write the whole old row into the WAL",
    ),
    ...note(sendsGenerated ? [] : columnsOf("generatedColumns"), "generated columns aren't carried"),
    ...note(
      columnsOf("unconstrainedNumerics"),
      'numeric without precision becomes DECIMAL(38, 18), and what doesn\'t fit NULL, which is counted (types: { unconstrainedNumeric: "string" } keeps every value)',
    ),
    ...note(columnsOf("moneyColumns"), "money becomes DOUBLE, which is exact to 15 digits"),
  ];
}

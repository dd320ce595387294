import { randomBytes } from "node:crypto";
import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import { sqlStateOf } from "../../runtime/postgres/source-error";
import { byName, type PublishedTable } from "./publication-definition";
import type { TableName } from "./table-inspection";

/** A row filter as the server has it: equal texts are equal filters, whatever way they were written. */
export interface RowFilter extends TableName {
  /** as it was given */
  where: string;
  /** as pg_get_expr writes it */
  text: string;
  /** names of the columns that it uses */
  columns: string[];
}

export interface RowFilters {
  filters: RowFilter[];
  /** expressions that the server refuses */
  refused: (TableName & { message: string })[];
}

/** PostgreSQL's class 42 (syntax, names, types), but for privileges, class 22 (values) and 0A000 (what a filter may have). */
const isRefusal = (state: string | undefined) => state !== undefined && /^(42(?!501)|22|0A)/.test(state);

/**
 * Asks the server what the filters of these tables mean: a publication is made for each in a transaction that is rolled
 * back. Nobody sees it; it takes SHARE UPDATE EXCLUSIVE locks, for which it waits 3 s at most.
 * @param known filters that needn't be asked for
 */
export async function readRowFilters(
  client: Client,
  tables: readonly PublishedTable[],
  known: readonly RowFilter[] = [],
): Promise<RowFilters> {
  const remembered = byName(known);
  const result: RowFilters = { filters: [], refused: [] };
  const asked: (PublishedTable & { where: string })[] = [];
  for (const table of tables) {
    if (table.where === undefined) continue;
    const before = remembered.get(quoteTable(table));
    if (before?.where === table.where) result.filters.push(before);
    else asked.push({ ...table, where: table.where });
  }
  if (asked.length === 0) return result;
  // In a session of a check too, which is read-only: nothing of it is committed.
  await client.query("BEGIN READ WRITE");
  try {
    await client.query("SET LOCAL lock_timeout = '3s'");
    for (const { schema, name, where } of asked) {
      await client.query("SAVEPOINT probe");
      try {
        const found = await probe(client, { schema, name }, where);
        if (found === "several") result.refused.push({ schema, name, message: "it isn't one expression" });
        else if (found !== null) result.filters.push({ schema, name, where, ...found });
      } catch (error) {
        if (!isRefusal(sqlStateOf(error))) throw error;
        result.refused.push({ schema, name, message: (error as Error).message });
      }
      await client.query("ROLLBACK TO SAVEPOINT probe");
    }
  } finally {
    await client.query("ROLLBACK").catch(() => {});
  }
  return result;
}

/** null where our role may not publish the table, which is told otherwise. */
async function probe(
  client: Client,
  table: TableName,
  where: string,
): Promise<Pick<RowFilter, "text" | "columns"> | "several" | null> {
  const name = `sluice_probe_${randomBytes(8).toString("hex")}`;
  const statement = `CREATE PUBLICATION ${quoteIdentifier(name)} FOR TABLE ${quoteTable(table)} ${whereClause(where)}
    WITH (publish_via_partition_root = true)`;
  try {
    // The extended protocol takes one statement only.
    await client.query({ text: statement, queryMode: "extended" } as { text: string });
  } catch (error) {
    if (sqlStateOf(error) === "42501" || sqlStateOf(error) === "42P01") return null;
    throw error;
  }
  const { rows } = await client.query<{ text: string; columns: string[] }>(
    `SELECT pg_catalog.pg_get_expr(r.prqual, r.prrelid) AS text,
            array(SELECT a.attname::text FROM pg_catalog.pg_depend d
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                   WHERE d.classid = 'pg_catalog.pg_publication_rel'::regclass AND d.objid = r.oid
                     AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjsubid > 0
                   ORDER BY a.attnum) AS columns
       FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
      WHERE p.pubname = $1`,
    [name],
  );
  return rows.length === 1 && rows[0].text !== null ? rows[0] : "several";
}

/** The expression may end in a comment. */
export function whereClause(where: string): string {
  return `WHERE (${where}\n)`;
}

import { failpoint } from "../failpoint";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { liveRowsQuery } from "./live-rows";
import { name, presentColumns } from "./parquet-file";
import { compareSchemas, type SchemaChange, TypeChangeError } from "./schema-evolution";
import { type TargetTable, targetColumns } from "./target-table";
import type { WorkingTable } from "./working-table";

/**
 * Gives the table a schema. Files are written anew only where a type became wider or a new column has a value in rows
 * of before; names, order, keys and dropped columns are metadata alone.
 * @param fillPath Parquet with one row: values of new columns in rows of before
 * @throws TypeChangeError when a column's new type doesn't hold all values of its old one
 */
export async function followSchema(
  session: DuckDbSession,
  working: WorkingTable,
  target: TargetTable,
  fillPath: string | null,
): Promise<void> {
  const columns = targetColumns(target);
  const { widened, added } = schemaChange(working, target);
  const values = fillPath === null ? new Map<string, string>() : await fillValues(session, target, added, fillPath);
  working.setTarget(target);
  if (values.size === 0 && widened.length === 0) return;
  // From the last on: a file that is left without rows leaves the list.
  for (let index = working.paths.length - 1; index >= 0; index--) {
    const query = await liveRowsQuery(session, working, [index], columns, values);
    await working.rewrite([index], query, columns);
    failpoint("applier.after-rewritten-file");
  }
}

/** @throws TypeChangeError */
function schemaChange(working: WorkingTable, target: TargetTable): SchemaChange {
  const { schema, name } = target.source;
  return compareSchemas(working.types, { ...target.schema, schema, name, columns: targetColumns(target) });
}

/** Why the table's rows can't have the target's types; null when they can. */
export function unfollowedChange(working: WorkingTable, target: TargetTable): TypeChangeError | null {
  try {
    schemaChange(working, target);
    return null;
  } catch (error) {
    if (error instanceof TypeChangeError) return error;
    throw error;
  }
}

/** An expression for each new column that isn't NULL in rows of before. */
async function fillValues(
  session: DuckDbSession,
  target: TargetTable,
  added: string[],
  fillPath: string,
): Promise<Map<string, string>> {
  const source = parquet([fillPath]);
  const present = await presentColumns(session, [fillPath]);
  const values = new Map<string, string>();
  for (const column of target.schema.columns) {
    if (!added.includes(column.physicalName) || !present.has(column.physicalName)) continue;
    const value = `(SELECT ${target.expressions.get(column.physicalName) ?? name(column)} FROM ${source})`;
    const [{ known }] = await session.rows<{ known: boolean }>(`SELECT ${value} IS NOT NULL AS known`);
    if (known) values.set(column.physicalName, value);
  }
  return values;
}

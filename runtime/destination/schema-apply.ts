import type { ColumnSchema } from "../change/table-schema";
import { failpoint } from "../failpoint";
import { type DuckDbSession, parquet } from "./duckdb-session";
import { liveRowsQuery } from "./live-rows";
import { name, presentColumns } from "./parquet-file";
import { compareSchemas, type SchemaChange, TypeChangeError } from "./schema-evolution";
import { type TargetTable, targetColumns } from "./target-table";
import type { WorkingTable } from "./working-table";

/**
 * Gives the table a schema. Files are written anew only where a type became wider or a new column has a value in rows
 * of before; names, order, keys and dropped columns are metadata alone, but for tables without column mapping.
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
  const formerNames = formerNamesOf(working, target);
  const values = fillPath === null ? new Map<string, string>() : await fillValues(session, target, added, fillPath);
  working.setTarget(target);
  if (values.size === 0 && widened.length === 0 && formerNames === null) return;
  if (formerNames !== null) working.hasOtherNames = true;
  // From the last on: a file that is left without rows leaves the list.
  for (let index = working.paths.length - 1; index >= 0; index--) {
    const query = await liveRowsQuery(session, working, [index], columns, values, formerNames ?? new Map());
    await working.rewrite([index], query, columns, formerNames ?? new Map());
    failpoint("applier.after-rewritten-file");
  }
}

/** @throws TypeChangeError */
function schemaChange(working: WorkingTable, target: TargetTable): SchemaChange {
  const { schema, name } = target.source;
  const formerNames = formerNamesOf(working, target);
  const types = new Map(working.types);
  for (const [physicalName, former] of formerNames ?? []) {
    const type = former === null ? undefined : working.types.get(former);
    if (type === undefined) types.delete(physicalName);
    else types.set(physicalName, type);
  }
  return compareSchemas(types, { ...target.schema, schema, name, columns: targetColumns(target) });
}

/**
 * Without column mapping files tell a column by its name only: what they call those of now that they call otherwise (null
 * for a new column with the name of a former one). null when their names are right, and none is dropped.
 */
function formerNamesOf(working: WorkingTable, target: TargetTable): Map<string, string | null> | null {
  if (target.stored.options.columnMapping) return null;
  const columns = targetColumns(target);
  const names = new Map<string, string | null>();
  const taken = new Set(working.names.values());
  for (const { attributeNumber, physicalName } of columns) {
    const former = working.names.get(attributeNumber);
    if (former === physicalName) continue;
    if (former !== undefined) names.set(physicalName, former);
    else if (taken.has(physicalName)) names.set(physicalName, null);
  }
  const numbers = new Set(columns.map(({ attributeNumber }) => attributeNumber));
  const hasDropped = [...working.names.keys()].some((number) => !numbers.has(number));
  return names.size > 0 || hasDropped ? names : null;
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
  const stagedName = ({ physicalName }: ColumnSchema) => target.stagedNames.get(physicalName) ?? physicalName;
  for (const column of target.schema.columns) {
    if (!added.includes(column.physicalName) || !present.has(stagedName(column))) continue;
    const value = `(SELECT ${target.expressions.get(column.physicalName) ?? name(column)} FROM ${source})`;
    const [{ known }] = await session.rows<{ known: boolean }>(`SELECT ${value} IS NOT NULL AS known`);
    if (known) values.set(column.physicalName, value);
  }
  return values;
}

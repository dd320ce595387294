import { sqlText } from "./sql-text";

/** What a statement proves before it has an effect, and leaves in the table's log with it (docs/ARCHITECTURE.md). */
export interface StatementSeal {
  /** tells the batch, and how much of it the table has with this statement */
  token: string;
  /** a query of one row: `_token`; it fails where this process no longer is the table's writer */
  guard: string;
}

export interface MergeParts {
  table: string;
  /** a query of the source's rows */
  rows: string;
  /** between `t`, the table, and `s`, the rows */
  on: string;
  /** WHEN … THEN …, in order */
  clauses: string[];
}

/** The token stands in the condition: so the table's log has it in the very commit of the rows. */
export function mergeStatement({ table, rows, on, clauses }: MergeParts, seal: StatementSeal): string {
  return `MERGE INTO ${table} t USING (
SELECT r.*, g._token FROM (
${rows}
) r CROSS JOIN (${seal.guard}) g
) s ON s._token = ${sqlText(seal.token)} AND ${on}
${clauses.join("\n")}`;
}

export function updateSet(values: readonly [string, string][]): string {
  return `UPDATE SET ${values.map(([column, value]) => `${column} = ${value}`).join(", ")}`;
}

export function insertValues(values: readonly [string, string][]): string {
  return `INSERT (${values.map(([column]) => column).join(", ")}) VALUES (${values.map(([, value]) => value).join(", ")})`;
}

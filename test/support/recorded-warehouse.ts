import { parsePositions } from "../../runtime/destination/databricks/position";
import { refused } from "../../runtime/destination/databricks/sql-failure";
import type { SqlRow, SqlSession } from "../../runtime/destination/databricks/sql-session";

interface Table {
  properties: Record<string, string>;
  /** what each version's statement told, newest first */
  history: string[];
  /** changes of metadata, behind which nothing commits that had begun before */
  changes: number;
}

/**
 * An engine that keeps what is sent to it, and of each table its properties and its history; of rows it has none. As Delta
 * it refuses a commit behind which the table's metadata has changed, and as any engine a statement whose guard fails.
 * `types`: of the columns that tables have, as DESCRIBE TABLE tells them.
 */
export class RecordedWarehouse implements SqlSession {
  /** statements that aren't questions */
  readonly sent: string[] = [];
  readonly tables = new Map<string, Table>();
  private epoch = "";
  private writers = new Set<string>();
  /** what befalls a statement before it has an effect */
  before: (statement: string) => Promise<void> | void = () => {};
  /** of changes that are asked about */
  traits = { unchanged: "0", moves: "0" };

  constructor(private readonly types: Record<string, string>) {}

  /** MERGE statements into a table of ours. */
  merges(name = ""): string[] {
    return this.sent.filter((each) => each.startsWith("MERGE INTO") && !isOfWriters(each) && each.includes(name));
  }

  /** Staged commits of which a table has the rows, in the order of their effects: the first and the last of each batch. */
  effects(name: string): [number, number][] {
    const table = [...this.tables].find(([full]) => full.endsWith(name))?.[1];
    const told = [...(table?.history ?? [])].reverse();
    return told.flatMap((text) =>
      parsePositions(text).map(({ base, sequence }): [number, number] => [base + 1, sequence]),
    );
  }

  /** `signal`: of somebody who cancels it: it has no effect then, if it hadn't yet */
  async run(statement: string, signal?: AbortSignal): Promise<SqlRow[]> {
    const [, name = ""] = /(`[^`]+`\.`[^`]+`\.`[^`]+`)/.exec(statement) ?? [];
    const table = this.tables.get(name);
    if (/^(SHOW TBLPROPERTIES|DESCRIBE)/.test(statement) && table === undefined) {
      throw refused(`[TABLE_OR_VIEW_NOT_FOUND] no table ${name}. SQLSTATE: 42P01`, null);
    }
    if (statement.startsWith("SHOW TBLPROPERTIES")) {
      return Object.entries(table?.properties ?? {}).map(([key, value]) => ({ key, value }));
    }
    if (statement.startsWith("DESCRIBE TABLE")) {
      return Object.entries(this.types).map(([col_name, data_type]) => ({ col_name, data_type }));
    }
    if (statement.startsWith("DESCRIBE HISTORY")) {
      const history = table?.history ?? [];
      return history.map((told, at) => ({
        version: history.length - 1 - at,
        operation: "MERGE",
        operationParameters: told,
      }));
    }
    if (statement.startsWith("SELECT CAST(count(*)")) {
      return [{ n: String(statement.includes("_sluice_writers") ? this.writers.size : 0) }];
    }
    if (statement.startsWith("SHOW TABLES IN ")) return this.tablesIn(statement.slice("SHOW TABLES IN ".length));
    if (statement.startsWith("SELECT CAST(count(_unchanged)")) return [this.traits];
    this.sent.push(statement);
    const [, guarded = null] = /IF\(max\(epoch\) <=> '([^']*)'/.exec(statement) ?? [];
    if (guarded !== null && guarded !== this.epoch) throw refused("[USER_RAISED_EXCEPTION] x SQLSTATE: P0001", null);
    const begunAt = table?.changes;
    await this.before(statement);
    if (signal?.aborted) return [];
    const [, writer = "", epoch = null] = /SELECT '([^']*)' AS writer, '([^']*)' AS epoch/.exec(statement) ?? [];
    if (epoch !== null) {
      this.epoch = epoch;
      this.writers.add(writer);
    }
    const [, leaving = null] = /^DELETE FROM .* WHERE writer = '([^']*)'/.exec(statement) ?? [];
    if (leaving !== null) this.writers.delete(leaving);
    if (guarded !== null && this.tables.get(name)?.changes !== begunAt) {
      throw refused("[DELTA_METADATA_CHANGED] x SQLSTATE: 2D521", null);
    }
    if (statement.startsWith("DROP TABLE")) this.tables.delete(name);
    else if (statement.startsWith("CREATE OR REPLACE TABLE")) {
      this.tables.set(name, { ...made(statement), changes: (begunAt ?? 0) + 1 });
    } else if (statement.startsWith("MERGE") && table !== undefined) table.history.unshift(tokenOf(statement));
    else if (statement.includes(" SET TBLPROPERTIES ") && table !== undefined) {
      table.properties = { ...table.properties, ...properties(statement) };
      table.changes++;
    }
    return [];
  }

  private tablesIn(schema: string): SqlRow[] {
    const names = [...this.tables.keys()].filter((each) => each.startsWith(`${schema}.`));
    const all = [...names, ...(this.writers.size > 0 ? [`${schema}.\`_sluice_writers\``] : [])];
    if (all.length === 0) throw refused(`[SCHEMA_NOT_FOUND] no schema ${schema}. SQLSTATE: 42704`, null);
    return all.map((each) => ({ tableName: each.slice(schema.length + 2, -1), isTemporary: "false" }));
  }

  async close(): Promise<void> {}
}

const isOfWriters = (statement: string) => /^MERGE INTO `[^`]+`\.`[^`]+`\.`_sluice_writers`/.test(statement);

function made(statement: string): Omit<Table, "changes"> {
  return { properties: properties(/TBLPROPERTIES \((.*)\)\n/.exec(statement)?.[1] ?? ""), history: [""] };
}

function properties(list: string): Record<string, string> {
  const found = [...list.matchAll(/'([^']*)' = '((?:[^'\\]|\\.)*)'/g)];
  return Object.fromEntries(found.map(([, key, value]) => [key, value.replaceAll("\\\\", "\\")]));
}

const tokenOf = (statement: string) => /s\._token = '([^']*)'/.exec(statement)?.[1] ?? "";

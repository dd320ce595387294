import { SqlFailure } from "../../runtime/destination/databricks/sql-failure";
import type { SqlRow, SqlSession } from "../../runtime/destination/databricks/sql-session";

interface Table {
  properties: Record<string, string>;
  /** what each version's statement told, newest first */
  history: string[];
}

/**
 * An engine that keeps what is sent to it, and of each table its properties and its history; of rows it has none.
 * `types`: of the columns that tables have, as DESCRIBE TABLE tells them.
 */
export class RecordedWarehouse implements SqlSession {
  /** statements that aren't questions */
  readonly sent: string[] = [];
  readonly tables = new Map<string, Table>();
  /** what befalls a statement before it has an effect */
  before: (statement: string) => Promise<void> | void = () => {};
  /** of changes that are asked about */
  traits = { unchanged: "0", moves: "0" };

  constructor(private readonly types: Record<string, string>) {}

  /** MERGE statements into a table of ours. */
  merges(name = ""): string[] {
    return this.sent.filter((each) => each.startsWith("MERGE INTO") && !isOfWriters(each) && each.includes(name));
  }

  async run(statement: string): Promise<SqlRow[]> {
    const [, name = ""] = /(`[^`]+`\.`[^`]+`\.`[^`]+`)/.exec(statement) ?? [];
    const table = this.tables.get(name);
    if (/^(SHOW TBLPROPERTIES|DESCRIBE)/.test(statement) && table === undefined) {
      throw new SqlFailure("missing-object", `no table ${name}`, "none", { remedy: "" });
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
    if (statement.startsWith("SELECT CAST(count(*)")) return [{ n: "0" }];
    if (statement.startsWith("SELECT CAST(count(_unchanged)")) return [this.traits];
    this.sent.push(statement);
    await this.before(statement);
    if (statement.startsWith("CREATE OR REPLACE TABLE")) this.tables.set(name, made(statement));
    else if (statement.startsWith("MERGE") && table !== undefined) table.history.unshift(tokenOf(statement));
    else if (statement.includes(" SET TBLPROPERTIES ") && table !== undefined) {
      table.properties = { ...table.properties, ...properties(statement) };
    }
    return [];
  }

  async close(): Promise<void> {}
}

const isOfWriters = (statement: string) => /^MERGE INTO `[^`]+`\.`[^`]+`\.`_sluice_writers`/.test(statement);

function made(statement: string): Table {
  return { properties: properties(/TBLPROPERTIES \((.*)\)\n/.exec(statement)?.[1] ?? ""), history: [""] };
}

function properties(list: string): Record<string, string> {
  const found = [...list.matchAll(/'([^']*)' = '((?:[^'\\]|\\.)*)'/g)];
  return Object.fromEntries(found.map(([, key, value]) => [key, value.replaceAll("\\\\", "\\")]));
}

const tokenOf = (statement: string) => /s\._token = '([^']*)'/.exec(statement)?.[1] ?? "";

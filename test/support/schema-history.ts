import type { Client } from "pg";
import { quoteIdentifier, quoteTable } from "../../runtime/postgres/identifier";
import type { Random } from "./random";

interface HistoryTable {
  /** pg_class.oid: the table's name changes */
  oid: string;
  keyed: boolean;
}

interface Column {
  name: string;
  type: string;
}

const namePool = ["a", "b", "c", "d", "e", "F f"];
const newTypes = [
  "int",
  "bigint",
  "smallint",
  "text",
  "varchar(10)",
  "numeric(8,2)",
  "real",
  "boolean",
  "int[]",
  "text[]",
  "numeric(8,2)[]",
];
const wider: Record<string, string[]> = {
  smallint: ["integer", "bigint"],
  integer: ["bigint", "numeric(14,2)"],
  "character varying(10)": ["varchar(30)", "text"],
  "character varying(30)": ["text"],
  "numeric(8,2)": ["numeric(12,2)", "numeric(14,4)"],
  "numeric(12,2)": ["numeric(16,6)"],
  real: ["double precision"],
  "integer[]": ["bigint[]"],
  "numeric(8,2)[]": ["numeric(12,2)[]"],
};

/**
 * Random transactions of DML and DDL over a few tables, as a source's users would run them: several statements each,
 * with savepoints and rollbacks. What the catalog has is asked before each statement, so a refused one is left out.
 */
export class SchemaHistory {
  private tables: HistoryTable[] = [];
  private nextId = 1;
  readonly statements: string[] = [];

  constructor(
    private readonly client: Client,
    private readonly random: Random,
    /** nothing by which old values become others: a wrong step isn't made good by a new copy */
    private readonly gentle: boolean,
  ) {}

  /** Three tables and the publication `p`: keyed with identity DEFAULT, keyed with FULL, without a key. */
  async setUp(): Promise<void> {
    await this.client.query("CREATE SCHEMA other");
    for (const [index, identity] of ["DEFAULT", "FULL", "FULL"].entries()) {
      const key = index < 2 ? "PRIMARY KEY" : "";
      await this.client.query(`
        CREATE TABLE h${index} (id int ${key}, id2 int NOT NULL UNIQUE, a int, b varchar(10), c numeric(8,2));
        ALTER TABLE h${index} REPLICA IDENTITY ${identity}`);
      const { rows } = await this.client.query<{ oid: string }>("SELECT $1::regclass::oid::text AS oid", [`h${index}`]);
      this.tables.push({ oid: rows[0].oid, keyed: index < 2 });
    }
    await this.client.query("CREATE PUBLICATION p FOR TABLE h0, h1, h2");
    for (const table of this.tables) await this.insert(table, 20);
  }

  /** One transaction, committed or not. */
  async transaction(): Promise<void> {
    const { random } = this;
    if (random.next() < 0.04) {
      await this.run(`VACUUM FULL ${await this.nameOf(random.choose(this.tables))}`);
      return;
    }
    await this.run("BEGIN");
    for (let left = random.between(1, 6); left > 0; left--) await this.guarded(() => this.step());
    if (random.next() < 0.15) {
      await this.run("SAVEPOINT undone");
      for (let left = random.between(1, 3); left > 0; left--) await this.guarded(() => this.step());
      await this.run("ROLLBACK TO undone");
      await this.guarded(() => this.step());
    }
    await this.run(random.next() < 0.1 ? "ROLLBACK" : "COMMIT");
  }

  async run(sql: string): Promise<void> {
    this.statements.push(sql);
    await this.client.query(sql);
  }

  /** A statement that the server refuses leaves no trace. */
  private async guarded(step: () => Promise<void>): Promise<void> {
    await this.run("SAVEPOINT s");
    const at = this.statements.length;
    try {
      await step();
      await this.run("RELEASE s");
    } catch (error) {
      if ((error as { code?: string }).code === undefined) throw error;
      this.statements.splice(at);
      await this.run("ROLLBACK TO s");
    }
  }

  private async step(): Promise<void> {
    const { random } = this;
    const table = random.choose(this.tables);
    if (random.next() < 0.7) {
      await this.write(table);
      return;
    }
    await this.change(table);
    if (random.next() < 0.6) await this.write(table);
  }

  private async write(table: HistoryTable): Promise<void> {
    const { random } = this;
    const name = await this.nameOf(table);
    const some = `id % ${random.between(2, 7)} = 0`;
    const columns = (await this.columnsOf(table)).filter((column) => !column.name.startsWith("id"));
    switch (random.between(0, 7)) {
      case 0:
        await this.run(`DELETE FROM ${name} WHERE id % ${random.between(4, 9)} = 1`);
        return;
      case 1:
        await this.run(`UPDATE ${name} SET id = id + 100000, id2 = id2 + 100000 WHERE ${some} AND id < 1000`);
        return;
      case 2:
        if (random.next() < 0.2) await this.run(`TRUNCATE ${name}`);
        else await this.insert(table, random.between(1, 5));
        return;
      case 3:
        // Large enough to be streamed before its commit, where the server's buffer is small.
        await this.insert(table, random.next() < 0.3 ? 600 : 3);
        return;
      case 4:
      case 5:
        if (columns.length > 0) {
          const column = random.choose(columns);
          await this.run(
            `UPDATE ${name} SET ${quoteIdentifier(column.name)} = ${this.value(column.type)} WHERE ${some}`,
          );
        }
        return;
      default:
        await this.insert(table, random.between(1, 5));
    }
  }

  private async insert(table: HistoryTable, count: number): Promise<void> {
    const columns = await this.columnsOf(table);
    const first = this.nextId;
    this.nextId += count;
    const values = columns.map(({ name, type }) => (name === "id" ? "n" : name === "id2" ? "n + 7" : this.value(type)));
    const names = columns.map((column) => quoteIdentifier(column.name));
    await this.run(
      `INSERT INTO ${await this.nameOf(table)} (${names.join(", ")}) SELECT ${values.join(", ")} FROM generate_series(${first}, ${first + count - 1}) n`,
    );
  }

  private value(type: string): string {
    const { random } = this;
    if (random.next() < 0.15) return "NULL";
    if (type.endsWith("[]")) {
      const elements = Array.from({ length: random.between(0, 3) }, () => this.value(type.slice(0, -2)));
      const array = `ARRAY[${elements.join(", ")}]::${type}`;
      return elements.length > 0 && random.next() < 0.1 ? `ARRAY[${array}, ${array}]` : array;
    }
    const number = random.between(-99, 99);
    if (type === "boolean") return random.next() < 0.5 ? "true" : "false";
    if (type.startsWith("text") || type.startsWith("character")) return `'v${number}'`;
    if (type.startsWith("numeric")) return `${number}.${random.between(10, 99)}`;
    return String(number);
  }

  private async change(table: HistoryTable): Promise<void> {
    const { random } = this;
    const name = await this.nameOf(table);
    const columns = (await this.columnsOf(table)).filter((column) => !column.name.startsWith("id"));
    const column = columns.length === 0 ? null : random.choose(columns);
    const quoted = column === null ? "" : quoteIdentifier(column.name);
    const alter = `ALTER TABLE ${name}`;
    switch (random.between(0, 13)) {
      case 0:
      case 1:
      case 2: {
        const type = random.choose(newTypes);
        const value = this.value(type);
        const clause =
          !this.gentle && random.next() < 0.15 && type !== "boolean" && !type.endsWith("[]")
            ? ` DEFAULT (floor(random() * 100))::int${type === "text" || type.startsWith("varchar") ? "::text" : ""}`
            : random.next() < 0.5
              ? ` DEFAULT ${value}`
              : "";
        await this.run(`${alter} ADD ${quoteIdentifier(random.choose(namePool))} ${type}${clause}`);
        return;
      }
      case 3:
        if (column !== null) await this.run(`${alter} DROP ${quoted}`);
        return;
      case 4:
      case 5:
        if (column !== null) await this.run(`${alter} RENAME ${quoted} TO ${quoteIdentifier(random.choose(namePool))}`);
        return;
      case 6:
      case 7:
        if (column !== null && wider[column.type] !== undefined) {
          const using =
            !this.gentle && random.next() < 0.1 && !/^char|\]$/.test(column.type) ? ` USING ${quoted} + 1` : "";
          await this.run(`${alter} ALTER ${quoted} TYPE ${random.choose(wider[column.type])}${using}`);
        }
        return;
      case 8:
        if (column !== null && !this.gentle)
          await this.run(`${alter} ALTER ${quoted} TYPE text USING ${quoted}::text || 'x'`);
        return;
      case 9:
        if (this.gentle) return;
        if (column !== null && !/^(char|text|boolean)|\]$/.test(column.type)) {
          await this.run(`${alter} ALTER ${quoted} TYPE ${column.type} USING ${quoted} - 1`);
        }
        return;
      case 10:
        await this.run(`${alter} RENAME TO ${quoteIdentifier(`h${table.oid}_${random.between(1, 3)}`)}`);
        return;
      case 11:
        await this.run(`${alter} SET SCHEMA ${name.startsWith('"public"') ? "other" : "public"}`);
        return;
      case 12:
        if (table.keyed) await this.changeKey(table, alter);
        return;
      default:
        if (column !== null) {
          await this.run(
            `${alter} DROP ${quoted}, ADD ${quoted} ${column.type}${random.next() < 0.5 ? " DEFAULT NULL" : ""}`,
          );
        }
    }
  }

  private async changeKey(table: HistoryTable, alter: string): Promise<void> {
    const { random } = this;
    if (random.next() < 0.4) {
      await this.run(`${alter} REPLICA IDENTITY ${random.choose(["DEFAULT", "FULL"])}`);
      return;
    }
    const { rows } = await this.client.query<{ name: string }>(
      "SELECT conname AS name FROM pg_constraint WHERE conrelid = $1::oid AND contype = 'p'",
      [table.oid],
    );
    const drop = rows.map((row) => `DROP CONSTRAINT ${quoteIdentifier(row.name)}, `).join("");
    await this.run(`${alter} ${drop}ADD PRIMARY KEY (${random.choose(["id", "id2", "id2, id"])})`);
  }

  private async nameOf(table: HistoryTable): Promise<string> {
    return quoteTable(await this.placeOf(table));
  }

  private async placeOf(table: HistoryTable): Promise<{ schema: string; name: string }> {
    const { rows } = await this.client.query<{ schema: string; name: string }>(
      "SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid",
      [table.oid],
    );
    return rows[0];
  }

  private async columnsOf(table: HistoryTable): Promise<Column[]> {
    const { rows } = await this.client.query<Column>(
      `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
        WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum`,
      [table.oid],
    );
    return rows;
  }

  /** Where the tables are now. */
  async places(): Promise<{ schema: string; name: string }[]> {
    const places: { schema: string; name: string }[] = [];
    for (const table of this.tables) places.push(await this.placeOf(table));
    return places;
  }
}

import { randomUUID } from "node:crypto";
import { SqlFailure } from "./sql-failure";
import type { SqlRow, SqlSession } from "./sql-session";
import { sqlName, sqlText } from "./sql-text";
import type { StagedAccess } from "./staged-relation";

export interface WarehouseOptions {
  catalog: string;
  /** has the table of writers, and the tables that name no schema of their own */
  schema: string;
  /** of the applier, which has one process at a time */
  writer: string;
  access: StagedAccess;
  /** statements at a time */
  parallelMax: number;
}

const takeOverAttempts = 5;

/**
 * One process's right to write: an *epoch* in the table of writers, which every statement with an effect looks at as it
 * runs. A new epoch begins at a start, and whenever nobody knows what became of a statement; what was sent before, and may
 * still run or wait, then has no effect any more (docs/ARCHITECTURE.md).
 */
export class Warehouse {
  static readonly writersTable = "_sluice_writers";
  /** of the epoch: what a table was found to be under another one isn't known any more */
  generation = 0;
  private session: SqlSession | null = null;
  private epoch = "";
  private taking: Promise<number> | null = null;
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(
    readonly options: WarehouseOptions,
    private readonly open: () => Promise<SqlSession>,
  ) {}

  private get writers(): string {
    return sqlName(this.options.catalog, this.options.schema, Warehouse.writersTable);
  }

  /** The full name of a table, quoted. */
  table(place: { schema: string; name: string }): string {
    return sqlName(this.options.catalog, place.schema, place.name);
  }

  /** The name that a table is renamed to: Spark's own catalog takes none with the catalog's. */
  renamed(place: { schema: string; name: string }): string {
    return this.options.access.form === "read_files" ? this.table(place) : sqlName(place.schema, place.name);
  }

  /** The generation in which statements can be sent now. @throws SqlFailure */
  async ready(): Promise<number> {
    if (this.session !== null) return this.generation;
    this.taking ??= this.takeOver().finally(() => {
      this.taking = null;
    });
    return this.taking;
  }

  private async takeOver(): Promise<number> {
    const session = await this.open();
    const epoch = randomUUID();
    try {
      await besideOthers(() => this.writeEpoch(session, epoch));
    } catch (thrown) {
      await session.close();
      throw thrown;
    }
    this.session = session;
    this.epoch = epoch;
    return ++this.generation;
  }

  private async writeEpoch(session: SqlSession, epoch: string): Promise<void> {
    const create = `CREATE TABLE IF NOT EXISTS ${this.writers} (writer STRING, epoch STRING) USING DELTA`;
    try {
      await session.run(create);
    } catch (thrown) {
      if (!(thrown instanceof SqlFailure) || thrown.kind !== "missing-object") throw thrown;
      await session.run(`CREATE SCHEMA IF NOT EXISTS ${sqlName(this.options.catalog, this.options.schema)}`);
      await session.run(create);
    }
    await session.run(`MERGE INTO ${this.writers} w USING (SELECT ${sqlText(this.options.writer)} AS writer, ${sqlText(epoch)} AS epoch) s
ON w.writer = s.writer
WHEN MATCHED THEN UPDATE SET epoch = s.epoch
WHEN NOT MATCHED THEN INSERT (writer, epoch) VALUES (s.writer, s.epoch)`);
  }

  /** What a table is marked with when it is opened: so no statement that had begun before commits to it. */
  get fence(): string {
    return this.epoch;
  }

  /** A query of one row, `_token`, which fails when the epoch is over. */
  guard(token: string): string {
    const failure = `raise_error(${sqlText(`sluice: another process writes for ${this.options.writer} now`)})`;
    return `SELECT IF(max(epoch) <=> ${sqlText(this.epoch)}, ${sqlText(token)}, ${failure}) AS _token FROM ${this.writers} WHERE writer = ${sqlText(this.options.writer)}`;
  }

  /** Runs a statement of a generation. One whose outcome nobody knows ends it, and so does the end of the epoch. @throws SqlFailure */
  async run(generation: number, statement: string): Promise<SqlRow[]> {
    if (this.running >= this.options.parallelMax) await new Promise<void>((resolve) => this.waiting.push(resolve));
    this.running++;
    try {
      const { session } = this;
      if (session === null || generation !== this.generation) {
        throw new SqlFailure("conflict", "the session with the warehouse was lost meanwhile", "none", {
          remedy: "It is tried again by itself.",
        });
      }
      try {
        return await session.run(statement);
      } catch (thrown) {
        const isOver =
          thrown instanceof SqlFailure &&
          (thrown.outcome === "unknown" || thrown.condition === "USER_RAISED_EXCEPTION");
        if (isOver && this.session === session) {
          this.session = null;
          // What else runs there ends by itself, or with the session.
          await session.close();
        }
        throw thrown;
      }
    } finally {
      this.running--;
      this.waiting.shift()?.();
    }
  }

  /** The writer writes no more: it leaves the table of writers, which goes with the last one. */
  async leave(): Promise<void> {
    const generation = await this.ready();
    const { writer } = this.options;
    const mine = `DELETE FROM ${this.writers} WHERE writer = ${sqlText(writer)}`;
    await besideOthers(() => this.run(generation, mine));
    const [left] = await this.run(generation, `SELECT CAST(count(*) AS STRING) AS n FROM ${this.writers}`);
    if (left.n === "0") await this.run(generation, `DROP TABLE ${this.writers}`);
  }

  async close(): Promise<void> {
    const { session } = this;
    this.session = null;
    await session?.close();
  }
}

/** Again, as long as only other writers of the table of writers were first. */
async function besideOthers<T>(write: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await write();
    } catch (thrown) {
      if (!(thrown instanceof SqlFailure) || thrown.kind !== "conflict" || attempt === takeOverAttempts) throw thrown;
    }
  }
}

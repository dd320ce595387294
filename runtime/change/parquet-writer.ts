import { type DuckDBConnection, type DuckDBDataChunk, DuckDBInstance } from "@duckdb/node-api";
import { quoteIdentifier, quoteLiteral } from "../postgres/identifier";
import { changeOp } from "./change-op";
import { chunkRows, createChunk, fillChunk } from "./duckdb-chunk";
import type { SealedRows } from "./spool";

export interface ParquetWriterOptions {
  /** DuckDB's memory limit; default 512 MiB */
  memoryBytesMax?: number;
  /** default 2 */
  threads?: number;
}

export interface ChangeCounts {
  rows: number;
  inserts: number;
  updates: number;
  deletes: number;
}

/** Copies of a large value that DuckDB holds at a time: the chunk's, the table's, the page's, its compressed form. */
const largeRowFactor = 6;

const kibibytes = (bytes: number) => `${Math.ceil(bytes / 1024)}KiB`;

/** Writes sealed rows as Parquet (zstd) through DuckDB. One write at a time for each connection; others wait. */
export class ParquetWriter {
  private queue: Promise<unknown> = Promise.resolve();
  private tables = 0;

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly memoryBytesMax: number,
  ) {}

  static async open(options: ParquetWriterOptions = {}): Promise<ParquetWriter> {
    const memoryBytesMax = options.memoryBytesMax ?? 512 * 1024 * 1024;
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: kibibytes(memoryBytesMax),
      threads: String(options.threads ?? 2),
      // Row groups may be written as they are ready: changes carry their order, snapshots have none.
      preserve_insertion_order: "false",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    return new ParquetWriter(instance, await instance.connect(), memoryBytesMax);
  }

  /** Creates the file at `path`; it isn't flushed to disk. */
  write(sealed: SealedRows, path: string): Promise<void> {
    const done = this.queue.then(() => this.writeNow(sealed, path));
    this.queue = done.catch(() => {});
    return done;
  }

  /** Rows of a file of changes whose ordinal is below `ordinalEnd`. */
  async countChanges(path: string, ordinalEnd: number): Promise<ChangeCounts> {
    const count = (op: number) => `count(*) FILTER (_op = ${op})::INTEGER`;
    const reader = await this.connection.runAndReadAll(
      `SELECT count(*)::INTEGER, ${count(changeOp.insert)}, ${count(changeOp.update)}, ${count(changeOp.delete)}
         FROM read_parquet(${quoteLiteral(path)}) WHERE _ordinal < ${ordinalEnd}`,
    );
    const [rows, inserts, updates, deletes] = reader.getRows()[0] as number[];
    return { rows, inserts, updates, deletes };
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.queue;
    this.connection.closeSync();
    this.instance.closeSync();
  }

  /** A row of hundreds of megabytes needs more than the limit; what it needs is bounded by the gateway's rowBytesMax. */
  private async writeNow(sealed: SealedRows, path: string): Promise<void> {
    const heapBytes = sealed.columns.reduce((sum, { buffer }) => sum + buffer.heapLength, 0);
    const neededBytes = this.memoryBytesMax / 2 + largeRowFactor * heapBytes;
    if (neededBytes <= this.memoryBytesMax) {
      await this.writeTable(sealed, path);
      return;
    }
    await this.connection.run(`SET memory_limit = '${kibibytes(neededBytes)}'`);
    try {
      await this.writeTable(sealed, path);
    } finally {
      await this.connection.run(`SET memory_limit = '${kibibytes(this.memoryBytesMax)}'`);
    }
  }

  private async writeTable(sealed: SealedRows, path: string): Promise<void> {
    const table = `rows_${this.tables++}`;
    const columns = sealed.columns.map(({ name, duckdbType }) => `${quoteIdentifier(name)} ${duckdbType}`);
    await this.connection.run(`CREATE TEMP TABLE ${table} (${columns.join(", ")})`);
    try {
      await this.append(sealed, table);
      const options = ["FORMAT parquet", "COMPRESSION zstd", "ROW_GROUP_SIZE 122880"];
      // DuckDB 1.5 takes 0 and -0 for one entry of a dictionary.
      if (sealed.columns.some(({ buffer }) => buffer.hasMinusZero(sealed.rows)))
        options.push("DICTIONARY_SIZE_LIMIT 0");
      await this.connection.run(`COPY ${table} TO ${quoteLiteral(path)} (${options.join(", ")})`);
    } finally {
      await this.connection.run(`DROP TABLE ${table}`);
    }
  }

  private async append(sealed: SealedRows, table: string): Promise<void> {
    const appender = await this.connection.createAppender(table);
    try {
      const chunk: DuckDBDataChunk = createChunk(sealed.columns.map((_, index) => appender.columnType(index)));
      for (let first = 0; first < sealed.rows; first += chunkRows) {
        fillChunk(chunk, sealed.columns, first, Math.min(chunkRows, sealed.rows - first));
        appender.appendDataChunk(chunk);
      }
      appender.flushSync();
    } finally {
      appender.closeSync();
    }
  }
}

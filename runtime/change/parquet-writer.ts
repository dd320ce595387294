import { type DuckDBConnection, type DuckDBDataChunk, DuckDBInstance } from "@duckdb/node-api";
import { quoteIdentifier, quoteLiteral } from "../postgres/identifier";
import { changeOp } from "./change-op";
import { chunkRows, createChunk, fillChunk } from "./duckdb-chunk";
import type { SealedColumn, SealedRows } from "./spool";

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

/** A Parquet file (zstd) in the making: rows are gathered in DuckDB's memory until it is written. */
export class ParquetFile {
  rows = 0;
  /** of the source's messages */
  bytes = 0;
  private hasMinusZero = false;

  private heapBytes = 0;

  private constructor(
    private readonly memory: WriterMemory,
    private readonly connection: DuckDBConnection,
    private readonly table: string,
  ) {}

  /** @param connection takes one statement at a time */
  static async open(
    memory: WriterMemory,
    connection: DuckDBConnection,
    table: string,
    columns: SealedColumn[],
  ): Promise<ParquetFile> {
    const types = columns.map(({ name, duckdbType }) => `${quoteIdentifier(name)} ${duckdbType}`);
    await connection.run(`CREATE TEMP TABLE ${table} (${types.join(", ")})`);
    return new ParquetFile(memory, connection, table);
  }

  /** Copies the rows; their buffers may be used again after it. */
  async append(sealed: SealedRows): Promise<void> {
    const heapBytes = sealed.columns.reduce((sum, { buffer }) => sum + buffer.heapLength, 0);
    this.heapBytes += heapBytes;
    await this.memory.reserve(heapBytes);
    const appender = await this.connection.createAppender(this.table);
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
    this.rows += sealed.rows;
    this.bytes += sealed.bytes;
    this.hasMinusZero ||= sealed.columns.some(({ buffer }) => buffer.hasMinusZero(sealed.rows));
  }

  /** Creates the file at `path`, as often as is asked; it isn't flushed to disk. */
  async write(path: string): Promise<void> {
    const options = ["FORMAT parquet", "COMPRESSION zstd", "ROW_GROUP_SIZE 122880"];
    // DuckDB 1.5 takes 0 and -0 for one entry of a dictionary.
    if (this.hasMinusZero) options.push("DICTIONARY_SIZE_LIMIT 0");
    await this.connection.run(`COPY ${this.table} TO ${quoteLiteral(path)} (${options.join(", ")})`);
  }

  /** Gives the rows' memory back. */
  async drop(): Promise<void> {
    await this.connection.run(`DROP TABLE ${this.table}`);
    await this.memory.reserve(-this.heapBytes);
    this.heapBytes = 0;
  }
}

/**
 * DuckDB's memory limit. Rows of hundreds of megabytes need more than the configured one; what they need is bounded by
 * the gateway's rowBytesMax.
 */
class WriterMemory {
  private heapBytes = 0;
  private limitBytes: number;

  constructor(
    private readonly connection: DuckDBConnection,
    private readonly memoryBytesMax: number,
  ) {
    this.limitBytes = memoryBytesMax;
  }

  /** @param bytes of long values that come (or, negative, have gone) */
  async reserve(bytes: number): Promise<void> {
    this.heapBytes += bytes;
    const limitBytes = Math.max(this.memoryBytesMax, this.memoryBytesMax / 2 + largeRowFactor * this.heapBytes);
    if (limitBytes === this.limitBytes) return;
    this.limitBytes = limitBytes;
    await this.connection.run(`SET memory_limit = '${kibibytes(limitBytes)}'`);
  }
}

/** Writes sealed rows as Parquet (zstd) through DuckDB. One write at a time for each connection; others wait. */
export class ParquetWriter {
  private queue: Promise<unknown> = Promise.resolve();
  private tables = 0;

  private constructor(
    private readonly instance: DuckDBInstance,
    private readonly connection: DuckDBConnection,
    private readonly memory: WriterMemory,
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
    const memory = new WriterMemory(await instance.connect(), memoryBytesMax);
    return new ParquetWriter(instance, await instance.connect(), memory);
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

  /** A connection of its own, for files that are made beside others; to be closed by `closeSync`. */
  connect(): Promise<DuckDBConnection> {
    return this.instance.connect();
  }

  /** A file in the making on such a connection. */
  openFile(connection: DuckDBConnection, columns: SealedColumn[]): Promise<ParquetFile> {
    return ParquetFile.open(this.memory, connection, `rows_${this.tables++}`, columns);
  }

  private async writeNow(sealed: SealedRows, path: string): Promise<void> {
    const file = await this.openFile(this.connection, sealed.columns);
    try {
      await file.append(sealed);
      await file.write(path);
    } finally {
      await file.drop();
    }
  }
}

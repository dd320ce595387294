import { mkdir, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import {
  DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBDataChunk,
  DuckDBInstance,
  INTEGER,
  UINTEGER,
} from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import { SluiceError } from "../errors";

const vectorRows = duckdb.vector_size();

/** Queries of one connection, one at a time; temporary tables are its own. */
export class DuckDbQueries {
  constructor(protected readonly connection: DuckDBConnection) {}

  async run(sql: string): Promise<void> {
    await this.connection.run(sql).catch(rethrow);
  }

  /** All rows, as JavaScript values; for small results. */
  async rows<T>(sql: string): Promise<T[]> {
    const reader = await this.connection.runAndReadAll(sql).catch(rethrow);
    return reader.getRowObjectsJS() as T[];
  }

  disconnect(): void {
    this.connection.disconnectSync();
  }
}

/** DuckDB in memory, spilling to a folder: finds rows in Parquet files and writes new ones. */
export class DuckDbSession extends DuckDbQueries {
  private constructor(
    private readonly instance: DuckDBInstance,
    connection: DuckDBConnection,
    /** for a query beside one of the session's own; of its tables it sees those that aren't temporary */
    readonly beside: DuckDbQueries,
    /** for what needn't outlive the session */
    readonly temporaryPath: string,
  ) {
    super(connection);
  }

  /** `temporaryPath`: a folder of its own; emptied first. */
  static async open(options: {
    memoryBytesMax: number;
    temporaryPath: string;
    threads?: number;
  }): Promise<DuckDbSession> {
    await rm(options.temporaryPath, { recursive: true, force: true });
    await mkdir(options.temporaryPath, { recursive: true });
    const instance = await DuckDBInstance.create(":memory:", {
      memory_limit: `${Math.floor(options.memoryBytesMax / 1024)}KiB`,
      threads: String(options.threads ?? 2),
      temp_directory: options.temporaryPath,
      preserve_insertion_order: "false",
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
    });
    const [connection, beside] = [await instance.connect(), await instance.connect()];
    // Settings of extensions can't be given above. Caches of this process would grow with every file, footers included, and
    // most files are read once or twice before they are merged; the system's cache has them.
    for (const each of [connection, beside]) {
      await each.run(
        "SET TimeZone = 'UTC'; SET errors_as_json = true; SET parquet_metadata_cache = false; SET enable_external_file_cache = false",
      );
    }
    return new DuckDbSession(instance, connection, new DuckDbQueries(beside), options.temporaryPath);
  }

  /** Chunks of up to 2,048 rows as they come. */
  async chunks(sql: string, onChunk: (chunk: DuckDBDataChunk) => void | Promise<void>): Promise<void> {
    const result = await this.connection.stream(sql).catch(rethrow);
    for (;;) {
      const chunk = await result.fetchChunk().catch(rethrow);
      if (chunk === null || chunk.rowCount === 0) return;
      await onChunk(chunk);
    }
  }

  /** Adds rows `(fileIndex INTEGER, row UINTEGER)` to a temporary table; whole arrays are copied. */
  async appendPositions(table: string, fileIndex: number, rows: Uint32Array<ArrayBuffer>): Promise<void> {
    const appender = await this.connection.createAppender(table, "main", "temp").catch(rethrow);
    const chunk = DuckDBDataChunk.create([INTEGER, UINTEGER], 0);
    const indexes = new Int32Array(vectorRows).fill(fileIndex);
    for (let first = 0; first < rows.length; first += vectorRows) {
      const count = Math.min(vectorRows, rows.length - first);
      chunk.reset();
      const [files, positions] = [0, 1].map((column) => duckdb.data_chunk_get_vector(chunk.chunk, column));
      duckdb.copy_data_to_vector(files, 0, indexes.buffer, 0, count * 4);
      duckdb.copy_data_to_vector(positions, 0, rows.buffer, rows.byteOffset + first * 4, count * 4);
      chunk.rowCount = count;
      appender.appendDataChunk(chunk);
    }
    appender.closeSync();
  }

  /** Adds to a table `(INTEGER, INTEGER, BIT)` a file's index, the row after the last of `rows` (which ascend), and their bits. */
  async insertBits(table: string, fileIndex: number, rows: Uint32Array): Promise<void> {
    const end = rows.length === 0 ? 0 : rows[rows.length - 1] + 1;
    const bytes = new Uint8Array(Math.max(1, Math.ceil(end / 8)));
    for (const row of rows) bytes[row >>> 3] |= 0x80 >>> (row & 7);
    const values = [fileIndex, end, new DuckDBBlobValue(bytes)];
    await this.connection.run(`INSERT INTO ${table} VALUES ($1, $2, $3::BLOB::BIT)`, values).catch(rethrow);
  }

  async close(): Promise<void> {
    this.beside.disconnect();
    this.disconnect();
    this.instance.closeSync();
    await rm(this.temporaryPath, { recursive: true, force: true });
    await rmdir(dirname(this.temporaryPath)).catch(() => {}); // another session's folder may be in it
  }
}

/** An error that DuckDB tells, of kind `destination`. */
export class DuckDbError extends SluiceError {
  constructor(
    /** DuckDB's own kind, as `IO` or `Invalid Input`; "" where it tells none */
    readonly exceptionType: string,
    message: string,
    cause: unknown,
  ) {
    super("destination", `DuckDB: ${exceptionType === "" ? "" : `${exceptionType} Error: `}${message}`, {
      cause,
      remedy:
        exceptionType === outOfMemory
          ? "Raise the pipeline's memoryBytesMax, or free space in the destination folder, into which queries spill."
          : "Check that staging and destination folders are whole and readable, and that the disk has free space.",
    });
  }
}

const outOfMemory = "Out of Memory";

export function isOutOfMemory(error: unknown): boolean {
  return error instanceof DuckDbError && error.exceptionType === outOfMemory;
}

/** As `errors_as_json` has it; in front of it may be words. */
function rethrow(cause: unknown): never {
  const text = cause instanceof Error ? cause.message : String(cause);
  const report = reportIn(text);
  throw new DuckDbError(report?.exception_type ?? "", report?.exception_message ?? text, cause);
}

function reportIn(text: string): { exception_type: string; exception_message: string } | null {
  try {
    const report = JSON.parse(text.slice(Math.max(0, text.indexOf("{")))) as Record<string, unknown>;
    const { exception_type, exception_message } = report;
    if (typeof exception_type !== "string" || typeof exception_message !== "string") return null;
    return { exception_type, exception_message };
  } catch {
    return null;
  }
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** `read_parquet` over files by name; columns that one of them lacks are NULL in its rows. */
export function parquet(paths: string[], options = ""): string {
  return `read_parquet([${paths.map(literal).join(", ")}], union_by_name = true, hive_partitioning = false${options})`;
}

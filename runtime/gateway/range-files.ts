import type { DuckDBConnection } from "@duckdb/node-api";
import type { ParquetFile, ParquetWriter } from "../change/parquet-writer";
import type { SealedRows } from "../change/spool";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import type { Stager } from "./stager";

/** Rows and bytes of one Parquet file of a snapshot: four row groups. */
const fileRowsMax = 491_520;
const fileBytesMax = 64 * 1024 * 1024;

/** The files of one range, one after the other: while one is written, the next gathers rows. */
export class RangeFiles {
  private readonly files: StagedFile[] = [];
  private readonly open: ParquetFile[] = [];
  private current: ParquetFile | null = null;
  private writing: Promise<void> = Promise.resolve();
  private opened = 0;

  private constructor(
    private readonly stager: Stager,
    private readonly writer: ParquetWriter,
    private readonly connections: readonly [DuckDBConnection, DuckDBConnection],
  ) {}

  /** Two connections: a write occupies one of them, and rows are appended on the other meanwhile. */
  static async open({ stager, writer }: { stager: Stager; writer: ParquetWriter }): Promise<RangeFiles> {
    return new RangeFiles(stager, writer, [await writer.connect(), await writer.connect()]);
  }

  /** Takes the rows; their buffers are free after it. */
  async take(sealed: SealedRows): Promise<void> {
    if (this.current === null) {
      this.current = await this.writer.openFile(this.connections[this.opened++ % 2], sealed.columns);
      this.open.push(this.current);
    }
    await this.current.append(sealed);
    if (this.current.rows < fileRowsMax && this.current.bytes < fileBytesMax) return;
    await this.writeCurrent();
  }

  /** The files in order, all durable. */
  async finish(): Promise<StagedFile[]> {
    await this.writeCurrent();
    await this.writing;
    return this.files;
  }

  async close(): Promise<void> {
    await this.writing.catch(() => {});
    for (const file of this.open) await file.drop().catch(() => {});
    for (const connection of this.connections) connection.closeSync();
  }

  /** Starts to write the file, once the one before is durable. */
  private async writeCurrent(): Promise<void> {
    const file = this.current;
    if (file === null) return;
    this.current = null;
    await this.writing;
    this.writing = this.write(file);
    this.writing.catch(() => {});
  }

  private async write(file: ParquetFile): Promise<void> {
    this.files.push(await this.stager.writeFile(file));
    this.open.splice(this.open.indexOf(file), 1);
    await file.drop();
    failpoint("gateway.after-snapshot-file");
  }
}

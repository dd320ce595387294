import { ParquetFile } from "../change/parquet-writer";
import type { SealedRows } from "../change/sealed-rows";
import { failpoint } from "../failpoint";
import type { StagedFile } from "../staging/staged-commit";
import type { Stager } from "./stager";

/** Rows and bytes of one Parquet file of a snapshot: four row groups. */
const fileRowsMax = 491_520;
const fileBytesMax = 64 * 1024 * 1024;
/** Of the compressed pages that wait in memory for the file's end. */
const storedBytesMax = 32 * 1024 * 1024;

/** The files of one range, one after the other: while one is written, the next gathers rows. */
export class RangeFiles {
  private readonly files: StagedFile[] = [];
  private current: ParquetFile | null = null;
  private writing: Promise<void> = Promise.resolve();

  constructor(private readonly stager: Stager) {}

  /** Takes the rows; their buffers are free after it. */
  async take(sealed: SealedRows): Promise<void> {
    this.current ??= new ParquetFile(sealed.columns);
    await this.current.append(sealed);
    const { rows, bytes, storedBytes } = this.current;
    if (rows >= fileRowsMax || bytes >= fileBytesMax || storedBytes >= storedBytesMax) await this.writeCurrent();
  }

  /** The files in order, all durable. */
  async finish(): Promise<StagedFile[]> {
    await this.writeCurrent();
    await this.writing;
    return this.files;
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.writing.catch(() => {});
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
    failpoint("gateway.after-snapshot-file");
  }
}

import { open } from "node:fs/promises";
import { type BoundsCollector, boundsCollector } from "./parquet-bounds";
import { compression } from "./parquet-compression";
import { type ChunkDescription, footer, pageHeader, type RowGroupDescription } from "./parquet-metadata";
import { encodePage, PageBuffer, type PlainPage, rowsOfPage } from "./parquet-page";
import { type LeafType, leafTypeOf, type ParquetColumn } from "./parquet-schema";
import type { SealedColumn, SealedRows } from "./sealed-rows";

const magic = Buffer.from("PAR1");
/** A row group ends at either. */
const groupRowsMax = 122_880;
const groupBytesMax = 128 * 1024 * 1024;
/** Pages that are being compressed; a page that is larger is so alone. */
const inFlightBytesMax = 4 * 1024 * 1024;
/** Pages up to this are written at once. */
const joinedBytesMax = 4 * 1024 * 1024;

/** A compressed page, with its header. */
interface StoredPage {
  header: Buffer;
  bytes: Buffer;
  entries: number;
}

/** One column of a row group in the making. */
class ColumnChunk {
  readonly pages: StoredPage[] = [];
  private readonly bounds: BoundsCollector;
  private plainBytes = 0;
  private entries = 0;
  private values = 0;

  constructor({ physicalType, convertedType }: LeafType) {
    this.bounds = boundsCollector(physicalType, convertedType !== undefined);
  }

  add(page: PlainPage): void {
    this.bounds.add(page);
    this.plainBytes += page.end - page.start;
    this.entries += page.entries;
    this.values += page.values;
  }

  describe(offset: number): ChunkDescription {
    const { entries, values } = this;
    const headers = this.pages.reduce((sum, { header }) => sum + header.length, 0);
    const bytes = this.pages.reduce((sum, page) => sum + page.bytes.length, headers);
    const plainBytes = this.plainBytes + headers;
    return { offset, bytes, plainBytes, entries, values, bounds: this.bounds.bounds() };
  }
}

interface RowGroup {
  rows: number;
  plainBytes: number;
  chunks: ColumnChunk[];
}

/** Where a page's compressed bytes are in the file that was written. */
export interface PageLocation {
  offset: number;
  bytes: number;
  entries: number;
}

/** What free memory of pages may take. */
const pooledBytesMax = 16 * 1024 * 1024;
const bufferBytesMin = 64 * 1024;

/** Memory of pages, of all files: used again, for it isn't on the garbage collector's heap but counted by it. */
class PagePool {
  private readonly free: PageBuffer[] = [];
  private freeBytes = 0;

  readonly take = (bytes: number): PageBuffer => {
    const index = this.free.findIndex(({ length }) => length >= bytes && length <= 2 * bytes + bufferBytesMin);
    if (index < 0) return new PageBuffer(Math.ceil(bytes / bufferBytesMin) * bufferBytesMin);
    const [buffer] = this.free.splice(index, 1);
    this.freeBytes -= buffer.length;
    return buffer;
  };

  give(buffer: PageBuffer): void {
    if (buffer.length > pooledBytesMax) return;
    this.free.push(buffer);
    this.freeBytes += buffer.length;
    // What hasn't been wanted for longest goes.
    while (this.freeBytes > pooledBytesMax) this.freeBytes -= this.free.shift()?.length ?? 0;
  }
}

const pool = new PagePool();

/**
 * A Parquet file (PLAIN, zstd) in the making, straight from the column buffers: its compressed pages are gathered in
 * memory until it is written.
 */
export class ParquetFile {
  rows = 0;
  /** of the source's messages */
  bytes = 0;
  /** of its pages, compressed: what it holds in memory */
  storedBytes = 0;
  private readonly leaves: LeafType[];
  private readonly groups: RowGroup[] = [];
  private compressing: Promise<void>[] = [];
  private compressingBytes = 0;
  /** what is known of all pages; null while there may be more */
  private described: RowGroupDescription[] | null = null;

  constructor(private readonly columns: readonly ParquetColumn[]) {
    this.leaves = columns.map(({ type }) => leafTypeOf(type));
  }

  /** Compresses the rows; their buffers may be used again after it. One call at a time. */
  async append({ columns, rows, bytes }: SealedRows): Promise<void> {
    this.described = null;
    for (let first = 0; first < rows; ) {
      const group = this.openGroup();
      const count = Math.min(rows - first, groupRowsMax - group.rows);
      for (const [index, { buffer }] of columns.entries()) await this.appendColumn(group, index, buffer, first, count);
      group.rows += count;
      first += count;
    }
    await this.compressed();
    this.rows += rows;
    this.bytes += bytes;
  }

  /** Creates the file at `path`, as often as is asked; it isn't flushed to disk. */
  async write(path: string): Promise<void> {
    const file = await open(path, "w");
    try {
      await file.writeFile(magic);
      for (const { chunks } of this.groups) {
        for (const { pages } of chunks) {
          const parts = pages.flatMap(({ header, bytes }) => [header, bytes]);
          const isSmall = parts.reduce((sum, part) => sum + part.length, 0) < joinedBytesMax;
          await file.writeFile(isSmall ? Buffer.concat(parts) : parts);
        }
      }
      await file.writeFile(footer(this.columns, compression.codec, this.describe()));
    } finally {
      await file.close();
    }
  }

  /** Where the pages of a column are, in order; [] when there is none of this name. */
  locate(name: string): PageLocation[] {
    const column = this.columns.findIndex((one) => one.name === name);
    if (column < 0) return [];
    const starts = this.describe().map(({ chunks }) => chunks[column].offset);
    return this.groups.flatMap(({ chunks }, group) => {
      let at = starts[group];
      return chunks[column].pages.map(({ header, bytes, entries }) => {
        const offset = at + header.length;
        at = offset + bytes.length;
        return { offset, bytes: bytes.length, entries };
      });
    });
  }

  private describe(): RowGroupDescription[] {
    if (this.described !== null) return this.described;
    let offset = magic.length;
    this.described = this.groups.map(({ rows, chunks }) => ({
      rows,
      chunks: chunks.map((chunk) => {
        const description = chunk.describe(offset);
        offset += description.bytes;
        return description;
      }),
    }));
    return this.described;
  }

  private openGroup(): RowGroup {
    const last = this.groups.at(-1);
    if (last !== undefined && last.rows < groupRowsMax && last.plainBytes < groupBytesMax) return last;
    const group = { rows: 0, plainBytes: 0, chunks: this.leaves.map((leaf) => new ColumnChunk(leaf)) };
    this.groups.push(group);
    return group;
  }

  private async appendColumn(
    group: RowGroup,
    index: number,
    buffer: SealedColumn["buffer"],
    first: number,
    count: number,
  ): Promise<void> {
    const chunk = group.chunks[index];
    const end = first + count;
    for (let row = first; row < end; ) {
      const rows = rowsOfPage(buffer, row, end);
      const page = encodePage(buffer, this.leaves[index].physicalType, row, rows, pool.take);
      row += rows;
      chunk.add(page);
      group.plainBytes += page.end - page.start;
      await this.compress(chunk, page);
    }
  }

  /** Starts to; waits where much is being compressed already. */
  private async compress(chunk: ColumnChunk, { buffer, start, end, entries }: PlainPage): Promise<void> {
    const plainBytes = end - start;
    const stored: StoredPage = { header: magic, bytes: magic, entries };
    chunk.pages.push(stored);
    const done = compression
      .compress(buffer.bytes.subarray(start, end))
      .then((bytes) => {
        stored.bytes = bytes;
        stored.header = pageHeader(entries, plainBytes, bytes.length);
        this.storedBytes += bytes.length;
      })
      .finally(() => pool.give(buffer));
    done.catch(() => {});
    this.compressing.push(done);
    this.compressingBytes += plainBytes;
    if (this.compressingBytes >= inFlightBytesMax) await this.compressed();
  }

  private async compressed(): Promise<void> {
    const { compressing } = this;
    this.compressing = [];
    this.compressingBytes = 0;
    await Promise.all(compressing);
  }
}

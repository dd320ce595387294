import type { DuckDBDataChunk } from "@duckdb/node-api";
import type { DuckDbSession } from "./duckdb-session";
import type { WorkingTable } from "./working-table";

/** Columns that a query over the table's files gives positions by. */
export const positionColumns = "f.file_index::INTEGER AS file_index, f.file_row_number::UINTEGER AS file_row";

const bufferRows = 65_536;

/** Positions on their way into deletion vectors: typed arrays, no object for each row. */
export class PositionBuffer {
  private readonly buffers = new Map<number, { rows: Uint32Array; length: number }>();
  deleted = 0;

  constructor(private readonly working: WorkingTable) {}

  add(fileIndex: number, row: number): void {
    let buffer = this.buffers.get(fileIndex);
    if (buffer === undefined) {
      buffer = { rows: new Uint32Array(bufferRows), length: 0 };
      this.buffers.set(fileIndex, buffer);
    }
    buffer.rows[buffer.length++] = row;
    if (buffer.length === bufferRows) this.flushOne(fileIndex, buffer);
  }

  flush(): void {
    for (const [fileIndex, buffer] of this.buffers) this.flushOne(fileIndex, buffer);
  }

  private flushOne(fileIndex: number, buffer: { rows: Uint32Array; length: number }): void {
    this.deleted += this.working.delete(fileIndex, buffer.rows.subarray(0, buffer.length));
    buffer.length = 0;
  }
}

/** Loads the deletion vectors of the files that a chunk's first column names. */
export async function loadVectors(chunk: DuckDBDataChunk, working: WorkingTable): Promise<void> {
  const files = chunk.getColumnVector(0);
  for (let at = 0; at < chunk.rowCount; at++) {
    const fileIndex = files.getItem(at) as number;
    if (!working.isLoaded(fileIndex)) await working.load(fileIndex);
  }
}

/** Deletes the rows at the positions that a query gives (`positionColumns`). Returns how many were live. */
export async function deletePositions(session: DuckDbSession, working: WorkingTable, query: string): Promise<number> {
  const buffer = new PositionBuffer(working);
  await session.chunks(query, async (chunk) => {
    await loadVectors(chunk, working);
    const files = chunk.getColumnVector(0);
    const rows = chunk.getColumnVector(1);
    for (let at = 0; at < chunk.rowCount; at++) buffer.add(files.getItem(at) as number, rows.getItem(at) as number);
  });
  buffer.flush();
  return buffer.deleted;
}

import { DuckDBDataChunk, type DuckDBType } from "@duckdb/node-api";
import duckdb from "@duckdb/node-bindings";
import type { SealedColumn } from "./spool";

/** Rows of a data chunk: DuckDB's vector size. */
export const chunkRows = duckdb.vector_size();

/** A value's entry in a VARCHAR or BLOB vector (duckdb_string_t): up to 12 bytes inline, else a prefix and a pointer. */
const entryBytes = 16;
const inlineMax = 12;
const entries = new ArrayBuffer(chunkRows * entryBytes);
const entryBytesView = new Uint8Array(entries);
const entryWords = new Uint32Array(entries);

/** Fills a chunk with rows `[first, first + count)`: whole columns are copied, no value is made. */
export function fillChunk(chunk: DuckDBDataChunk, columns: SealedColumn[], first: number, count: number): void {
  chunk.reset();
  for (const [index, { buffer }] of columns.entries()) {
    const vector = duckdb.data_chunk_get_vector(chunk.chunk, index);
    if (buffer.storage === "bytes") fillStrings(vector, buffer.ends, buffer.heap, first, count);
    else {
      duckdb.copy_data_to_vector(vector, 0, buffer.values, first * buffer.width, count * buffer.width);
    }
    duckdb.vector_ensure_validity_writable(vector);
    // Chunks start at multiples of the vector size: whole bytes, and whole 64-bit words as DuckDB has them.
    const validity = buffer.validity;
    duckdb.copy_data_to_vector_validity(
      vector,
      0,
      validity.buffer as ArrayBuffer,
      validity.byteOffset + first / 8,
      Math.ceil(count / 8),
    );
  }
  chunk.rowCount = count;
}

/**
 * The values' bytes go into the vector's own memory as one string; the entries then point into it. So a column costs
 * two calls, however many values it has.
 */
function fillStrings(vector: duckdb.Vector, ends: Uint32Array, heap: Buffer, first: number, count: number): void {
  const heapStart = first === 0 ? 0 : ends[first - 1];
  const heapEnd = ends[first + count - 1];
  let low = 0;
  let high = 0;
  if (heapEnd - heapStart > inlineMax) {
    duckdb.vector_assign_string_element_len(vector, 0, heap.subarray(heapStart, heapEnd));
    const entry = duckdb.vector_get_data(vector, entryBytes);
    const words = new DataView(entry.buffer, entry.byteOffset, entryBytes);
    low = words.getUint32(8, true);
    high = words.getUint32(12, true);
  }
  let start = heapStart;
  for (let row = 0; row < count; row++) {
    const end = ends[first + row];
    const length = end - start;
    const word = row * 4;
    entryWords[word] = length;
    if (length <= inlineMax) {
      entryWords[word + 1] = 0;
      entryWords[word + 2] = 0;
      entryWords[word + 3] = 0;
      let at = row * entryBytes + 4;
      for (let from = start; from < end; from++) entryBytesView[at++] = heap[from];
    } else {
      const at = row * entryBytes + 4;
      entryBytesView[at] = heap[start];
      entryBytesView[at + 1] = heap[start + 1];
      entryBytesView[at + 2] = heap[start + 2];
      entryBytesView[at + 3] = heap[start + 3];
      const pointer = low + (start - heapStart);
      entryWords[word + 2] = pointer >>> 0;
      entryWords[word + 3] = high + (pointer >= 4_294_967_296 ? 1 : 0);
    }
    start = end;
  }
  duckdb.copy_data_to_vector(vector, 0, entries, 0, count * entryBytes);
}

export function createChunk(types: readonly DuckDBType[]): DuckDBDataChunk {
  return DuckDBDataChunk.create(types, 0);
}

import { type FileHandle, open } from "node:fs/promises";
import { changeOp } from "./change-op";
import { compression } from "./parquet-compression";
import type { PageLocation, ParquetFile } from "./parquet-writer";

export interface ChangeCounts {
  rows: number;
  inserts: number;
  updates: number;
  deletes: number;
}

/** Where the operations and ordinals of a written file of changes are; of another file, nowhere. */
export interface ChangeLocations {
  ops: PageLocation[];
  ordinals: PageLocation[];
}

export function locateChanges(file: ParquetFile): ChangeLocations {
  return { ops: file.locate("_op"), ordinals: file.locate("_ordinal") };
}

/** Rows of a file of changes whose ordinal is below `ordinalEnd`. */
export async function countChanges(path: string, at: ChangeLocations, ordinalEnd: number): Promise<ChangeCounts> {
  const file = await open(path);
  try {
    const ops = await readColumn(file, at.ops, 4);
    const ordinals = await readColumn(file, at.ordinals, 8);
    const counts: ChangeCounts = { rows: 0, inserts: 0, updates: 0, deletes: 0 };
    for (let row = 0; row * 4 < ops.length; row++) {
      if (ordinals.readBigInt64LE(row * 8) >= BigInt(ordinalEnd)) continue;
      counts.rows++;
      const op = ops.readInt32LE(row * 4);
      if (op === changeOp.insert) counts.inserts++;
      else if (op === changeOp.update) counts.updates++;
      else if (op === changeOp.delete) counts.deletes++;
    }
    return counts;
  } finally {
    await file.close();
  }
}

/** The values of a column without NULLs, which stand at the end of its pages. */
async function readColumn(file: FileHandle, pages: readonly PageLocation[], width: number): Promise<Buffer> {
  const values: Buffer[] = [];
  for (const { offset, bytes, entries } of pages) {
    const { buffer } = await file.read(Buffer.alloc(bytes), 0, bytes, offset);
    const page = await compression.decompress(buffer);
    values.push(page.subarray(page.length - entries * width));
  }
  return Buffer.concat(values);
}

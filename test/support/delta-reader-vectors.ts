import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";

/** Deletion vectors, read by the text of the Delta protocol and of RoaringFormatSpec; shares no code with the runtime. */
interface Vector {
  storageType: string;
  pathOrInlineDv: string;
  offset?: number | null;
  sizeInBytes: number;
  cardinality: number | bigint;
}

/** 1 for each deleted row, up to the last; null when there are none. */
export async function deletedRows(tablePath: string, vector: Vector | null): Promise<Uint8Array | null> {
  if (vector === null) return null;
  const data = vectorData(tablePath, vector);
  if (data.readUInt32LE(0) !== 0x64_39_d3_d1) throw new Error("deletion vector: wrong magic number");
  const rows: number[] = [];
  let at = 12;
  for (let map = 0n; map < data.readBigUInt64LE(4); map++) {
    const key = data.readUInt32LE(at);
    at = readBitmap(data, at + 4, (low) => rows.push(key * 2 ** 32 + low));
  }
  if (rows.length !== Number(vector.cardinality)) {
    throw new Error(`deletion vector has ${rows.length} rows, its descriptor says ${vector.cardinality}`);
  }
  const marks = new Uint8Array((rows.at(-1) ?? -1) + 1);
  for (const row of rows) marks[row] = 1;
  return marks;
}

function vectorData(tablePath: string, { storageType, pathOrInlineDv, offset, sizeInBytes }: Vector): Buffer {
  if (storageType === "i") return decode85(pathOrInlineDv).subarray(0, sizeInBytes);
  const uuid = decode85(pathOrInlineDv.slice(-20)).toString("hex");
  const name = uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
  const file = readFileSync(join(tablePath, pathOrInlineDv.slice(0, -20), `deletion_vector_${name}.bin`));
  const start = offset ?? 1;
  if (file[0] !== 1 || file.readInt32BE(start) !== sizeInBytes) throw new Error(`${name}: wrong version or size`);
  const data = file.subarray(start + 4, start + 4 + sizeInBytes);
  if (crc32(data) !== file.readUInt32BE(start + 4 + sizeInBytes)) throw new Error(`${name}: wrong checksum`);
  return data;
}

/** One 32-bit bitmap in portable form; returns where it ends. */
function readBitmap(data: Buffer, start: number, onRow: (row: number) => void): number {
  let at = start;
  const cookie = data.readUInt32LE(at);
  const hasRuns = (cookie & 0xffff) === 12347;
  if (!hasRuns && cookie !== 12346) throw new Error(`roaring bitmap: cookie ${cookie}`);
  const containers = hasRuns ? (cookie >>> 16) + 1 : data.readUInt32LE(at + 4);
  at += hasRuns ? 4 : 8;
  const runFlags = hasRuns ? data.subarray(at, at + Math.ceil(containers / 8)) : Buffer.alloc(0);
  at += runFlags.length;
  const headers = at;
  at += containers * 4;
  if (!hasRuns || containers >= 4) at += containers * 4;
  for (let container = 0; container < containers; container++) {
    const high = data.readUInt16LE(headers + container * 4) * 65_536;
    const cardinality = data.readUInt16LE(headers + container * 4 + 2) + 1;
    if (hasRuns && (runFlags[container >> 3] & (1 << (container & 7))) !== 0) {
      const runs = data.readUInt16LE(at);
      at += 2;
      for (let run = 0; run < runs; run++, at += 4) {
        const first = data.readUInt16LE(at);
        for (let step = 0; step <= data.readUInt16LE(at + 2); step++) onRow(high + first + step);
      }
    } else if (cardinality <= 4096) {
      for (let index = 0; index < cardinality; index++, at += 2) onRow(high + data.readUInt16LE(at));
    } else {
      for (let low = 0; low < 65_536; low++) if ((data[at + (low >> 3)] & (1 << (low & 7))) !== 0) onRow(high + low);
      at += 8_192;
    }
  }
  return at;
}

function decode85(text: string): Buffer {
  const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  const bytes = Buffer.alloc((text.length / 5) * 4);
  for (let group = 0; group < text.length / 5; group++) {
    let value = 0;
    for (let digit = 0; digit < 5; digit++) value = value * 85 + alphabet.indexOf(text[group * 5 + digit]);
    bytes.writeUInt32BE(value, group * 4);
  }
  return bytes;
}

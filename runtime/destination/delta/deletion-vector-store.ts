import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DeletionVectorDescriptor } from "./actions";
import { decodeBase85, decodeUuid, encodeBase85, encodeUuid } from "./base85";
import {
  DeletionVectorFile,
  decodeDeletionVector,
  encodeDeletionVector,
  type RowSet,
  unframeDeletionVector,
} from "./deletion-vector";
import { damaged, failed, writeDurably } from "./delta-log";

/** Vectors up to this size stand in the log itself. */
const inlineBytesMax = 512;

/** Where a vector's file is; null when it is inline. */
export function deletionVectorPath(tablePath: string, descriptor: DeletionVectorDescriptor): string | null {
  const text = descriptor.pathOrInlineDv;
  switch (descriptor.storageType) {
    case "i":
      return null;
    case "p":
      return text.startsWith("file:") ? fileURLToPath(text) : text;
    case "u":
      return join(tablePath, text.slice(0, -20), `deletion_vector_${decodeUuid(text.slice(-20))}.bin`);
  }
}

/** @throws SluiceError `destination` when it is absent or damaged */
export async function readDeletionVector(tablePath: string, descriptor: DeletionVectorDescriptor): Promise<RowSet> {
  const path = deletionVectorPath(tablePath, descriptor);
  let data: Buffer;
  try {
    data =
      path === null
        ? decodeBase85(descriptor.pathOrInlineDv).subarray(0, descriptor.sizeInBytes)
        : unframeDeletionVector(
            await readRange(path, descriptor.offset ?? 1, descriptor.sizeInBytes + 8),
            descriptor.sizeInBytes,
          );
    return decodeDeletionVector(data);
  } catch (cause) {
    throw damaged(path ?? `${tablePath} (an inline deletion vector)`, cause);
  }
}

async function readRange(path: string, offset: number, bytes: number): Promise<Buffer> {
  const file = await open(path, "r");
  try {
    const buffer = Buffer.alloc(bytes);
    const { bytesRead } = await file.read(buffer, 0, bytes, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Makes vectors durable: small ones inline, all others in one file.
 * @returns descriptors in the order of `sets`, and the file's name when there is one
 */
export async function writeDeletionVectors(
  tablePath: string,
  sets: RowSet[],
): Promise<{ descriptors: DeletionVectorDescriptor[]; fileName: string | null }> {
  const file = new DeletionVectorFile();
  const uuid = randomUUID();
  const descriptors = sets.map((rows): DeletionVectorDescriptor => {
    const data = encodeDeletionVector(rows);
    const common = { sizeInBytes: data.length, cardinality: rows.size };
    if (data.length <= inlineBytesMax) return { storageType: "i", pathOrInlineDv: encodeBase85(data), ...common };
    return { storageType: "u", pathOrInlineDv: encodeUuid(uuid), offset: file.append(data), ...common };
  });
  if (file.isEmpty) return { descriptors, fileName: null };
  const fileName = `deletion_vector_${uuid}.bin`;
  try {
    await writeDurably(join(tablePath, fileName), file.content());
  } catch (error) {
    throw failed(join(tablePath, fileName), "written", error);
  }
  return { descriptors, fileName };
}

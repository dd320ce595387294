// Contract: deletion vectors are those of the Delta protocol: its own examples are read, and what is written here is read
// by a decoder that shares no code (invariant 4: a row is deleted or not, for every engine).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { DeletionVectorDescriptor } from "../../../../runtime/destination/delta/actions";
import { decodeBase85, decodeUuid, encodeBase85, encodeUuid } from "../../../../runtime/destination/delta/base85";
import { crc32 } from "../../../../runtime/destination/delta/crc32";
import { newRowSet, rowNumbers } from "../../../../runtime/destination/delta/deletion-vector";
import {
  deletionVectorPath,
  readDeletionVector,
  writeDeletionVectors,
} from "../../../../runtime/destination/delta/deletion-vector-store";
import { deletedRows } from "../../../support/delta-reader-vectors";
import fc, { propertyRuns } from "../../../support/property";

const folder = mkdtempSync(join(tmpdir(), "sluice-vectors-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the examples of the protocol and of delta-kernel", () => {
  it("reads the inline vector", async () => {
    const inline: DeletionVectorDescriptor = {
      storageType: "i",
      pathOrInlineDv: "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
      sizeInBytes: 44,
      cardinality: 6,
    };
    expect((await readDeletionVector(folder, inline)).toArray()).toEqual([3, 4, 7, 11, 18, 29]);
  });

  it("finds the file of a relative path with a prefix", () => {
    const vector = {
      storageType: "u",
      pathOrInlineDv: "ab^-aqEH.-t@S}K{vb[*k^",
      sizeInBytes: 40,
      cardinality: 6,
    } as const;
    expect(deletionVectorPath("/t", vector)).toBe("/t/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin");
  });

  it("computes the CRC-32 of RFC 3720's check value", () => {
    expect(crc32(Buffer.from("123456789"))).toBe(0xcbf43926);
  });
});

describe("base85", () => {
  it("comes back", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        expect(decodeBase85(encodeBase85(bytes)).subarray(0, bytes.length)).toEqual(Buffer.from(bytes));
      }),
    );
    fc.assert(
      fc.property(fc.uuid(), (uuid) => {
        expect(decodeUuid(encodeUuid(uuid))).toBe(uuid);
      }),
    );
  });

  it("refuses what is none", () => {
    expect(() => decodeBase85("1234")).toThrow(RangeError);
    expect(() => decodeBase85('12"45')).toThrow(RangeError);
    expect(() => decodeBase85("#####")).toThrow(RangeError);
  });
});

describe("written vectors", () => {
  /** Rows as sparse, as dense and as runs, so that every kind of container occurs. */
  const rowSets = fc.oneof(
    fc.uniqueArray(fc.nat(500_000), { minLength: 1, maxLength: 300 }),
    fc
      .record({
        first: fc.nat(200_000),
        count: fc.integer({ min: 1, max: 20_000 }),
        step: fc.integer({ min: 1, max: 3 }),
      })
      .map(({ first, count, step }) => Array.from({ length: count }, (_, index) => first + index * step)),
  );

  it("are read the same by us and by another decoder", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(rowSets, { minLength: 1, maxLength: 4 }), async (sets) => {
        const { descriptors } = await writeDeletionVectors(folder, sets.map(newRowSet));
        for (const [index, rows] of sets.entries()) {
          const expected = [...rows].sort((a, b) => a - b);
          expect(descriptors[index].cardinality).toBe(expected.length);
          const numbers = rowNumbers(await readDeletionVector(folder, descriptors[index]));
          expect(numbers.join()).toBe(expected.join());
          const marks = (await deletedRows(folder, descriptors[index])) as Uint8Array;
          expect([...marks.keys()].filter((row) => marks[row] === 1).join()).toBe(expected.join());
        }
      }),
      propertyRuns(25),
    );
  });

  it("stand in the log when small, else all in one file", async () => {
    const many = Array.from({ length: 5_000 }, (_, index) => index * 7);
    const { descriptors, fileName } = await writeDeletionVectors(folder, [
      newRowSet([1]),
      newRowSet(many),
      newRowSet(many),
    ]);
    expect(descriptors.map((descriptor) => descriptor.storageType)).toEqual(["i", "u", "u"]);
    expect(descriptors[1].offset).toBe(1);
    expect(deletionVectorPath(folder, descriptors[2])).toBe(join(folder, fileName as string));
  });

  it("are refused when damaged", async () => {
    const [descriptor] = (await writeDeletionVectors(folder, [newRowSet([1, 2])])).descriptors;
    const damaged = { ...descriptor, pathOrInlineDv: `00000${descriptor.pathOrInlineDv.slice(5)}` };
    await expect(readDeletionVector(folder, damaged)).rejects.toMatchObject({ kind: "destination" });
    const absent = {
      storageType: "u",
      pathOrInlineDv: encodeUuid(crypto.randomUUID()),
      offset: 1,
      sizeInBytes: 40,
      cardinality: 6,
    } as const;
    await expect(readDeletionVector(folder, absent)).rejects.toMatchObject({ kind: "destination" });
  });
});

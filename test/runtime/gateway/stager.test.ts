// Contract: a record is staged only when all before it is (invariants 1 and 2): after a commit that failed none follows,
// and nothing that isn't durable counts as idle.
import { describe, expect, it } from "vitest";
import { type BatchItem, Stager } from "../../../runtime/gateway/stager";
import { type Lsn, lsnZero } from "../../../runtime/postgres/lsn";
import { RetryingStore } from "../../../runtime/staging/retrying-store";
import { logKey } from "../../../runtime/staging/staged-commit";
import { readCommit } from "../../../runtime/staging/staging-log";
import { StorageRetry } from "../../../runtime/staging/storage-retry";
import { faultyStore, MemoryStore, type StoreFault } from "../../support/faulty-store";

const event = (tableId: string): BatchItem[] => [{ kind: "event", event: { kind: "truncate", tableId, schemaId: 1 } }];

function stagerOn(faults: (StoreFault | null)[]) {
  const memory = new MemoryStore();
  const retry = new StorageRetry({ retryMsMax: 10_000, signal: new AbortController().signal, random: () => 0 });
  const store = faultyStore(memory, (operation) => (operation === "putIfAbsent" ? (faults.shift() ?? null) : null));
  const head = { sequence: 0, endLsn: lsnZero };
  return { memory, stager: new Stager(new RetryingStore(store, retry), retry, "epoch", head, () => {}) };
}

describe("stager", () => {
  it("stages nothing after a commit that failed, though later ones are queued already", async () => {
    const { memory, stager } = stagerOn([null, { kind: "error", error: { code: "EACCES" } }]);
    const commits = [100n, 200n, 300n].map((lsn) => stager.commit(event("1"), lsn as Lsn, {}));
    const results = await Promise.allSettled(commits);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "rejected"]);
    expect([...memory.objects.keys()]).toEqual(["log/00000000000000000001.json"]);
    expect(stager.stagedLsn).toBe(100n);
    await expect(stager.commit(event("1"), 400n as Lsn, {})).rejects.toThrow("EACCES");
    expect(stager.idle).toBe(false);
  });

  it("tells a record that has more than a reader of version 1 knows, and a record of a later version is refused", async () => {
    const { memory, stager } = stagerOn([null, null, null]);
    const file = { path: "data/x.parquet", rows: 2, bytes: 9, beforeImages: true as const };
    const counts = { inserts: 0, updates: 1, deletes: 0 };
    const written = Promise.resolve({ file, locations: { ops: [], ordinals: [] }, ...counts });
    await stager.commit(event("1"), 100n as Lsn, {});
    await stager.commit([{ kind: "rows", tableId: "1", schemaId: 1, written }], 200n as Lsn, {});
    expect([(await readCommit(memory, 1)).version, (await readCommit(memory, 2)).version]).toEqual([1, 2]);
    memory.objects.set(logKey(3), Buffer.from(JSON.stringify({ version: 3, sequence: 3 })));
    await expect(readCommit(memory, 3)).rejects.toMatchObject({
      message: expect.stringContaining("has version 3, where this program knows 2 at most"),
      remedy: expect.stringContaining("Run this process in the version of the program that wrote it"),
    });
  });

  it("moves its position only when the record is there, however often the answer is lost", async () => {
    const { memory, stager } = stagerOn([
      { kind: "lost-response" },
      { kind: "error", error: { code: "ENOSPC" } },
      { kind: "error", error: { statusCode: 503 } },
      null,
    ]);
    const first = stager.commit(event("1"), 100n as Lsn, {});
    const second = stager.commit(event("2"), 200n as Lsn, {});
    expect(stager.stagedLsn).toBe(lsnZero);
    expect(stager.idle).toBe(false);
    await first;
    await second;
    expect(stager.stagedLsn).toBe(200n);
    expect([...memory.objects.keys()]).toEqual(["log/00000000000000000001.json", "log/00000000000000000002.json"]);
    expect(stager.idle).toBe(true);
  });
});

// Contract: files that no record names any more, as a purge leaves them that was killed between a record and its files,
// are removed when a gateway starts next; those of records that are left, and of the gateway itself, stay (invariant 2).
import { expect, it } from "vitest";
import { newEpoch, removeOrphans } from "../../../runtime/gateway/orphan-files";
import type { StagedCommit } from "../../../runtime/staging/staged-commit";
import { appendCommit } from "../../../runtime/staging/staging-log";
import { MemoryStore } from "../../support/faulty-store";

it("removes what a purge left behind", async () => {
  const store = new MemoryStore();
  const [before, own] = [newEpoch(Date.now() - 86_400_000, 1), newEpoch(Date.now(), 2)];
  const file = (epoch: string, number: number) => `data/${epoch}-${String(number).padStart(8, "0")}.parquet`;
  const commit = (sequence: number, path: string): StagedCommit => ({
    version: 1,
    sequence,
    epoch: before,
    startLsn: "0/0",
    endLsn: "0/0",
    stagedAt: new Date(Date.now() - 80_000_000).toISOString(),
    tables: {},
    events: [
      {
        kind: "changes",
        tableId: "1",
        schemaId: 1,
        files: [{ path, rows: 1, bytes: 1 }],
        inserts: 1,
        updates: 0,
        deletes: 0,
      },
    ],
  });
  // The record 1 and one of its files are gone.
  await appendCommit(store, commit(2, file(before, 2)));
  await appendCommit(store, commit(3, file(before, 3)));
  for (const path of [file(before, 1), file(before, 2), file(before, 3), file(own, 0)]) {
    store.objects.set(path, Buffer.from("x"));
  }
  expect(await removeOrphans(store, own, 3)).toEqual([file(before, 1)]);
  expect([...store.objects.keys()].filter((key) => key.startsWith("data/"))).toEqual([
    file(before, 2),
    file(before, 3),
    file(own, 0),
  ]);
});

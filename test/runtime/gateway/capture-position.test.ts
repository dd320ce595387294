// Contract: what a record says holds at its endLsn (invariant 4), and nothing is acknowledged before the record that it
// depends on (invariant 1): a snapshot's end goes back with a lost connection, a fall back to pending doesn't.
import { beforeEach, describe, expect, it } from "vitest";
import { Capture } from "../../../runtime/gateway/capture";
import { CapturedTable } from "../../../runtime/gateway/captured-table";
import { Stager } from "../../../runtime/gateway/stager";
import { type Lsn, lsnZero } from "../../../runtime/postgres/lsn";
import type { StagedCommit } from "../../../runtime/staging/staged-commit";
import { StorageRetry } from "../../../runtime/staging/storage-retry";
import { MemoryStore } from "../../support/faulty-store";

let store: MemoryStore;
let stager: Stager;
let capture: Capture;
let table: CapturedTable;

beforeEach(() => {
  store = new MemoryStore();
  const retry = new StorageRetry({ retryMsMax: 0, signal: new AbortController().signal });
  stager = new Stager(store, retry, "epoch", { sequence: 0, endLsn: lsnZero }, () => {});
  const ignore = () => {};
  capture = new Capture(
    stager,
    { bytesMax: 1e6, rowsMax: 1e6, ageMsMax: 0, rowBytesMax: 1e6 },
    {
      onFailed: ignore,
      onPending: ignore,
      onStopped: ignore,
      onRelation: ignore,
      onMessage: ignore,
      onStaged: ignore,
    },
  );
  table = new CapturedTable("5", "public", "t");
  capture.add(table);
  return () => store.close();
});

async function records(): Promise<StagedCommit[]> {
  await stager.drained();
  return [...store.objects.values()].map((content) => JSON.parse(content.toString()) as StagedCommit);
}

describe("positions of what capture stages", () => {
  it("a snapshot's end that isn't cut when the connection is lost is told again, at its own position", async () => {
    capture.attach(100n as Lsn);
    const end = (rows: number) => {
      table.snapshotComplete = true;
      const event = { kind: "snapshot-end", tableId: "5", schemaId: 1, snapshotId: "s", rows } as const;
      capture.pushSnapshotEvent(table, event, () => {
        table.snapshotComplete = false;
      });
    };
    capture.begin(190n, 0n, 700);
    end(1);
    capture.detach();
    expect(table.snapshotComplete).toBe(false);
    capture.attach(100n as Lsn);
    capture.cut();
    expect((await records()).flatMap(({ events }) => events)).toEqual([]);
    capture.begin(190n, 0n, 700);
    capture.commit(200n);
    end(2);
    capture.cut();
    const staged = (await records()).flatMap(({ endLsn, events }) => events.map((event) => [endLsn, event]));
    expect(staged).toEqual([["0/C8", expect.objectContaining({ kind: "snapshot-end", rows: 2 })]]);
    // What is cut isn't taken back.
    capture.detach();
    expect(table.snapshotComplete).toBe(true);
  });

  it("a table that falls back to pending is recorded before anything is idle, whatever the connection does", async () => {
    table.snapshotComplete = true;
    capture.attach(100n as Lsn);
    capture.drop(table, () => table.await("test"));
    capture.detach();
    capture.attach(100n as Lsn);
    expect(capture.idle).toBe(false);
    capture.cutIfDue();
    const [record] = await records();
    expect(record).toMatchObject({ endLsn: "0/64", events: [], tables: { 5: { snapshotComplete: false } } });
    expect(capture.idle).toBe(true);
  });

  it("after a lost slot no table goes on, and no event of a snapshot under way is left", async () => {
    table.snapshotComplete = true;
    capture.attach(100n as Lsn);
    capture.pushSnapshotEvent(table, { kind: "snapshot-rows", tableId: "5", schemaId: 1, snapshotId: "s", files: [] });
    capture.detach();
    capture.restart("lost");
    expect(capture.startsAnew).toBe(true);
    capture.attach(300n as Lsn);
    capture.cut();
    expect((await records()).flatMap(({ events }) => events)).toEqual([]);
    expect(capture.stagedTables()["5"].snapshotComplete).toBe(false);
  });
});

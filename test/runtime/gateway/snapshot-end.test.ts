// Contract: a snapshot's end is staged only when the stream has passed all that the snapshot sees (invariant 4): its
// horizon, or the end of flushed WAL read long enough after it. However long the stream stands still, time alone is none.
// The status tells it when it is durable, not before.
import { expect, it } from "vitest";
import type { Capture } from "../../../runtime/gateway/capture";
import { CapturedTable, type SnapshotProgress } from "../../../runtime/gateway/captured-table";
import type { ServerState } from "../../../runtime/gateway/slot-query";
import type { SnapshotContext } from "../../../runtime/gateway/snapshot-context";
import { SnapshotScheduler } from "../../../runtime/gateway/snapshot-scheduler";
import type { Stager } from "../../../runtime/gateway/stager";
import type { Lsn } from "../../../runtime/postgres/lsn";
import type { StagedEvent } from "../../../runtime/staging/staged-commit";

const takenAtMs = 1_000_000;
const lsn = (value: number) => BigInt(value) as Lsn;

/** A copied snapshot whose horizon is at 100; the stream stands at 50. */
function copied() {
  const table = new CapturedTable("1", "public", "item");
  table.snapshotId = "s";
  table.snapshot = {
    snapshotId: "s",
    schemaId: 1,
    lastHorizonLsn: lsn(100),
    settledLsn: null,
    copiedAtMs: takenAtMs + 10,
    resumedAtMs: takenAtMs,
    rows: 3,
    parts: [],
  } as unknown as SnapshotProgress;
  const events: StagedEvent[] = [];
  const capture = {
    streaming: true,
    boundaryLsn: lsn(50),
    tables: new Map([[1, table]]),
    pushSnapshotEvent: (_table: CapturedTable, event: StagedEvent) => events.push(event),
  };
  table.capture = { kind: "capturing" } as CapturedTable["capture"];
  const stager = { sequence: 4, queuedSequence: 5 };
  const context = { capture: capture as unknown as Capture, stager: stager as Stager } as SnapshotContext;
  const scheduler = new SnapshotScheduler(context, () => takenAtMs + 3_600_000);
  const seen = (walLsn: number, afterMs: number) =>
    scheduler.serverSeen({ walLsn: lsn(walLsn), walWriterDelayMs: 200 } as ServerState, takenAtMs + afterMs);
  return { table, capture, stager, scheduler, events, seen };
}

it("not while the stream stands before the horizon, an hour later either", () => {
  const { scheduler, events, seen } = copied();
  scheduler.stageEnds();
  seen(100, 3_600_000);
  expect(events).toEqual([]);
});

it("when the stream has reached the horizon", () => {
  const { capture, scheduler, events } = copied();
  capture.boundaryLsn = lsn(100);
  scheduler.stageEnds();
  expect(events).toMatchObject([{ kind: "snapshot-end", snapshotId: "s", rows: 3 }]);
});

it("when it has passed what was flushed long after the snapshot, though the horizon never is", () => {
  const { capture, scheduler, events, seen } = copied();
  seen(60, 500);
  seen(90, 1_700);
  capture.boundaryLsn = lsn(89);
  scheduler.stageEnds();
  expect(events).toEqual([]);
  capture.boundaryLsn = lsn(90);
  scheduler.stageEnds();
  expect(events).toHaveLength(1);
});

it("is told with the staged commit that has it", () => {
  const { table, capture, stager, scheduler } = copied();
  capture.boundaryLsn = lsn(100);
  scheduler.stageEnds();
  expect(table.status(stager.sequence).state.kind).toBe("snapshot");
  expect(table.status(5).state.kind).toBe("snapshot");
  expect(table.status(6).state.kind).toBe("streaming");
});

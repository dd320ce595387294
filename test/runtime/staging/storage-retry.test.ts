// Contract: what the object store refuses is tried again as long as that can help, an answer that was lost is never
// taken for a rival's (invariant 2), and a full disk is waited for without end.
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { SluiceError } from "../../../runtime/errors";
import { RetryingStore } from "../../../runtime/staging/retrying-store";
import type { StagedCommit } from "../../../runtime/staging/staged-commit";
import { appendCommit, openLogIdentity, readCommit } from "../../../runtime/staging/staging-log";
import { faultOf, storageRetryDelayMs } from "../../../runtime/staging/storage-fault";
import { StorageRetry } from "../../../runtime/staging/storage-retry";
import { until } from "../../support/conditions";
import { faultyStore, MemoryStore, type StoreFault, type StoreOperation } from "../../support/faulty-store";
import fc from "../../support/property";

const commit = (epoch: string): StagedCommit => ({
  version: 1,
  sequence: 1,
  epoch,
  startLsn: "0/1",
  endLsn: "0/2",
  stagedAt: new Date(0).toISOString(),
  events: [],
  tables: {},
});

const memory = new MemoryStore();
afterEach(() => memory.objects.clear());
afterAll(() => memory.close());

function disturbed(decide: (operation: StoreOperation, key: string) => StoreFault | null, retryMsMax = 60_000) {
  const troubles: (string | null)[] = [];
  const stop = new AbortController();
  const retry = new StorageRetry({
    retryMsMax,
    signal: stop.signal,
    stopMsMax: 50,
    random: () => 0,
    onTrouble: (reason) => troubles.push(reason),
  });
  return { store: new RetryingStore(faultyStore(memory, decide), retry), retry, troubles, stop };
}

/** Faults for the first calls of an operation. */
function first(operation: StoreOperation, faults: StoreFault[]) {
  const left = [...faults];
  return (called: StoreOperation) => (called === operation ? (left.shift() ?? null) : null);
}

describe("faults", () => {
  it.each([
    [{ code: "ENOSPC" }, "full"],
    [{ code: "EDQUOT" }, "full"],
    [{ statusCode: 507 }, "full"],
    [{ code: "EIO" }, "transient"],
    [{ code: "EAGAIN" }, "transient"],
    [{ statusCode: 500 }, "transient"],
    [{ statusCode: 503 }, "transient"],
    [{ statusCode: 429 }, "transient"],
    [{ code: "EACCES" }, "permanent"],
    [{ code: "EROFS" }, "permanent"],
    [{ statusCode: 403 }, "permanent"],
    [new Error("No space left on device"), "permanent"],
    [null, "permanent"],
  ])("are told by code, never by words: %o is %s", (error, expected) => {
    expect(faultOf(error)).toBe(expected);
    expect(faultOf(new SluiceError("staging", "wrapped", { remedy: "Wait.", cause: error }))).toBe(expected);
  });

  it("are waited out within the deadline, with bounded delays", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.integer({ min: 0, max: 2_000_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (attempt, elapsedMs, random) => {
          expect(storageRetryDelayMs("permanent", attempt, elapsedMs, 900_000, random)).toBeNull();
          const full = storageRetryDelayMs("full", attempt, elapsedMs, 900_000, random) as number;
          expect(full).toBeGreaterThanOrEqual(50);
          expect(full).toBeLessThanOrEqual(5_000);
          const transient = storageRetryDelayMs("transient", attempt, elapsedMs, 900_000, random);
          if (elapsedMs > 900_000) expect(transient).toBeNull();
          else if (elapsedMs < 890_000) expect(transient).not.toBeNull();
        },
      ),
    );
  });
});

describe("a store that fails", () => {
  it.each<[string, StoreFault[]]>([
    [
      "answers 500 twice",
      [
        { kind: "error", error: { statusCode: 500 } },
        { kind: "error", error: { statusCode: 500 } },
      ],
    ],
    ["loses the response", [{ kind: "lost-response" }]],
    ["loses it twice", [{ kind: "lost-response" }, { kind: "lost-response" }]],
    ["is full for a while", [{ kind: "error", error: { code: "ENOSPC" } }]],
    ["is slow", [{ kind: "slow", ms: 50 }]],
  ])("takes a record exactly once when it %s", async (_name, faults) => {
    const { store, troubles } = disturbed(first("putIfAbsent", faults));
    await appendCommit(store, commit("ours"));
    expect((await readCommit(store, 1)).epoch).toBe("ours");
    expect(troubles.at(-1) ?? null).toBeNull();
    expect(troubles.some((reason) => reason !== null)).toBe(faults[0].kind !== "slow");
  });

  it("still tells a rival's record from our own", async () => {
    await appendCommit(memory, commit("rival"));
    const { store } = disturbed(first("putIfAbsent", [{ kind: "lost-response" }]));
    await expect(appendCommit(store, commit("ours"))).rejects.toMatchObject({ kind: "conflict" });
  });

  it("keeps one identity of the log though its first answer was lost", async () => {
    const { store } = disturbed(first("putIfAbsent", [{ kind: "lost-response" }]));
    const logId = await openLogIdentity(store);
    expect(await openLogIdentity(memory)).toBe(logId);
  });

  it("is given up when the deadline has passed, or when nothing can help", async () => {
    const broken = disturbed(() => ({ kind: "error", error: { code: "EIO" } }), 120);
    await expect(broken.store.get("a")).rejects.toThrow("EIO");
    expect(broken.retry.trouble).toBeNull();
    let calls = 0;
    const closed = disturbed(() => {
      calls++;
      return { kind: "error", error: { code: "EACCES" } };
    });
    await expect(closed.store.get("a")).rejects.toThrow("EACCES");
    expect(calls).toBe(1);
  });

  it("holds up a stop for a short time only", async () => {
    const { store, stop, retry } = disturbed(() => ({ kind: "error", error: { code: "ENOSPC" } }));
    const writing = store.put("a", "b");
    writing.catch(() => {});
    await until("it waits", () => retry.trouble?.includes("ENOSPC"));
    stop.abort();
    await expect(writing).rejects.toThrow("ENOSPC");
    expect(retry.trouble).toBeNull();
  });
});

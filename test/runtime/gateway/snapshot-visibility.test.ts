// Contract: a streamed transaction is left out exactly when the snapshot's rows hold it (invariants 3 and 4).
import { describe, expect, it } from "vitest";
import { isVisible, judge, parseSnapshot } from "../../../runtime/gateway/snapshot-visibility";
import { replayWindow } from "../../../runtime/gateway/standby-snapshot";
import { type Lsn, parseLsn } from "../../../runtime/postgres/lsn";
import fc from "../../support/property";

const horizon = parseLsn("0/1000");

describe("visibility by transaction id", () => {
  it("reads pg_current_snapshot() with and without running transactions", () => {
    expect(parseSnapshot("10:20:12,14", horizon)).toEqual({
      xmin: 10n,
      xmax: 20n,
      running: new Set([12n, 14n]),
      horizonLsn: horizon,
      replay: null,
    });
    expect(parseSnapshot("10:10:", horizon).running.size).toBe(0);
  });

  it("sees what ended before it and nothing that ran or came later, over any 32-bit wrap", () => {
    fc.assert(
      fc.property(
        fc.bigInt(1n << 33n, 1n << 40n),
        fc.nat(1_000_000),
        fc.uniqueArray(fc.nat(1_000_000), { maxLength: 20 }),
        fc.integer({ min: -1_000_000, max: 2_000_000 }),
        (xmin, width, offsets, probe) => {
          const xmax = xmin + BigInt(width);
          const running = offsets.map((offset) => xmin + BigInt(offset)).filter((xid) => xid < xmax);
          const snapshot = parseSnapshot(`${xmin}:${xmax}:${running.join(",")}`, horizon);
          const full = xmin + BigInt(probe);
          const expected = full < xmin || (full < xmax && !running.includes(full));
          expect(isVisible(snapshot, Number(full & 0xffffffffn))).toBe(expected);
        },
      ),
    );
  });

  it("applies whatever commits after the horizon, even with an id that looks old", () => {
    const snapshot = parseSnapshot("100:200:", horizon);
    expect(judge(snapshot, 50, horizon)).toBe("seen");
    expect(judge(snapshot, 50, (horizon + 1n) as Lsn)).toBe("unseen");
  });

  it("applies what committed before the horizon but was running for the snapshot", () => {
    const snapshot = parseSnapshot("100:200:150", horizon);
    expect(judge(snapshot, 150, (horizon - 1n) as Lsn)).toBe("unseen");
  });
});

describe("visibility on a standby, by replayed WAL", () => {
  const at = (replayed: string, received: string | null = null, receiver: number | null = null) => ({
    replayed,
    received,
    receiver,
  });
  const judgeAt = (window: ReturnType<typeof replayWindow>, xid: number, commitLsn: string) =>
    judge(parseSnapshot("100:200:", window.unseenFromLsn, window), xid, parseLsn(commitLsn));

  it("is the WAL replayed before, and not what comes after the record that may be under way", () => {
    const window = replayWindow(at("0/1000"), at("0/2000"));
    expect(judgeAt(window, 150, "0/FD8")).toBe("seen");
    expect(judgeAt(window, 150, "0/1000")).toBe("unknown");
    expect(judgeAt(window, 150, "0/2028")).toBe("unknown");
    expect(judgeAt(window, 150, "0/2030")).toBe("unseen");
  });

  it("is known of all when nothing more had been received than was replayed before", () => {
    const window = replayWindow(at("0/1000", "0/F00", 7), at("0/1000", "0/1000", 7));
    expect(judgeAt(window, 150, "0/FD8")).toBe("seen");
    expect(judgeAt(window, 150, "0/1000")).toBe("unseen");
    for (const after of [at("0/1000", "0/1000", 8), at("0/1000", "0/1000"), at("0/1000", "0/1008", 7)]) {
      expect(judgeAt(replayWindow(at("0/1000", "0/F00", 7), after), 150, "0/1000")).toBe("unknown");
    }
  });

  it("takes an id for a proof only where it is too young", () => {
    const window = replayWindow(at("0/1000"), at("0/1000"));
    expect(judgeAt(window, 200, "0/1000")).toBe("unseen");
    expect(judgeAt(window, 99, "0/1000")).toBe("unknown");
    expect(judgeAt(window, 99, "0/1030")).toBe("unseen");
    const snapshot = parseSnapshot("100:200:", window.unseenFromLsn, window);
    expect([99, 150, 200].map((xid) => isVisible(snapshot, xid))).toEqual([true, false, false]);
  });
});

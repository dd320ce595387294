// Contract: a streamed transaction is left out exactly when the snapshot's rows hold it (invariants 3 and 4).
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isInSnapshot, isVisible, parseSnapshot } from "../../../runtime/gateway/snapshot-visibility";
import { type Lsn, parseLsn } from "../../../runtime/postgres/lsn";

const horizon = parseLsn("0/1000");

describe("visibility by transaction id", () => {
  it("reads pg_current_snapshot() with and without running transactions", () => {
    expect(parseSnapshot("10:20:12,14", horizon)).toEqual({
      xmin: 10n,
      xmax: 20n,
      running: new Set([12n, 14n]),
      horizonLsn: horizon,
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
    expect(isInSnapshot(snapshot, 50, horizon)).toBe(true);
    expect(isInSnapshot(snapshot, 50, (horizon + 1n) as Lsn)).toBe(false);
  });

  it("applies what committed before the horizon but was running for the snapshot", () => {
    const snapshot = parseSnapshot("100:200:150", horizon);
    expect(isInSnapshot(snapshot, 150, (horizon - 1n) as Lsn)).toBe(false);
  });
});

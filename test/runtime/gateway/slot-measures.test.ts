// Contract: measures and alerts of the slot say what is so: a projection follows the consumption of safe_wal_size, lag
// counts from the last moment at which nothing was missing, and an alert neither flaps nor stays.
import { describe, expect, it } from "vitest";
import { gatewayConfigSchema } from "../../../runtime/config";
import {
  alertChanges,
  assessHealth,
  type HealthMeasures,
  levelsOf,
  nextLevel,
} from "../../../runtime/gateway/health-alerts";
import { Heartbeat } from "../../../runtime/gateway/heartbeat";
import { LagClock } from "../../../runtime/gateway/lag-clock";
import { projectLossMs, SlotForecast } from "../../../runtime/gateway/slot-forecast";
import type { Lsn } from "../../../runtime/postgres/lsn";
import type { SlotHealth } from "../../../runtime/status";
import fc from "../../support/property";

const mebibyte = 1024 ** 2;
const lsn = (value: number) => BigInt(value) as Lsn;

describe("projected loss", () => {
  it("is what is left divided by the rate of consumption, whatever the rate", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 5_000, max: 600_000 }),
        fc.integer({ min: 1, max: 100_000 }),
        (consumedMebibytes, elapsedMs, leftMebibytes) => {
          const samples = [
            { atMs: 1_000, safeBytes: (leftMebibytes + consumedMebibytes) * mebibyte },
            { atMs: 1_000 + elapsedMs, safeBytes: leftMebibytes * mebibyte },
          ];
          const expected = (leftMebibytes / consumedMebibytes) * elapsedMs;
          expect(Math.abs((projectLossMs(samples) as number) - expected)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
  it.each([
    ["nothing is known", []],
    ["one look is known", [{ atMs: 0, safeBytes: 10 }]],
    [
      "the history is shorter than noise",
      [
        { atMs: 0, safeBytes: 10 },
        { atMs: 4_999, safeBytes: 5 },
      ],
    ],
    [
      "nothing is consumed",
      [
        { atMs: 0, safeBytes: 10 },
        { atMs: 60_000, safeBytes: 10 },
      ],
    ],
    [
      "the slot moves away from it",
      [
        { atMs: 0, safeBytes: 10 },
        { atMs: 60_000, safeBytes: 30 },
      ],
    ],
  ])("is unknown when %s", (_name, samples) => {
    expect(projectLossMs(samples)).toBeNull();
  });
  it("is now when nothing is left", () => {
    expect(projectLossMs([{ atMs: 0, safeBytes: -1 }])).toBe(0);
  });
  it("forgets looks older than ten minutes, and all of them when the limit is gone", () => {
    const forecast = new SlotForecast();
    expect(forecast.add(0, 1_000 * mebibyte)).toBeNull();
    expect(forecast.add(600_000, 400 * mebibyte)).toBeNull();
    expect(forecast.add(660_000, 300 * mebibyte)).toBe(180_000);
    expect(forecast.add(661_000, null)).toBeNull();
    expect(forecast.add(720_000, 300 * mebibyte)).toBeNull();
  });
});

describe("lag in time", () => {
  it("is unknown before the first look, and counts from it while nothing is acknowledged", () => {
    const lag = new LagClock();
    expect(lag.lagMs(lsn(0), 5_000)).toBeNull();
    lag.sample(lsn(100), 5_000);
    lag.sample(lsn(200), 7_000);
    expect(lag.lagMs(lsn(99), 9_000)).toBe(4_000);
    expect(lag.lagMs(lsn(100), 9_000)).toBe(4_000);
    expect(lag.lagMs(lsn(200), 9_000)).toBe(2_000);
  });
  it("on an idle server is no more than the time since the newest look", () => {
    const lag = new LagClock();
    for (let atMs = 0; atMs < 100_000; atMs += 2_000) {
      lag.sample(lsn(100), atMs);
      expect(lag.lagMs(lsn(100), atMs + 1_999)).toBe(1_999);
    }
  });
  it("stays right within one part in a hundred over a day's stop, in bounded memory", () => {
    const lag = new LagClock();
    for (let second = 0; second < 86_400; second += 2) lag.sample(lsn(second), second * 1_000);
    const acknowledged = 43_200;
    const ms = lag.lagMs(lsn(acknowledged), 86_400_000) as number;
    expect(ms).toBeGreaterThanOrEqual((86_400 - acknowledged) * 1_000);
    expect(ms).toBeLessThan((86_400 - acknowledged) * 1_010);
  });
});

describe("alerts", () => {
  const thresholds = gatewayConfigSchema.shape.health.parse({});
  const slot = (changes: Partial<SlotHealth> = {}): SlotHealth => ({
    active: true,
    restartLsn: "0/1",
    confirmedFlushLsn: "0/1",
    walStatus: "reserved",
    safeWalBytes: 100 * mebibyte,
    retainedBytes: mebibyte,
    invalidationReason: null,
    conflicting: false,
    inactiveSince: null,
    failover: false,
    synced: false,
    lossMs: null,
    ...changes,
  });
  const measures = (changes: Partial<HealthMeasures> = {}): HealthMeasures => ({
    slotName: "s",
    slot: slot(),
    lagMs: 0,
    holding: null,
    ...changes,
  });
  const holding = (ageMs: number, pid: number | null) => ({
    pid,
    user: "u",
    application: "app",
    state: "idle in transaction",
    ageMs,
    xid: "700",
    xmin: null,
  });
  const hourMs = 3_600_000;

  it.each<[string, Partial<HealthMeasures>, string[]]>([
    ["all is well", {}, []],
    ["nothing is known yet", { slot: null, lagMs: null }, []],
    ["the gateway is 5 min behind", { lagMs: 300_000 }, ["lag warning"]],
    ["the gateway is an hour behind", { lagMs: hourMs }, ["lag critical"]],
    ["the slot will be lost in 5 h", { slot: slot({ lossMs: 5 * hourMs }) }, ["slot-loss warning"]],
    ["the slot will be lost in 59 min", { slot: slot({ lossMs: hourMs - 60_000 }) }, ["slot-loss critical"]],
    ["the next checkpoint may lose the slot", { slot: slot({ walStatus: "unreserved" }) }, ["slot-loss critical"]],
    ["10 GiB are kept", { slot: slot({ retainedBytes: 10 * 1024 * mebibyte }) }, ["retained-wal warning"]],
    ["a transaction stays open", { holding: holding(600_000, 12) }, ["holding-transaction warning"]],
    ["a prepared one is forgotten", { holding: holding(hourMs, null) }, ["holding-transaction critical"]],
    [
      "several things, worst first",
      { lagMs: 300_000, slot: slot({ walStatus: "unreserved" }) },
      ["slot-loss critical", "lag warning"],
    ],
  ])("when %s", (_name, changes, expected) => {
    const alerts = assessHealth(measures(changes), thresholds, {});
    expect(alerts.map(({ kind, level }) => `${kind} ${level}`)).toEqual(expected);
    for (const alert of alerts) {
      expect(alert.message).not.toMatch(/undefined|null|NaN/);
      expect(alert.remedy.length).toBeGreaterThan(20);
    }
  });

  it("rise at their threshold and fall a fifth below it, whatever the measure does", () => {
    const threshold = { warning: 100, critical: 1_000 };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 50 }), (values) => {
        let level: ReturnType<typeof nextLevel> = null;
        for (const value of values) {
          const before: ReturnType<typeof nextLevel> = level;
          level = nextLevel(before ?? undefined, value, threshold);
          if (value >= 1_000) expect(level).toBe("critical");
          else if (value >= 800) expect(level).toBe(before === "critical" ? "critical" : "warning");
          else if (value >= 100) expect(level).toBe("warning");
          else if (value >= 80) expect(level).toBe(before === null ? null : "warning");
          else expect(level).toBeNull();
        }
      }),
    );
  });

  it("are told once for each level, and once when they are over", () => {
    const at = (lagMs: number, previous: Parameters<typeof assessHealth>[2]) => {
      const alerts = assessHealth(measures({ lagMs }), thresholds, previous);
      const { raised, over } = alertChanges(previous, alerts);
      return { levels: levelsOf(alerts), told: [...raised.map(({ level }) => level as string), ...over] };
    };
    let previous: Parameters<typeof assessHealth>[2] = {};
    const told = [0, 300_000, 400_000, 290_000, hourMs, 2 * hourMs, 0, 0].map((lagMs) => {
      const result = at(lagMs, previous);
      previous = result.levels;
      return result.told;
    });
    expect(told).toEqual([[], ["warning"], [], [], ["critical"], [], ["lag"], []]);
  });
});

describe("heartbeat", () => {
  it("is due when nothing has moved for the interval, and once for each interval", () => {
    const heartbeat = new Heartbeat(60_000);
    expect(heartbeat.due(lsn(1), 0)).toBe(false);
    expect(heartbeat.due(lsn(1), 59_999)).toBe(false);
    expect(heartbeat.due(lsn(1), 60_000)).toBe(true);
    expect(heartbeat.due(lsn(1), 60_001)).toBe(false);
    expect(heartbeat.due(lsn(2), 119_999)).toBe(false);
    expect(heartbeat.due(lsn(2), 120_001)).toBe(false);
    expect(heartbeat.due(lsn(2), 179_999)).toBe(true);
  });
  it("is never due when it is off", () => {
    const heartbeat = new Heartbeat(0);
    for (let nowMs = 0; nowMs < 1e9; nowMs += 1e7) expect(heartbeat.due(lsn(1), nowMs)).toBe(false);
  });
});

// Contract: a schedule's next run is decided by time zone, also across changes of its clocks; what was missed is made up
// for once; a wrong schedule is told before it is used.
import { describe, expect, it } from "vitest";
import { applierConfigSchema } from "../../runtime/config";
import { nextRunMs, scheduleProblem } from "../../runtime/schedule";

function runs(cron: string, timeZone: string, from: string, count: number): string[] {
  const found: string[] = [];
  for (let atMs = Date.parse(from); found.length < count; ) {
    atMs = nextRunMs({ cron, timeZone }, atMs, atMs);
    found.push(new Date(atMs).toISOString().replace(":00.000Z", "Z"));
  }
  return found;
}

describe("nextRunMs", () => {
  it.each([
    // Berlin: 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October.
    ["30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", ["2026-03-29T01:00Z", "2026-03-30T00:30Z"]],
    ["30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]],
    ["0 6 * * *", "Europe/Berlin", "2026-03-28T00:00Z", ["2026-03-28T05:00Z", "2026-03-29T04:00Z"]],
    ["0 * * * *", "Europe/Berlin", "2026-03-29T00:30Z", ["2026-03-29T01:00Z", "2026-03-29T02:00Z"]],
    [
      "*/30 * * * *",
      "Europe/Berlin",
      "2026-10-25T00:00Z",
      ["2026-10-25T00:30Z", "2026-10-25T01:00Z", "2026-10-25T01:30Z", "2026-10-25T02:00Z"],
    ],
    // São Paulo had no midnight on 4 November 2018; Lord Howe's clocks change by half an hour.
    ["0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00Z", ["2018-11-04T03:00Z", "2018-11-05T02:00Z"]],
    ["15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00Z", ["2026-10-03T15:30Z", "2026-10-04T15:15Z"]],
    ["30 1 * * *", "America/New_York", "2026-10-31T12:00Z", ["2026-11-01T05:30Z", "2026-11-02T06:30Z"]],
    ["@daily", "UTC", "2026-02-28T12:00Z", ["2026-03-01T00:00Z", "2026-03-02T00:00Z"]],
  ])("%s in %s after %s", (cron, timeZone, from, expected) => {
    expect(runs(cron, timeZone, from, expected.length)).toEqual(expected);
  });

  const hourly = { cron: "0 * * * *", timeZone: "UTC" };
  const at = (text: string) => Date.parse(`2026-05-01T${text}Z`);

  it("makes up once for what was missed, and goes on by the clock", () => {
    expect(nextRunMs(hourly, at("03:00"), at("09:20"))).toBe(at("09:00"));
    expect(nextRunMs(hourly, at("09:00"), at("09:20"))).toBe(at("10:00"));
    expect(nextRunMs(hourly, at("09:00"), at("10:00"))).toBe(at("10:00"));
    expect(nextRunMs(hourly, Date.parse("2020-01-01T00:00Z"), at("09:20"))).toBe(at("09:20"));
  });

  it("waits for the first time, and isn't held up by a clock that was set back", () => {
    expect(nextRunMs(hourly, null, at("09:20"))).toBe(at("10:00"));
    expect(nextRunMs(hourly, at("23:00"), at("09:20"))).toBe(at("10:00"));
  });
});

describe("a wrong schedule", () => {
  it.each([
    ["61 * * * *", "UTC", "cron"],
    ["* * *", "UTC", "cron"],
    ["0 0 31 2 *", "UTC", "cron"],
    ["0 0 * * *", "Europe/Atlantis", "timeZone"],
  ])("%s in %s", (cron, timeZone, of) => {
    expect(scheduleProblem({ cron, timeZone })).toMatchObject({ of });
    const { error } = applierConfigSchema.shape.trigger.safeParse({ kind: "schedule", cron, timeZone });
    expect(error?.issues[0].path).toEqual([of]);
  });

  it("is none of a good one", () => {
    expect(scheduleProblem({ cron: "0 0 29 2 *", timeZone: "Asia/Kathmandu" })).toBeNull();
    expect(applierConfigSchema.shape.trigger.parse({ kind: "schedule", cron: "5 4 * * 1" })).toEqual({
      kind: "schedule",
      cron: "5 4 * * 1",
      timeZone: "UTC",
    });
  });
});

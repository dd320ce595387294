// Contract: after a failover the stream goes on only where all that is staged is in the new primary's history; another
// cluster and a former primary are never taken for the source.
import { describe, expect, it } from "vitest";
import { type Lineage, lineageOf, lineageProblem } from "../../../runtime/gateway/source-lineage";
import { parseLsn } from "../../../runtime/postgres/lsn";
import { parseTimelineHistory } from "../../../runtime/postgres/source-identity";

const server = (timeline: number, systemIdentifier = "7000", startedAt = "1") => ({
  systemIdentifier,
  timeline,
  startedAt,
});
/** as it was before its restart */
const earlier = (timeline: number, systemIdentifier = "7000") => server(timeline, systemIdentifier, "0");
const history = parseTimelineHistory("1\t0/3000000\tno recovery target specified\n\n2\t0/5000000\tbefore 2020\n");

describe("lineage", () => {
  it("reads a history file, comments and all", () => {
    expect(history).toEqual([
      { timeline: 1, switchLsn: parseLsn("0/3000000") },
      { timeline: 2, switchLsn: parseLsn("0/5000000") },
    ]);
    expect(parseTimelineHistory("# comment\n")).toEqual([]);
    expect(() => parseTimelineHistory("nonsense")).toThrow("nonsense");
  });

  it.each<[string, ReturnType<typeof server> | null, number, string | null, Lineage["kind"], string | null]>([
    ["nothing is known", null, 3, null, "first", null],
    ["nothing has happened", server(3), 3, "0/9000000", "same", null],
    ["a standby was promoted after what is staged", earlier(1), 3, "0/3000000", "promoted", null],
    ["it was promoted, and nothing is staged", earlier(1), 3, null, "promoted", null],
    ["it was promoted twice", earlier(2), 3, "0/4000000", "promoted", null],
    ["the standby that is read from was promoted, and read on", server(1), 3, "0/3000001", "promoted", null],
    ["it was promoted before what is staged", earlier(1), 3, "0/3000001", "diverged", "slot-lost"],
    ["its history is another", earlier(0), 3, "0/1", "diverged", "slot-lost"],
    ["the former primary is back", server(4), 3, "0/1", "outdated", "unreachable"],
    ["it is another cluster", server(3, "8000"), 3, "0/1", "other-cluster", "config"],
    ["it is another cluster on a later timeline", server(1, "8000"), 3, "0/1", "other-cluster", "config"],
  ])("when %s", (_name, known, timeline, staged, kind, problem) => {
    const stagedLsn = staged === null ? null : parseLsn(staged);
    const lineage = lineageOf(known, server(timeline), history, stagedLsn);
    expect(lineage.kind).toBe(kind);
    const error = lineageProblem(lineage, known, server(timeline), stagedLsn);
    expect(error?.kind ?? null).toBe(problem);
    if (error !== null) expect(error.remedy).toBeTruthy();
  });
});

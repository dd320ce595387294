// Contract: a bench's command line is read or refused before anything is started, and a figure without its peer says so.
import { describe, expect, it } from "vitest";
import { readBenchCommand } from "./bench-options";
import { figure, renderFigure, timing } from "./figures";

describe("command line", () => {
  it("has five runs, or two when quick", () => {
    expect(readBenchCommand(["snapshot"])).toMatchObject({ kind: "run", bench: "snapshot", runs: 5, json: false });
    expect(readBenchCommand(["stream", "--quick", "--json"])).toMatchObject({ bench: "stream", runs: 2, json: true });
    expect(readBenchCommand(["apply", "--rows", "5000", "--runs", "1"])).toMatchObject({ rows: 5000, runs: 1 });
    expect(readBenchCommand(["--help"])).toEqual({ kind: "help" });
  });

  it.each([[[]], [["scan"]], [["snapshot", "stream"]], [["snapshot", "--rows", "ten"]], [["snapshot", "--fast"]]])(
    "refuses %j",
    (argv) => {
      expect(readBenchCommand(argv).kind).toBe("error");
    },
  );
});

describe("figures", () => {
  it("give minimum and median, and the ratio of medians", () => {
    expect(timing([3, 1, 2])).toEqual({ runs: 3, min: 1, median: 2 });
    expect(timing([4, 1])).toEqual({ runs: 2, min: 1, median: 2.5 });
    const own = { seconds: [2, 4], peakMemoryBytes: [1e6, 3e6] };
    const result = figure("stream", 600, own, { name: "peer", seconds: [2, 2] });
    expect(result).toMatchObject({
      ratio: 1.5,
      ours: { rowsPerSecond: 200, peakMemoryMb: 3 },
      peer: { rowsPerSecond: 300 },
    });
  });

  it("say when the peer isn't there", () => {
    const result = figure("stream", 600, { seconds: [2], peakMemoryBytes: [0] }, { skipped: "psql is not installed" });
    expect(result).toMatchObject({ ratio: null, peer: null, skipped: "psql is not installed" });
    expect(renderFigure(result)).toContain("SKIPPED: psql is not installed");
  });
});

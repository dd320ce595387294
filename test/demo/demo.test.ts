// Contract: what the demo takes and shows, without running it: its flags, its progress on a terminal and in a log, its
// run table, and what it takes for a change of the stack.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import type { ApplierStatus, ApplierTableStatus, GatewayStatus, GatewayTableState } from "../../runtime/status";
import { readDemoCommand } from "./demo-command";
import { makeDemoFolder, readSession, writeSession } from "./demo-session";
import { progressLines, progressSummary } from "./progress-lines";
import { runTable } from "./run-table";
import { openScreen } from "./screen";
import { changesOf } from "./stack-operations";

describe("flags", () => {
  const run = { kind: "run", keep: false, json: false, scale: 1, lake: null, target: "local", destination: "local" };

  it.each<[string, object]>([
    ["", run],
    ["--keep --json --scale 2.5", { ...run, keep: true, json: true, scale: 2.5 }],
    ["--target docker", { ...run, target: "docker" }],
    ["--destination spark --json", { ...run, destination: "spark", json: true }],
    ["--lake lake", { ...run, lake: resolve("lake") }],
    ["--destroy demo", { kind: "destroy", folder: resolve("demo") }],
    ["--help --keep", { kind: "help" }],
    ["-h", { kind: "help" }],
  ])("%j is understood", (line, expected) => {
    expect(readDemoCommand(line.split(" ").filter(Boolean))).toEqual(expected);
  });

  it.each<[string, RegExp]>([
    ["--bogus", /--bogus/],
    ["extra", /extra/],
    ["--scale many", /--scale is a number from 0.01 to 100, not "many"/],
    ["--scale 0", /--scale/],
    ["--scale", /--scale/],
    ["--target kubernetes", /--target is local or docker, not "kubernetes"/],
    ["--destination hive", /--destination is local or spark, not "hive"/],
    ["--destination spark --keep", /--destination spark takes no --keep/],
    ["--destroy demo --destination spark", /--destroy takes no --destination/],
    ["--keep=yes", /--keep/],
    ["--destroy", /--destroy/],
    ["--destroy demo --keep", /--destroy takes no --keep/],
  ])("%j is refused", (line, message) => {
    expect(readDemoCommand(line.split(" "))).toEqual({ kind: "error", message: expect.stringMatching(message) });
  });
});

function applied(name: string, more: Partial<ApplierTableStatus> = {}): ApplierTableStatus {
  const counts = { runs: [], rows: 10, upserted: 1234567, deleted: 8, dropped: 0, failPercent: 0, durationMs: 1250 };
  const position = { appliedSequence: 3, deltaVersion: 2, path: "/lake" };
  const state = { kind: "idle" } as const;
  const compacted = { compactions: 0, conflicts: 0, filesCompacted: 0, bytesCompacted: 0, bytesWritten: 0 };
  const vacuumed = { filesVacuumed: 0, bytesVacuumed: 0, lastRunAt: null, error: null };
  const checkpoints = { checkpoints: 0, checkpointVersion: null, logFilesRemoved: 0 };
  const size = {
    files: 1,
    bytes: 100,
    smallFiles: 1,
    deletedShare: 0,
    maintenance: { ...compacted, ...vacuumed, ...checkpoints },
  };
  const table = { tableId: name, schema: "public", name, type: "delta", mode: "scd1", state } as const;
  return { ...table, ...counts, ...size, ...position, ...more };
}

it("shows the run as a table", () => {
  const failed = {
    kind: "failed",
    errorKind: "internal",
    message: "no room",
    retryAt: "2026-01-01T00:00:00Z",
  } as const;
  expect(runTable([applied("orders"), applied("nation", { state: failed, failPercent: 12.34, upserted: 0 })])).toEqual([
    "NAME    TYPE   STATUS           DURATION   UPSERTED  DELETED  DROPPED  FAIL %",
    "------  -----  ---------------  --------  ---------  -------  -------  ------",
    "nation  delta  failed: no room     1.3 s          0        8        0    12.3",
    "orders  delta  up to date          1.3 s  1,234,567        8        0     0.0",
  ]);
});

describe("progress", () => {
  const table = (name: string, state: GatewayTableState) => ({
    ...{ tableId: name, schema: "public", name, state, snapshotRows: 0, snapshots: 1, unrepresentable: {} },
    ...{ inserts: 1000, updates: 2, deletes: 3 },
  });
  const startedAt = "2026-01-01T00:00:00Z";
  const copying = (rows: number) => ({
    ...{ kind: "snapshot" as const, rows, bytes: 0, rowsEstimate: 5000, startedAt },
    ...{ rangesDone: 0, ranges: 1, secondsLeft: null },
  });
  const tables = [
    table("part", { kind: "streaming" }),
    table("orders", copying(2500)),
    table("late", copying(9000)),
    table("nation", { kind: "pending", waitingFor: "pid 7" }),
  ];
  const gateway = { tables, stagedSequence: 9, changes: 1005 } as unknown as GatewayStatus;
  const applier = { tables: [applied("part")], appliedSequence: 8 } as unknown as ApplierStatus;

  it("has a bar for each table", () => {
    expect(progressLines({ gateway, applier, workload: null })).toEqual([
      "late     [#######################-] copying 9,000 of about 5,000",
      "nation   [------------------------] waiting for pid 7",
      "orders   [############------------] copying 2,500 of about 5,000",
      "part     [########################] streaming +1,000 ~2 -3                   10 in Delta",
      "1 of 4 tables streaming, staged 9, applied 8, 10 rows in Delta, 1,005 changes",
    ]);
  });

  it("begins before there is a status", () => {
    expect(progressLines({ gateway: null, applier: null, workload: null })).toEqual(["the gateway starts"]);
    expect(progressSummary({ gateway, applier: null, workload: null })).toContain("applied 0");
  });
});

describe("the screen", () => {
  function screenOf(columns: number | null) {
    const shown = { text: "", nowMs: 0 };
    const write = (text: string) => {
      shown.text += text;
    };
    return { shown, screen: openScreen({ write, columns: () => columns, now: () => shown.nowMs, summaryMs: 1_000 }) };
  }

  it("redraws a block on a terminal, cut to its width", () => {
    const { shown, screen } = screenOf(14);
    screen.block(["a".repeat(20), "b"], "in short");
    screen.block(["c"], "in short");
    screen.line("below");
    screen.block(["d"], "in short");
    const row = (text: string) => `\r  ${text}\x1b[K\n`;
    expect(shown.text).toBe(
      `${row("a".repeat(11))}${row("b")}\x1b[J\x1b[2A${row("c")}\x1b[J  below\n${row("d")}\x1b[J`,
    );
  });

  it("writes a line now and then elsewhere", () => {
    const { shown, screen } = screenOf(null);
    for (shown.nowMs = 0; shown.nowMs < 2_500; shown.nowMs += 100) screen.block(["a"], `at ${shown.nowMs}`);
    screen.step("next");
    expect(shown.text).toBe("  at 0\n  at 1000\n  at 2000\n\n[   2.5 s] next\n");
  });
});

it("takes nothing for a change but what happens to resources of ours", () => {
  const step = (op: string, type: string) => ({ op, type, urn: "", name: "" });
  const steps = [
    step("create", "pulumi:pulumi:Stack"),
    step("update", "sluice:index:PostgresIngestion"),
    step("same", "pulumi-nodejs:dynamic/sluice:Gateway"),
    step("refresh", "pulumi-nodejs:dynamic/sluice:Gateway"),
    step("update", "pulumi-nodejs:dynamic/sluice:Publication"),
  ];
  expect(changesOf(steps)).toEqual(["Publication update"]);
});

it("finds a kept demo again by its folder, and no other", () => {
  const folder = makeDemoFolder();
  const session = {
    ...{ version: 1 as const, folder, dataFolder: "/data", host: "127.0.0.1", port: 5432, database: "tpch" },
    ...{
      user: "sluice",
      passwordEnv: "SLUICE_DEMO_TEST_PASSWORD",
      lake: "/lake",
      tables: ["part"],
      target: "local" as const,
    },
  };
  const other = mkdtempSync(join(tmpdir(), "sluice-other-"));
  try {
    writeSession(session, "canary");
    expect(readSession(folder)).toEqual(session);
    expect(process.env.SLUICE_DEMO_TEST_PASSWORD).toBe("canary");
    expect(() => readSession(other)).toThrow(/not the folder of a demo/);
  } finally {
    delete process.env.SLUICE_DEMO_TEST_PASSWORD;
    for (const path of [folder, other]) rmSync(path, { recursive: true, force: true });
  }
  expect(existsSync(folder)).toBe(false);
});

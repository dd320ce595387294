// Contract: the supervisor keeps one process running by its configuration file: it starts it again after a crash with
// growing pauses, ends when the process ends with code 0, stops it on SIGTERM (SIGKILL after a deadline), and writes
// down at every change what runs. Its logs never grow beyond their limit.
// Invariant 5: no process of ours remains.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readJson } from "../../provider/deploy/process-files";
import { configExitCode } from "../../runtime/errors";
import { RotatingLog } from "../../runtime/operate/rotating-log";
import { identifyProcess, isAlive, signalProcess } from "../../runtime/process-identity";
import { restartPauseMs, type SupervisorState, supervisorStateSchema } from "../../runtime/supervisor";
import { until } from "../support/conditions";
import type { StubConduct } from "../support/stub-runtime";

const stub = join(process.cwd(), "dist/test/support/stub-runtime.js");
let folder: string;
let supervisor: ChildProcess | null = null;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-supervisor-"));
});

afterEach(() => {
  const state = supervisorState();
  for (const identity of [state?.child, state]) if (identity != null) signalProcess(identity, "SIGKILL");
  supervisor?.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

function supervisorState(): SupervisorState | null {
  return readJson(join(folder, "supervisor.json"), supervisorStateSchema);
}

function supervise(conduct: StubConduct): Promise<number | null> {
  const config = {
    version: 1,
    role: "applier",
    id: conduct,
    statusPath: join(folder, "status.json"),
    http: { port: 0 },
    stagingPath: join(folder, "staging"),
    destination: { kind: "local", path: join(folder, "lake") },
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const child = spawn(process.execPath, [stub, "supervise", join(folder, "config.json")], { stdio: "ignore" });
  supervisor = child;
  return new Promise((resolve) => child.once("exit", resolve));
}

const running = () => until("the child runs", () => statSync(join(folder, "status.json"), { throwIfNoEntry: false }));

describe("a pause before a restart", () => {
  const backoff = { min: 500, max: 30_000 };

  it("doubles with each crash up to the longest", () => {
    expect([1, 2, 3, 7, 1_000].map((crashes) => restartPauseMs(crashes, 1, backoff))).toEqual([
      500, 1_000, 2_000, 30_000, 30_000,
    ]);
  });

  it("is the longest at once where no restart helps", () => {
    expect(restartPauseMs(1, configExitCode, backoff)).toBe(30_000);
  });
});

describe("a supervised process", () => {
  it("is started again after it was killed", async () => {
    supervise("healthy");
    await running();
    const first = supervisorState()?.child;
    expect(first && isAlive(first)).toBe(true);
    process.kill(first!.pid, "SIGKILL");
    const next = await until("it is started again", () => {
      const state = supervisorState();
      return state?.restarts === 1 && state.child !== null && state;
    });
    expect(next.child?.pid).not.toBe(first?.pid);
    expect(next.lastExit).toMatchObject({ code: null, signal: "SIGKILL" });
    expect(readFileSync(join(folder, "applier.log"), "utf8")).toContain('"event":"restart"');
  });

  it("ends with its supervisor on SIGTERM", async () => {
    const exited = supervise("healthy");
    await running();
    const child = supervisorState()!.child!;
    supervisor!.kill("SIGTERM");
    expect(await exited).toBe(0);
    expect(isAlive(child)).toBe(false);
    expect(supervisorState()).toMatchObject({ child: null, finished: false });
  });

  it("that ignores SIGTERM is killed", async () => {
    const exited = supervise("stubborn");
    await running();
    const child = supervisorState()!.child!;
    supervisor!.kill("SIGTERM");
    expect(await exited).toBe(0);
    expect(isAlive(child)).toBe(false);
    expect(supervisorState()?.lastExit).toMatchObject({ signal: "SIGKILL" });
  });

  it("that ends with code 0 is done", async () => {
    expect(await supervise("finished")).toBe(0);
    expect(supervisorState()).toMatchObject({ finished: true, restarts: 0, child: null });
  });

  it("that crashes at every start is tried again and again", async () => {
    supervise("crashes");
    await until("three restarts", () => (supervisorState()?.restarts ?? 0) >= 3);
    expect(supervisorState()?.lastExit).toMatchObject({ code: 3 });
  });
});

describe("the identity of a process", () => {
  it("tells it from another with its pid", () => {
    const own = identifyProcess(process.pid)!;
    expect(isAlive(own)).toBe(true);
    const earlier = { ...own, startTime: "1" };
    expect(isAlive(earlier)).toBe(false);
    expect(signalProcess(earlier, "SIGKILL")).toBe(false);
  });
});

describe("a rotating log", () => {
  it("keeps so many files of so many bytes, the newest first", () => {
    const path = join(folder, "a.log");
    const log = new RotatingLog(path, { bytesMax: 10, filesMax: 3 });
    for (const line of ["one.....\n", "two.....\n", "three...\n", "four....\n"]) log.write(line);
    expect(readdirSync(folder).sort()).toEqual(["a.log", "a.log.1", "a.log.2"]);
    expect(["a.log", "a.log.1", "a.log.2"].map((name) => readFileSync(join(folder, name), "utf8").trim())).toEqual([
      "four....",
      "three...",
      "two.....",
    ]);
  });
});

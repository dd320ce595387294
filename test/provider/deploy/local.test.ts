// Contract: apply makes one supervised, detached process run by its configuration and returns when it is healthy; one
// that runs so already is left alone; one that can't run fails the apply with its own last words. remove ends process
// and supervisor, whatever they do, and removes the folder. A process gets no environment but what it needs.
// Invariants 5 (no process of ours remains) and 6 (secrets are in no argument and no file).
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { localDeployment } from "../../../provider/deploy/local";
import { processFiles, readJson, readStatus } from "../../../provider/deploy/process-files";
import { identifyProcess, isAlive, signalProcess } from "../../../runtime/process-identity";
import { supervisorStateSchema } from "../../../runtime/supervisor";
import { until } from "../../support/conditions";
import type { StubConduct } from "../../support/stub-runtime";

const deployment = localDeployment({ mainPath: join(process.cwd(), "dist/test/support/stub-runtime.js") });
let folder: string;
let directory: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sluice-local-"));
  directory = join(folder, "deep", "applier");
});

afterEach(async () => {
  await deployment.remove(directory, 2_000);
  rmSync(folder, { recursive: true, force: true });
});

function spec(conduct: StubConduct, more: { port?: number; startTimeoutMs?: number; note?: string } = {}): ProcessSpec {
  return {
    directory,
    config: {
      version: 1,
      role: "applier",
      id: `${conduct}-${more.note ?? ""}`,
      statusPath: join(directory, processFiles.status),
      http: { port: more.port ?? 0 },
      stagingPath: join(folder, "staging"),
      destination: { kind: "local", path: join(folder, "lake") },
    },
    secretVariables: ["SLUICE_TEST_SECRET"],
    secretFiles: {},
    startTimeoutMs: more.startTimeoutMs ?? 20_000,
    stopTimeoutMs: 3_000,
  };
}

function processes() {
  const state = readJson(join(directory, processFiles.supervisor), supervisorStateSchema);
  if (state === null || state.child === null) throw new Error("nothing runs");
  return { supervisor: { pid: state.pid, startTime: state.startTime }, child: state.child };
}

const failure = async (work: Promise<unknown>) =>
  work.then(
    () => {
      throw new Error("it succeeded");
    },
    (error: { kind: string; describe(): string }) => ({ kind: error.kind, text: error.describe() }),
  );

describe("apply", () => {
  it("returns when the process is healthy, which outlives nobody's pipe", async () => {
    await deployment.apply(spec("healthy"));
    expect(await deployment.inspect(directory)).toMatchObject({ kind: "running" });
    expect(readStatus(directory)?.pid).toBe(processes().child.pid);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
  });

  it("leaves one that runs as wanted alone, and restarts one that runs otherwise", async () => {
    await deployment.apply(spec("healthy"));
    const first = processes();
    await deployment.apply(spec("healthy"));
    expect(processes()).toEqual(first);
    await deployment.apply(spec("healthy", { note: "changed" }));
    expect(processes().child).not.toEqual(first.child);
    expect([first.child, first.supervisor].map(isAlive)).toEqual([false, false]);
  });

  it("passes the variables that it is told, and nothing else of ours", async () => {
    process.env.SLUICE_TEST_SECRET = "canary-91ab";
    process.env.SLUICE_TEST_OTHER = "other";
    await deployment.apply(spec("healthy"));
    const log = readFileSync(join(directory, "applier.log"), "utf8");
    const { environment, argv } = JSON.parse(log.split("\n")[0]) as { environment: string[]; argv: string[] };
    expect(environment).toContain("SLUICE_TEST_SECRET");
    expect(environment).not.toContain("SLUICE_TEST_OTHER");
    expect(argv.join(" ")).not.toContain("canary-91ab");
    expect(readFileSync(join(directory, processFiles.configuration), "utf8")).not.toContain("canary-91ab");
  });

  it("is content with one that has done its work", async () => {
    await deployment.apply(spec("finished"));
    expect(await deployment.inspect(directory)).toMatchObject({ kind: "finished" });
  });

  it.each([
    ["failed", { kind: "process", text: expect.stringMatching(/failed: no room[\s\S]*remedy: Make room\./) }],
    [
      "misconfigured",
      { kind: "process", text: expect.stringMatching(/failed: the stub can't go on\n {2}remedy: Be kind/) },
    ],
    ["crashes", { kind: "process", text: expect.stringContaining("crashes at every start (exit 3") }],
    ["killed", { kind: "process", text: expect.stringContaining("exit 137 (killed: out of the machine's memory") }],
  ] as const)("fails when the process is one that %s, with its own words", async (conduct, expected) => {
    expect(await failure(deployment.apply(spec(conduct)))).toMatchObject(expected);
  });

  it("fails after its deadline, and says what the process waits for", async () => {
    const { text } = await failure(deployment.apply(spec("waiting", { startTimeoutMs: 2_500 })));
    expect(text).toMatch(/not healthy after 2500 ms: the moon is not full/);
  });

  it("fails at once when its port is taken", async () => {
    const other = createServer();
    const port = await new Promise<number>((resolve) =>
      other.listen(0, "127.0.0.1", () => resolve((other.address() as { port: number }).port)),
    );
    try {
      expect((await failure(deployment.apply(spec("healthy", { port })))).text).toContain("EADDRINUSE");
    } finally {
      other.close();
    }
  });
});

describe("inspect", () => {
  it("sees that nothing is there", async () => {
    expect(await deployment.inspect(directory)).toEqual({ kind: "absent" });
  });

  it("sees that all was killed", async () => {
    await deployment.apply(spec("healthy"));
    const { supervisor, child } = processes();
    for (const one of [supervisor, child]) signalProcess(one, "SIGKILL");
    await until("it is seen dead", async () => (await deployment.inspect(directory)).kind === "dead");
  });
});

describe("remove", () => {
  it("ends a process that ignores SIGTERM, with its supervisor and folder", async () => {
    await deployment.apply(spec("stubborn"));
    const { supervisor, child } = processes();
    await deployment.remove(directory, 3_000);
    expect([supervisor, child].map(isAlive)).toEqual([false, false]);
    expect(existsSync(directory)).toBe(false);
  });

  it("ends a child whose supervisor was killed", async () => {
    await deployment.apply(spec("healthy"));
    const { supervisor, child } = processes();
    signalProcess(supervisor, "SIGKILL");
    await until("the supervisor is gone", () => identifyProcess(supervisor.pid) === null);
    expect(isAlive(child)).toBe(true);
    await deployment.remove(directory, 3_000);
    expect(isAlive(child)).toBe(false);
  });

  it("leaves processes alone that have the pids of ours by now", async () => {
    await deployment.apply(spec("healthy"));
    for (const one of Object.values(processes())) signalProcess(one, "SIGKILL");
    await until("all is gone", () => Object.values(processes()).every((one) => !isAlive(one)));
    const stranger = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    try {
      const identity = identifyProcess(stranger.pid as number)!;
      const ofBefore = { pid: identity.pid, startTime: "1" };
      const state = readJson(join(directory, processFiles.supervisor), supervisorStateSchema);
      writeFileSync(join(directory, processFiles.started), JSON.stringify(ofBefore));
      writeFileSync(
        join(directory, processFiles.supervisor),
        JSON.stringify({ ...state, ...ofBefore, child: ofBefore }),
      );
      expect((await deployment.inspect(directory)).kind).toBe("dead");
      await deployment.remove(directory, 1_000);
      expect(existsSync(directory)).toBe(false);
      expect(isAlive(identity)).toBe(true);
    } finally {
      stranger.kill("SIGKILL");
    }
  });

  it("of nothing is no failure", async () => {
    await deployment.remove(directory, 1_000);
    expect(existsSync(directory)).toBe(false);
  });
});

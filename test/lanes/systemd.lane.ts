// Contract: on a real systemd (SLUICE_LANE_FOLDER, in whose namespaces this runs) apply makes one unit run, locked up, enabled
// and healthy; one that runs so already is left alone; another configuration restarts it, and one that can't run tells its
// own last words. It is started again after a crash and after a boot. One of the machine may be another user's, and gets its
// secrets as credentials. What isn't ours, and what a hand has changed, is told,
// and a foreign unit never touched. remove leaves no unit, no process and no folder. Invariants 5 and 6.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ProcessSpec } from "../../provider/deploy/deployment";
import { processFiles, readStatus } from "../../provider/deploy/process-files";
import { systemdDeployment } from "../../provider/deploy/systemd";
import { unitFolder } from "../../provider/deploy/systemd-manager";
import type { Scope } from "../../provider/deploy/systemd-options";
import { unitName } from "../../provider/deploy/systemd-unit";
import { deploymentOf } from "../../provider/deploy/target";
import { gatewayLifecycle } from "../../provider/lifecycle/gateway";
import { checkGatewayInputs } from "../../provider/lifecycle/gateway-inputs";
import type { Properties } from "../../provider/lifecycle/lifecycle";
import { identifyProcess, isAlive } from "../../runtime/process-identity";
import { openFolderStore } from "../../runtime/staging/folder-store";
import { openLogIdentity } from "../../runtime/staging/staging-log";
import type { GatewayStatus } from "../../runtime/status";
import { until } from "../support/conditions";
import { startPostgres, type TestPostgres } from "../support/postgres-server";

const folder = process.env.SLUICE_LANE_FOLDER ?? "";
const phase = process.env.SLUICE_LANE_PHASE;

function spec(id: string, more: object = {}): ProcessSpec {
  const directory = join(folder, "state", id, "applier");
  return {
    directory,
    config: {
      version: 1,
      role: "applier",
      id,
      statusPath: join(directory, processFiles.status),
      stagingPath: join(folder, "state", id, "staging"),
      destination: { kind: "local", path: join(folder, "lake", id) },
      ...more,
    },
    secretVariables: ["SLUICE_LANE_SECRET"],
    secretFiles: { "password.secret": "canary-4711" },
    startTimeoutMs: 60_000,
    stopTimeoutMs: 10_000,
  };
}

async function beginStaging(id: string): Promise<void> {
  const { stagingPath } = spec(id).config;
  mkdirSync(stagingPath, { recursive: true });
  await openLogIdentity(await openFolderStore(stagingPath));
}

function systemctl(scope: Scope, ...args: string[]): string {
  return execFileSync("systemctl", [...(scope === "user" ? ["--user"] : []), ...args], { encoding: "utf8" }).trim();
}

const rejection = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error("it succeeded")),
    (error: Error & { kind?: string; remedy?: string }) => error,
  );

/** What a process has as SLUICE_LANE_SECRET. */
function secretIn(pid: number): string | null {
  const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
  const variable = (name: string) => new RegExp(`(?:^|\0)${name}=([^\0]*)`).exec(environment)?.[1];
  const value = variable("SLUICE_LANE_SECRET");
  if (value !== undefined) return `variable ${value}`;
  const folder = variable("CREDENTIALS_DIRECTORY");
  if (folder === undefined) return null;
  const read = spawnSync("nsenter", ["--target", `${pid}`, "--mount", "cat", join(folder, "SLUICE_LANE_SECRET")]);
  return `credential ${read.stdout}`;
}

describe.runIf(phase === "first").each(["system", "user"] as const)("a unit of scope %s", (scope) => {
  const deployment = systemdDeployment({ scope });
  let count = 0;
  let id: string;
  const wanted = (more: object = {}) => spec(id, more);
  const unit = () => unitName(spec(id).directory);
  const unitPath = () => join(unitFolder(scope), unit());
  const show = (property: string) => systemctl(scope, "show", "--value", `--property=${property}`, unit());

  beforeEach(async () => {
    id = `${scope}-${++count}`;
    process.env.SLUICE_LANE_SECRET = "canary-0815";
    await beginStaging(id);
  });
  afterEach(() => deployment.remove(spec(id).directory, 10_000));

  it("can be made", async () => expect(await deployment.preflight(wanted())).toBeNull());

  it("runs healthy and enabled, is left alone by a second apply, and holds no secret", async () => {
    await deployment.apply(wanted());
    expect(await deployment.inspect(wanted().directory)).toMatchObject({ kind: "running" });
    expect(show("UnitFileState")).toBe("enabled");
    const pid = Number(show("MainPID"));
    expect(readStatus(wanted().directory)?.pid).toBe(pid);
    await deployment.apply(wanted());
    expect(Number(show("MainPID"))).toBe(pid);
    expect(secretIn(pid)).toBe(scope === "system" ? "credential canary-0815" : "variable canary-0815");
    const told = systemctl(scope, "show", unit()) + readFileSync(unitPath(), "utf8");
    expect(told).not.toContain("canary");
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    if (scope === "system") expect(status).toMatch(/^CapEff:\t0+$/m);
  });

  it("is locked up", async () => {
    await deployment.apply(wanted());
    const pid = show("MainPID");
    const enter = (command: string) =>
      spawnSync("nsenter", ["--target", pid, "--mount", "sh", "-c", command], { encoding: "utf8" }).status;
    expect(enter(`touch ${wanted().directory}/x && rm ${wanted().directory}/x`)).toBe(0);
    if (scope === "system") expect(enter("touch /usr/local/sluice-lane")).not.toBe(0);
  });

  it("takes another configuration", async () => {
    await deployment.apply(wanted());
    const pid = show("MainPID");
    await deployment.apply(wanted({ runsKeptMax: 7 }));
    expect(show("MainPID")).not.toBe(pid);
    expect(await deployment.inspect(wanted().directory)).toMatchObject({
      kind: "running",
      configuration: expect.stringContaining('"runsKeptMax": 7'),
    });
  });

  it("that can't run tells its last words", async () => {
    const error = await rejection(deployment.apply(wanted({ memoryBytesMax: 1 })));
    expect(error.message).toMatch(/can't run with its settings[\s\S]*last log lines[\s\S]*memoryBytesMax/);
  });

  it("is started again after a crash", async () => {
    await deployment.apply(wanted());
    const pid = Number(show("MainPID"));
    process.kill(pid, "SIGKILL");
    await until("a restart", () => Number(show("NRestarts")) === 1 && Number(show("MainPID")) > 0);
    await until("it runs", async () => (await deployment.inspect(wanted().directory)).kind === "running");
  });

  it("that runs once is finished, and isn't started by a boot", async () => {
    await deployment.apply(wanted({ trigger: { kind: "once" } }));
    await until("it is done", async () => (await deployment.inspect(wanted().directory)).kind === "finished");
    expect(show("UnitFileState")).toBe("static");
  });

  it("that a hand has changed, disabled or stopped is told, and an apply repairs it", async () => {
    const inspect = () => deployment.inspect(wanted().directory);
    await deployment.apply(wanted());
    writeFileSync(unitPath(), readFileSync(unitPath(), "utf8").replace("RestartSec=2", "RestartSec=99"));
    expect(await inspect()).toMatchObject({
      kind: "failed",
      message: expect.stringContaining("changed or removed by hand"),
    });
    await deployment.apply(wanted());
    systemctl(scope, "disable", unit());
    expect(await inspect()).toMatchObject({ kind: "failed", message: expect.stringContaining("next boot") });
    await deployment.apply(wanted());
    systemctl(scope, "stop", unit());
    expect((await inspect()).kind).toBe("dead");
    await deployment.apply(wanted());
    expect((await inspect()).kind).toBe("running");
  });

  it("of somebody else is left alone", async () => {
    const text = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
    mkdirSync(unitFolder(scope), { recursive: true });
    writeFileSync(unitPath(), text);
    systemctl(scope, "daemon-reload");
    systemctl(scope, "start", unit());
    expect((await deployment.preflight(wanted()))?.kind).toBe("name-taken");
    expect((await rejection(deployment.apply(wanted()))).kind).toBe("name-taken");
    expect(await deployment.inspect(wanted().directory)).toMatchObject({ kind: "foreign" });
    await deployment.remove(wanted().directory, 1_000);
    expect(readFileSync(unitPath(), "utf8")).toBe(text);
    expect(show("ActiveState")).toBe("active");
    systemctl(scope, "stop", unit());
    rmSync(unitPath());
    systemctl(scope, "daemon-reload");
  });

  it("that was never kept is swept", async () => {
    const directory = join(folder, "state", `${scope}-swept`, "gateway");
    const swept = { ...spec(`${scope}-swept`), directory };
    await beginStaging(`${scope}-swept`);
    swept.config = { ...swept.config, statusPath: join(directory, processFiles.status) };
    await deployment.apply(swept, { tethered: true });
    const pid = identifyProcess(
      Number(systemctl(scope, "show", "--value", "--property=MainPID", unitName(directory))),
    )!;
    // Its provider was killed.
    writeFileSync(join(directory, "unit-tether.json"), JSON.stringify({ pid: 4_000_000, startTime: "1" }));
    await deployment.sweep(join(folder, "state"), 10_000);
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(join(unitFolder(scope), unitName(directory)))).toBe(false);
    expect(existsSync(join(folder, "state", `${scope}-swept`))).toBe(false);
  });

  it("is gone after remove, with its folder; its tables stay", async () => {
    await deployment.apply(wanted());
    const pid = identifyProcess(Number(show("MainPID")))!;
    await deployment.remove(wanted().directory, 10_000);
    await deployment.remove(wanted().directory, 10_000);
    expect(isAlive(pid)).toBe(false);
    expect(existsSync(unitPath())).toBe(false);
    expect(show("LoadState")).toBe("not-found");
    expect(systemctl(scope, "list-units", "--all", "--plain", "--no-legend", "sluice-*")).toBe("");
    expect(await deployment.inspect(wanted().directory)).toEqual({ kind: "absent" });
    expect(existsSync(join(folder, "lake", id))).toBe(true);
  });
});

describe.runIf(phase === "first")("a unit of another user", () => {
  const program = { nodePath: join(folder, "program", "node"), mainPath: join(folder, "program", "main.js") };
  const as = (user?: string) => systemdDeployment({ scope: "system", user, ...program });
  const [uid, gid] = ["-u", "-g"].map((flag) => Number(execFileSync("id", [flag, "daemon"], { encoding: "utf8" })));

  it("runs as that user, who has its folders; then as root; and goes", async () => {
    process.env.SLUICE_LANE_SECRET = "canary-0815";
    const wanted = spec("owned");
    const { stagingPath } = wanted.config;
    const owner = { deploymentId: "owned", incarnation: "one" };
    await as("daemon").staging.make(stagingPath, owner);
    await beginStaging("owned");
    expect(await as("daemon").preflight(wanted)).toBeNull();
    const lake = join(folder, "lake", "owned");
    for (const user of ["daemon", undefined, "daemon"]) {
      // Tables that are there are whose they are.
      if (existsSync(lake)) {
        expect((await rejection(as(user).apply(wanted))).remedy).toContain(`chown -R ${user === undefined ? 0 : uid}:`);
        execFileSync("chown", ["-R", user ?? "root", lake]);
      }
      await as(user).apply(wanted);
      const pid = Number(systemctl("system", "show", "--value", "--property=MainPID", unitName(wanted.directory)));
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      expect(status).toMatch(user === undefined ? /^Uid:\t0\t/m : new RegExp(`^Uid:\t${uid}\t`, "m"));
      expect(statSync(stagingPath)).toMatchObject(user === undefined ? { uid: 0, gid: 0 } : { uid, gid });
      expect(secretIn(pid)).toBe("credential canary-0815");
      const credential = statSync(join(wanted.directory, "credentials", "SLUICE_LANE_SECRET"));
      expect([credential.uid, credential.mode & 0o777]).toEqual([0, 0o600]);
      await until("it has told its progress", () => existsSync(join(stagingPath, "progress", "owned.json")));
      rmSync(join(stagingPath, "progress", "owned.json"));
    }
    await as("daemon").remove(wanted.directory, 10_000);
    expect(await as("daemon").staging.remove(stagingPath, owner)).toBe(true);
    expect(existsSync(wanted.directory)).toBe(false);
  });

  it("that can't reach what it needs, or whom nobody knows, is told at the preview; an apply stops nothing", async () => {
    process.env.SLUICE_LANE_SECRET = "canary-0815";
    const wanted = spec("refused");
    await beginStaging("refused");
    await as().apply(wanted);
    const show = () => systemctl("system", "show", "--value", "--property=MainPID", unitName(wanted.directory));
    const pid = show();
    chmodSync(join(folder, "state"), 0o700);
    try {
      expect((await as("daemon").preflight(wanted))?.message).toContain(`can't reach ${join(folder, "state")}`);
      expect((await rejection(as("daemon").apply(wanted))).kind).toBe("permission");
    } finally {
      chmodSync(join(folder, "state"), 0o755);
    }
    chmodSync(join(folder, "lake", "refused"), 0o700);
    writeFileSync(join(folder, "lake", "refused", "others"), "");
    expect((await rejection(as("daemon").apply(wanted))).kind).toBe("destination");
    expect((await as("sluice-lane-nobody").preflight(wanted))?.remedy).toContain("useradd");
    expect(show()).toBe(pid);
    await as().remove(wanted.directory, 10_000);
  });
});

describe.runIf(phase === "first")("a gateway", () => {
  let server: TestPostgres;
  let admin: Client;

  beforeAll(async () => {
    server = await startPostgres();
    admin = await server.client();
    await admin.query("CREATE TABLE public.t (id int PRIMARY KEY); CREATE PUBLICATION lane FOR TABLE public.t");
    await admin.query("SELECT pg_create_logical_replication_slot('lane_slot', 'pgoutput')");
  });

  afterAll(async () => {
    await admin?.end();
    await server?.stop();
  });

  it("moves from a process to a unit and back with its staging, and is gone after delete", async () => {
    const gateway = gatewayLifecycle(deploymentOf);
    const stateDir = join(folder, "moving");
    const inputs = (deployment?: object) => {
      const given = { source: server.source(), publicationName: "lane", slotName: "lane_slot", slotIncarnation: "1" };
      const { inputs: checked, failures } = checkGatewayInputs({}, { ...given, stateDir, deployment });
      expect(failures).toEqual([]);
      return { ...checked, incarnation: "one" } as Properties;
    };
    const directory = join(stateDir, "lane_slot", "gateway");
    const streams = () =>
      until("it streams", () => {
        const status = readStatus(directory) as GatewayStatus | null;
        return status?.tables?.length === 1 && status.tables.every(({ state }) => state.kind === "streaming") && status;
      });
    const asProcess = inputs();
    const asUnit = inputs({ kind: "local", supervisor: "systemd" });
    expect(asUnit.deployment).toEqual({ kind: "local", supervisor: "systemd", scope: "system" });
    expect(gateway.diff("lane_slot", asProcess, asUnit).replaces).toEqual([]);
    const { outs } = await gateway.create(asProcess);
    await streams();
    const moved = await gateway.update("lane_slot", outs, asUnit);
    expect((await streams()).tables[0].snapshots).toBe(1);
    expect(systemctl("system", "is-active", unitName(directory))).toBe("active");
    const { props } = await gateway.read("lane_slot", moved.outs);
    expect(props?.drift).toEqual([]);
    const back = await gateway.update("lane_slot", moved.outs, asProcess);
    expect((await streams()).tables[0].snapshots).toBe(1);
    expect(spawnSync("systemctl", ["cat", unitName(directory)]).status).not.toBe(0);
    const again = await gateway.update("lane_slot", back.outs, asUnit);
    await gateway.delete("lane_slot", again.outs);
    expect(spawnSync("systemctl", ["cat", unitName(directory)]).status).not.toBe(0);
    expect(existsSync(join(stateDir, "lane_slot"))).toBe(false);
  });
});

const booted = () => ({ deployment: systemdDeployment({ scope: "system" }), wanted: spec("boot") });

describe.runIf(phase === "first")("before a boot", () => {
  it("a unit runs", async () => {
    const { deployment, wanted } = booted();
    await beginStaging("boot");
    await deployment.apply(wanted);
  });
});

describe.runIf(phase === "boot")("after a boot", () => {
  it("the unit runs again, and goes", async () => {
    const { deployment, wanted } = booted();
    await until("it runs", async () => {
      const pid = Number(systemctl("system", "show", "--value", "--property=MainPID", unitName(wanted.directory)));
      return (
        pid > 0 && readStatus(wanted.directory)?.pid === pid && readStatus(wanted.directory)?.state.kind === "running"
      );
    });
    expect((await deployment.inspect(wanted.directory)).kind).toBe("running");
    await deployment.remove(wanted.directory, 10_000);
    expect((await deployment.inspect(wanted.directory)).kind).toBe("absent");
  });
});

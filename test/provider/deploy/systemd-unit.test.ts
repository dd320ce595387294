// Contract: a unit is a pure function of the process and its place: it says whose it is and tells whether a hand has changed
// it, holds no secret, and systemd reads it (systemd-analyze, where there is one). What systemd tells of a unit is one
// condition. On a machine that systemd doesn't run, a preview says so. Invariant 6 (no secret in a unit).
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { ProcessSpec } from "../../../provider/deploy/deployment";
import { parseUnitState, type UnitState } from "../../../provider/deploy/systemd-manager";
import { localOptionsSchema } from "../../../provider/deploy/systemd-options";
import { superviseUnit, unitCondition } from "../../../provider/deploy/systemd-state";
import { isInstalled, readMark, renderEnvironment, renderUnit, unitName } from "../../../provider/deploy/systemd-unit";
import { ownerOf, requireReachable } from "../../../provider/deploy/systemd-user";
import { deploymentOf, targetInputSchema } from "../../../provider/deploy/target";
import type { StatusDocument } from "../../../runtime/status";

const place = {
  hasCredentials: true,
  nodePath: process.execPath,
  mainPath: "/srv/app/node_modules/pulumi-sluice/dist/runtime/main.js",
};

function spec(directory = "/var/lib/sluice/orders/applier", more: object = {}): ProcessSpec {
  return {
    directory,
    config: {
      version: 1,
      role: "applier",
      id: "orders",
      statusPath: join(directory, "status.json"),
      stagingPath: "/var/lib/sluice/orders/staging",
      destination: { kind: "local", path: "/data/lake" },
      ...more,
    },
    secretVariables: ["PASSWORD"],
    secretFiles: {},
    startTimeoutMs: 60_000,
    stopTimeoutMs: 30_000,
  };
}

const system = renderUnit(spec(), { ...place, nodePath: "/usr/bin/node", scope: "system" });

describe("a unit", () => {
  it("of the machine is locked up", () => {
    expect(system.replace(/^Digest=.*$/m, "Digest=…")).toBe(`[Unit]
Description=Sluice: applier of orders
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=:"/usr/bin/node" "${place.mainPath}" "applier" "--config" "/var/lib/sluice/orders/applier/config.json"
WorkingDirectory=/var/lib/sluice/orders/applier
EnvironmentFile=/var/lib/sluice/orders/applier/environment
LoadCredential=PASSWORD:/var/lib/sluice/orders/applier/credentials/PASSWORD
Restart=on-failure
RestartSec=2
KillMode=mixed
TimeoutStopSec=30
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
CapabilityBoundingSet=
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
ReadWritePaths="/var/lib/sluice/orders/applier" "/var/lib/sluice/orders/staging" "/data/lake"

[Install]
WantedBy=multi-user.target

[X-Sluice]
Directory=/var/lib/sluice/orders/applier
Digest=…
`);
    expect(unitName("/var/lib/sluice/orders/applier")).toBe("sluice-orders-applier.service");
  });

  it("of a user asks for no namespace", () => {
    const text = renderUnit(spec(), { ...place, scope: "user" });
    expect(text).toContain("NoNewPrivileges=yes");
    expect(text).toContain("WantedBy=default.target");
    expect(text).not.toMatch(/Protect|Private|Capability|network-online/);
  });

  it("that runs once isn't started by the next boot", () => {
    expect(isInstalled(system)).toBe(true);
    const once = renderUnit(spec(undefined, { trigger: { kind: "once" } }), { ...place, scope: "system" });
    expect(isInstalled(once)).toBe(false);
  });

  it("with folders in /tmp has no /tmp of its own", () => {
    const text = renderUnit(spec("/tmp/x/orders/applier"), { ...place, scope: "system" });
    expect(text).not.toContain("PrivateTmp");
    expect(text).toMatch(/ReadWritePaths=.* "\/tmp"$/m);
  });

  it("is known as ours, as we wrote it or not", () => {
    const directory = "/var/lib/sluice/orders/applier";
    expect(readMark(system)).toEqual({ kind: "own", directory, isWritten: true });
    expect(readMark(system.replace("RestartSec=2", "RestartSec=9"))).toEqual({
      kind: "own",
      directory,
      isWritten: false,
    });
    expect(readMark(`${system}# more\n`)).toEqual({ kind: "own", directory, isWritten: false });
    expect(readMark("[Service]\nExecStart=/bin/true\n")).toEqual({ kind: "foreign" });
  });

  const analyze = spawnSync("systemd-analyze", ["--version"]).status === 0;
  it.runIf(analyze)("is read by systemd, with odd names too", () => {
    const parent = mkdtempSync(join(tmpdir(), "sluice-unit-"));
    const directory = join(parent, 'a %n "$HOME" \\', "orders", "applier");
    try {
      mkdirSync(directory, { recursive: true });
      const mainPath = join(directory, "main.js");
      writeFileSync(mainPath, "");
      const path = join(parent, unitName(directory));
      writeFileSync(path, renderUnit(spec(directory), { ...place, mainPath, scope: "system" }));
      const { status, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", "--recursive-errors=no", path], {
        encoding: "utf8",
      });
      expect(stderr.split("\n").filter((line) => line.includes("sluice"))).toEqual([]);
      expect(status).toBe(0);
    } finally {
      rmSync(parent, { recursive: true, force: true });
    }
  });

  it("is of the user that is given, and of no other; without credentials its secrets are variables", () => {
    const settings = (text: string) => text.split("\n").filter((line) => /^(User|LoadCredential)=/.test(line));
    const owned = renderUnit(spec(), { ...place, scope: "system", user: "sluice" });
    expect(settings(owned)).toEqual([
      "User=sluice",
      "LoadCredential=PASSWORD:/var/lib/sluice/orders/applier/credentials/PASSWORD",
    ]);
    expect(settings(renderUnit(spec(), { ...place, scope: "user", hasCredentials: false }))).toEqual([]);
  });

  it("has its secrets in another file, quoted as systemd reads it", () => {
    expect(renderEnvironment({ PASSWORD: 'a"b\\c$d`e f#\ng', TZ: "" })).toBe(
      'PASSWORD="a\\"b\\\\c\\$d\\`e f#\ng"\nTZ=""\n',
    );
  });
});

describe("what systemd tells", () => {
  const running: UnitState = {
    loadState: "loaded",
    fragmentPath: "/etc/systemd/system/u.service",
    activeState: "active",
    subState: "running",
    hasJob: false,
    unitFileState: "enabled",
    mainPid: 12,
    exitStatus: 0,
    result: "success",
    restarts: 0,
  };
  const ended = { ...running, activeState: "inactive", subState: "dead", mainPid: null };
  const crashing = { ...running, activeState: "activating", subState: "auto-restart", mainPid: null, exitStatus: 3 };
  const says = (state: StatusDocument["state"]) => ({ state }) as StatusDocument;
  const once = renderUnit(spec(undefined, { trigger: { kind: "once" } }), { ...place, scope: "system" });

  it("is read from its properties", () => {
    const text = "LoadState=loaded\nFragmentPath=/etc/systemd/system/u.service\nActiveState=active\nSubState=running\n";
    expect(
      parseUnitState(`${text}UnitFileState=enabled\nMainPID=12\nExecMainStatus=0\nResult=success\nNRestarts=0\n`),
    ).toEqual(running);
    expect(parseUnitState(`${text}Job=17\n`).hasJob).toBe(true);
    expect(parseUnitState("LoadState=not-found\nMainPID=0\n")).toMatchObject({ loadState: "not-found", mainPid: null });
  });

  it.each([
    ["runs", system, running, null, { kind: "running" }],
    ["is down", system, ended, says({ kind: "stopped" }), { kind: "dead" }],
    ["is down for good", system, { ...ended, activeState: "failed" }, null, { kind: "dead" }],
    ["has done its work", once, ended, says({ kind: "stopped" }), { kind: "finished" }],
    ["was cut off from its work", once, ended, says({ kind: "running" }), { kind: "dead" }],
    ["ends at every start", system, crashing, null, { kind: "failed", message: "it ends at every start: exit 3" }],
    [
      "says why it fails",
      system,
      crashing,
      says({ kind: "failed", errorKind: "staging", message: "no room", remedy: "Make room." }),
      { kind: "failed", message: "no room", remedy: "Make room." },
    ],
    [
      "was changed by hand",
      system.replace("strict", "no"),
      running,
      null,
      { kind: "failed", message: expect.stringContaining("changed or removed by hand") },
    ],
    ["lost its file", null, running, null, { kind: "failed", message: expect.stringContaining("removed by hand") }],
    [
      "isn't started by the next boot",
      system,
      { ...running, unitFileState: "disabled" },
      null,
      { kind: "failed", message: expect.stringContaining("is disabled, not enabled") },
    ],
  ] as const)("of one that %s", (_, text, state, status, expected) => {
    expect(unitCondition("u.service", text, state, status)).toEqual(expected);
  });

  it.each([
    ["runs", running, { kind: "trying", pid: 12 }],
    ["has ended well", ended, { kind: "finished" }],
    ["is still to begin", { ...ended, hasJob: true }, { kind: "trying", pid: null }],
    ["crashed once", { ...crashing, restarts: 1 }, { kind: "trying", pid: null }],
    [
      "crashes for ever",
      { ...crashing, restarts: 3 },
      { kind: "hopeless", message: "crashes at every start (exit 3, 3 restarts)" },
    ],
    [
      "is killed for want of memory",
      { ...crashing, restarts: 3, exitStatus: 9, result: "oom-kill" },
      {
        kind: "hopeless",
        message: "crashes at every start (exit 137 (it needed more than the machine's memory), 3 restarts)",
      },
    ],
    [
      "is killed",
      { ...crashing, restarts: 3, exitStatus: 9, result: "signal" },
      {
        kind: "hopeless",
        message: "crashes at every start (exit 137 (killed: out of the machine's memory, or by somebody), 3 restarts)",
      },
    ],
    [
      "breaks down",
      { ...crashing, restarts: 3, exitStatus: 11, result: "core-dump" },
      { kind: "hopeless", message: "crashes at every start (signal 11, 3 restarts)" },
    ],
    [
      "has wrong settings",
      { ...crashing, exitStatus: 78 },
      { kind: "hopeless", message: "can't run with its settings" },
    ],
    [
      "can't be executed",
      { ...crashing, exitStatus: 203 },
      { kind: "hopeless", message: "can't be started by systemd (exit 203)" },
    ],
    [
      "is given up",
      { ...ended, activeState: "failed", exitStatus: 1, result: "exit-code" },
      { kind: "hopeless", message: "ended before it was healthy (exit 1, exit-code)" },
    ],
  ] as const)("of a new one that %s", (_, state, expected) => expect(superviseUnit(state)).toEqual(expected));
});

describe("the target", () => {
  it("is left out of the inputs where our own supervisor runs it", () => {
    expect(targetInputSchema.parse({ kind: "local" })).toBeUndefined();
    expect(targetInputSchema.parse({ kind: "local", supervisor: "sluice" })).toBeUndefined();
    const scope = process.geteuid?.() === 0 ? "system" : "user";
    expect(targetInputSchema.parse({ kind: "local", supervisor: "systemd" })).toMatchObject({ scope });
    expect(localOptionsSchema.safeParse({ kind: "local", scope: "user" }).error?.issues[0].message).toContain(
      "systemd",
    );
  });

  it.runIf(process.platform === "linux")("has a user of scope system only, whom this machine knows", () => {
    const parse = (scope: string) =>
      localOptionsSchema.safeParse({ kind: "local", supervisor: "systemd", scope, user: "x" });
    expect(parse("system").success).toBe(true);
    expect(parse("user").error?.issues[0].message).toContain('scope "system"');
    const { uid, gid, username } = userInfo();
    expect(ownerOf(username)).toEqual({ uid, gid });
    expect(() => ownerOf("sluice-nobody-has-this")).toThrow("no user sluice-nobody-has-this");
  });

  const asNobody = ["--reuid=nobody", "--clear-groups", process.execPath, "--version"];
  const canBecome = process.geteuid?.() === 0 && spawnSync("setpriv", asNobody).status === 0;
  it.runIf(canBecome)("has a user who reaches Node, the package and its folders, or a preview tells", () => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-reach-"));
    const mainPath = join(folder, "main.js");
    writeFileSync(mainPath, "");
    const folders = [join(folder, "state", "not-yet")];
    const look = (places: object = {}) =>
      requireReachable("nobody", { nodePath: process.execPath, mainPath, folders, ...places });
    try {
      expect(() => look()).toThrow(`the user nobody can't reach ${mainPath}`);
      chmodSync(folder, 0o755);
      look();
      mkdirSync(join(folder, "state"), { mode: 0o700 });
      mkdirSync(folders[0]);
      expect(() => look()).toThrow(`can't reach ${folders[0]}`);
      expect(() => look({ nodePath: join(folder, "node") })).toThrow(`can't reach ${join(folder, "node")}`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  const isBooted = spawnSync("systemctl", ["show", "--property=Version"]).status === 0;
  it.skipIf(isBooted)("is refused by a preview where systemd doesn't run", async () => {
    const problem = await deploymentOf({ kind: "local", supervisor: "systemd" }).preflight(spec());
    expect(["unsupported", "process"]).toContain(problem?.kind);
    expect(problem?.remedy).toMatch(/eave supervisor out|loginctl enable-linger/);
    const path = process.env.PATH;
    process.env.PATH = "/nonexistent";
    try {
      const without = await deploymentOf({ kind: "local", supervisor: "systemd" }).preflight(null);
      expect(without).toMatchObject({ kind: "unsupported", message: expect.stringContaining("no systemctl on PATH") });
    } finally {
      process.env.PATH = path;
    }
  });
});

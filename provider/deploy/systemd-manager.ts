import { execFile } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";
import { SluiceError } from "../../runtime/errors";
import type { Scope } from "./systemd-options";

const timeoutMs = 15_000;

/** Where the units of this scope lie that are made here. */
export function unitFolder(scope: Scope): string {
  if (scope === "system") return "/etc/systemd/system";
  const configuration = process.env.XDG_CONFIG_HOME;
  return join(
    configuration === undefined || configuration === "" ? join(homedir(), ".config") : configuration,
    "systemd",
    "user",
  );
}

/** What systemd knows of a unit (systemctl show). */
export interface UnitState {
  loadState: string;
  fragmentPath: string;
  activeState: string;
  subState: string;
  /** it waits for systemd to begin or end it */
  hasJob: boolean;
  unitFileState: string;
  mainPid: number | null;
  exitStatus: number;
  result: string;
  restarts: number;
}

const properties = [
  "LoadState",
  "FragmentPath",
  "ActiveState",
  "SubState",
  "Job",
  "UnitFileState",
  "MainPID",
  "ExecMainStatus",
  "Result",
  "NRestarts",
];

/** Pure: `Name=value` lines. */
export function parseUnitState(text: string): UnitState {
  const found = Object.fromEntries(text.split("\n").map((line) => line.split(/=(.*)/s, 2)));
  const [mainPid, exitStatus, restarts] = ["MainPID", "ExecMainStatus", "NRestarts"].map((name) =>
    Number(found[name] ?? 0),
  );
  return {
    loadState: found.LoadState ?? "",
    fragmentPath: found.FragmentPath ?? "",
    activeState: found.ActiveState ?? "",
    subState: found.SubState ?? "",
    hasJob: found.Job !== undefined && found.Job !== "" && found.Job !== "0",
    unitFileState: found.UnitFileState ?? "",
    mainPid: mainPid === 0 ? null : mainPid,
    exitStatus,
    result: found.Result ?? "",
    restarts,
  };
}

/** systemctl of one scope. Every call has a deadline and throws SluiceError. */
export class SystemdManager {
  constructor(readonly scope: Scope) {}

  async show(unit: string): Promise<UnitState> {
    return parseUnitState(await this.systemctl(["show", `--property=${properties.join(",")}`, unit]));
  }

  /** Its version. @throws SluiceError where there is no manager that answers */
  async ask(): Promise<number> {
    return Number(/^Version=\D*(\d+)/.exec(await this.systemctl(["show", "--property=Version"]))?.[1] ?? 0);
  }

  async reload(): Promise<void> {
    await this.systemctl(["daemon-reload"]);
  }

  /** Also at the machine's next start, or the user's first session of it. */
  async enable(unit: string): Promise<void> {
    await this.systemctl(["enable", "--quiet", unit]);
  }

  async disable(unit: string): Promise<void> {
    await this.systemctl(["disable", "--quiet", unit]);
  }

  /** Whether it could be started is told by its state. */
  async start(unit: string): Promise<void> {
    await this.systemctl(["start", "--no-block", unit]);
  }

  /** Returns when it has ended, by SIGKILL at last. */
  async stop(unit: string, stopTimeoutMs: number): Promise<void> {
    await this.systemctl(["stop", unit], stopTimeoutMs + timeoutMs);
  }

  /** Forgets that it has failed, by which systemd keeps a unit whose file is gone. */
  async forget(unit: string): Promise<void> {
    await this.systemctl(["reset-failed", unit]).catch(() => {});
  }

  /** What it said itself; else what systemd says of it. */
  async lastLines(unit: string, linesMax: number): Promise<string[]> {
    const scope = this.scope === "user" ? ["--user-unit", unit] : ["--unit", unit];
    const args = ["--quiet", "--no-pager", "--output=cat", `--lines=${linesMax}`, ...scope];
    const own = await run("journalctl", [...args, "_TRANSPORT=stdout"], timeoutMs).catch(() => "");
    const text = own === "" ? await run("journalctl", args, timeoutMs).catch(() => "") : own;
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.slice(0, 500));
  }

  private async systemctl(args: string[], deadlineMs = timeoutMs): Promise<string> {
    const command = ["--no-ask-password", "--no-pager", ...(this.scope === "user" ? ["--user"] : []), ...args];
    try {
      return await run("systemctl", command, deadlineMs);
    } catch (cause) {
      throw this.failure(cause as CommandFailure, `systemctl ${command.slice(2).join(" ")}`);
    }
  }

  private failure({ code, killed, stderr, message }: CommandFailure, command: string): SluiceError {
    if (code === "ENOENT") {
      return new SluiceError("unsupported", "this machine has no systemd: there is no systemctl on PATH", {
        remedy: 'Leave supervisor out, which is "sluice": processes are then supervised by one of ours.',
      });
    }
    if (killed === true) {
      return new SluiceError("timeout", `${command} has not ended in time`, {
        remedy: `Run it by hand, and look at systemctl list-jobs.`,
      });
    }
    const remedy =
      this.scope === "system"
        ? 'Run Pulumi as root on a machine that was booted with systemd; or use scope: "user", or leave supervisor out.'
        : "Run Pulumi in a session of this user; or let its manager run without one: loginctl enable-linger. XDG_RUNTIME_DIR must name its folder.";
    return new SluiceError("process", `${command}: ${(stderr ?? "").trim() || message}`, { remedy });
  }
}

interface CommandFailure extends Error {
  /** exit code, or the operating system's */
  code?: string | number;
  killed?: boolean;
  stderr?: string;
}

function run(command: string, args: string[], deadlineMs: number): Promise<string> {
  const runtimeFolder = process.env.XDG_RUNTIME_DIR ?? `/run/user/${process.geteuid?.()}`;
  const env = { ...process.env, LC_ALL: "C", XDG_RUNTIME_DIR: runtimeFolder };
  return new Promise((resolve, reject) => {
    execFile(command, args, { env, timeout: deadlineMs, killSignal: "SIGKILL" }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(Object.assign(error, { stderr }));
    });
  });
}

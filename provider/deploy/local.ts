import { spawn } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { configExitCode, SluiceError } from "../../runtime/errors";
import {
  identifyProcess,
  isAlive,
  type ProcessIdentity,
  processIdentitySchema,
  signalProcess,
  waitUntilGone,
} from "../../runtime/process-identity";
import { type SupervisorState, supervisorStateSchema } from "../../runtime/supervisor";
import { version } from "../../runtime/version";
import { exitText } from "./container-spec";
import { type Deployment, type Inspection, type ProcessSpec, renderConfiguration } from "./deployment";
import { packagedMainPath } from "./packaged-main";
import {
  lastLogLines,
  lastStop,
  processFiles,
  readJson,
  readSecretDigests,
  readStatus,
  readText,
  removeProcessFolder,
} from "./process-files";
import { environmentOf, writeFolder, writeSecrets } from "./process-folder";
import { crashesMax, type Supervision, waitUntilHealthy } from "./process-health";
import { stagingFolders } from "./staging-folder";
import { dropTables } from "./table-drop";
import { sweepAbandoned, tether, untether } from "./tether";

export interface LocalOptions {
  /** the runtime's entry; default: that of this package */
  mainPath?: string;
}

/** Detached, supervised processes on this machine. */
export function localDeployment(options: LocalOptions = {}): Deployment {
  const mainPath = options.mainPath ?? packagedMainPath();
  return {
    isHere: true,
    staging: stagingFolders,
    dropTables: (spec) => dropTables(spec, { mainPath }),
    // Its folders and its port are looked at where the inputs are checked.
    preflight: async () => null,
    async apply(spec, { tethered = false } = {}) {
      const wanted = renderConfiguration(spec.config);
      const found = await inspectLocal(spec.directory);
      if (found.kind !== "absent") writeSecrets(spec);
      const settled = found.kind === "running" || found.kind === "finished";
      if (settled && found.configuration === wanted && (found.version ?? version) === version) return {};
      await stopLocal(spec.directory, spec.stopTimeoutMs);
      start(spec, wanted, mainPath, tethered);
      const { directory } = spec;
      const { role } = spec.config;
      await waitUntilHealthy(
        spec,
        () => superviseLocal(directory, role),
        () => lastLogLines(directory, role, 5),
      );
      return {};
    },
    keep: async (directory) => untether(directory),
    sweep: (stateDir, stopTimeoutMs) => sweepAbandoned(stateDir, (directory) => stopLocal(directory, stopTimeoutMs)),
    inspect: inspectLocal,
    status: async (directory) => readStatus(directory),
    async remove(directory, stopTimeoutMs) {
      await stopLocal(directory, stopTimeoutMs);
      removeProcessFolder(directory);
    },
  };
}

function start(spec: ProcessSpec, configuration: string, mainPath: string, tethered: boolean): void {
  const file = (name: string) => join(spec.directory, name);
  writeFolder(spec, configuration, () => {
    if (tethered) tether(spec.directory);
    else untether(spec.directory);
  });
  const log = openSync(file(processFiles.supervisorLog), "w", 0o600);
  try {
    const child = spawn(process.execPath, [mainPath, "supervise", file(processFiles.configuration)], {
      cwd: spec.directory,
      detached: true,
      stdio: ["ignore", log, log],
      env: environmentOf(spec),
    });
    child.on("error", () => {});
    const identity = child.pid === undefined ? null : identifyProcess(child.pid);
    if (identity === null) {
      throw new SluiceError("process", `${process.execPath} could not be started`, {
        remedy:
          "Check that this Node may be executed by this user, and that memory and processes are left (ulimit -u).",
      });
    }
    writeFileSync(file(processFiles.started), JSON.stringify(identity));
    child.unref();
  } finally {
    closeSync(log);
  }
}

interface Processes {
  supervisor: ProcessIdentity | null;
  state: SupervisorState | null;
}

function readProcesses(directory: string): Processes {
  const state = readJson(join(directory, processFiles.supervisor), supervisorStateSchema);
  return { state, supervisor: readJson(join(directory, processFiles.started), processIdentitySchema) ?? state };
}

async function inspectLocal(directory: string): Promise<Inspection> {
  const configuration = readText(join(directory, processFiles.configuration));
  if (configuration === null) return { kind: "absent" };
  const { supervisor, state } = readProcesses(directory);
  const status = readStatus(directory);
  const settings = { configuration, secrets: readSecretDigests(directory), version: status?.version };
  // Its supervisor may take another moment to end.
  if (state?.finished === true) return { kind: "finished", ...settings };
  if (supervisor === null || !isAlive(supervisor)) return { kind: "dead", ...settings };
  const failure = status?.state;
  if (failure?.kind === "failed") {
    return { kind: "failed", ...settings, message: failure.message, remedy: failure.remedy };
  }
  return { kind: "running", ...settings };
}

/** Ends supervisor and child, never a process that merely has their pid. */
async function stopLocal(directory: string, timeoutMs: number): Promise<void> {
  const { supervisor, state } = readProcesses(directory);
  if (supervisor !== null && signalProcess(supervisor, "SIGTERM")) await waitUntilGone(supervisor, timeoutMs);
  // The child is named anew: it may have been restarted since. One whose supervisor was killed is stopped by itself.
  const left = [supervisor, state?.child, readProcesses(directory).state?.child].filter((one) => one != null);
  for (const one of left) {
    if (one !== supervisor && signalProcess(one, "SIGTERM")) await waitUntilGone(one, timeoutMs);
    signalProcess(one, "SIGKILL");
    if (!(await waitUntilGone(one, 5_000))) {
      throw new SluiceError("process", `process ${one.pid} does not end, not even by SIGKILL`, {
        remedy: `End process ${one.pid} by hand (it may wait for a disk), then run the same again.`,
      });
    }
  }
}

function superviseLocal(directory: string, role: string): Supervision {
  const { supervisor, state } = readProcesses(directory);
  if (state?.finished === true) return { kind: "finished" };
  if (state?.child === null && state.lastExit?.code === configExitCode) {
    return { kind: "hopeless", message: `failed: ${lastStop(directory, role) ?? "see its log"}` };
  }
  if (supervisor === null || !isAlive(supervisor)) return { kind: "hopeless", message: "ended before it was healthy" };
  if (state !== null && state.restarts >= crashesMax) {
    const { code = null, signal = null } = state.lastExit ?? {};
    const exit = signal === "SIGKILL" ? exitText(137, false, undefined) : `exit ${code ?? signal}`;
    return { kind: "hopeless", message: `crashes at every start (${exit}, ${state.restarts} restarts)` };
  }
  return { kind: "trying", pid: state?.child?.pid ?? null };
}

import { configExitCode } from "../../runtime/errors";
import type { StatusDocument } from "../../runtime/status";
import { exitText } from "./container-spec";
import type { Supervision } from "./process-health";
import { crashesMax } from "./process-health";
import type { UnitState } from "./systemd-manager";
import { isInstalled, readMark } from "./systemd-unit";

/** Pure: it has a process, or will have one. */
export function isRunning({ activeState }: UnitState): boolean {
  return activeState !== "inactive" && activeState !== "failed" && activeState !== "";
}

const isRestarting = ({ activeState, subState }: UnitState) =>
  activeState === "activating" && subState === "auto-restart";

/** Of its last process (systemd.exec(5), "SERVICE_RESULT"). */
function exitOf({ result, exitStatus }: UnitState): string {
  const isOutOfMemory = result === "oom-kill";
  if (isOutOfMemory || (result === "signal" && exitStatus === 9)) return exitText(137, isOutOfMemory, undefined);
  return result === "signal" || result === "core-dump" ? `signal ${exitStatus}` : `exit ${exitStatus}`;
}

export type UnitCondition =
  | { kind: "running" | "finished" | "dead" }
  | { kind: "failed"; message: string; remedy?: string };

/** Pure: what a unit of ours is doing. `text`: of its file, null where that is gone. */
export function unitCondition(
  name: string,
  text: string | null,
  state: UnitState,
  status: StatusDocument | null,
): UnitCondition {
  const failure = status?.state;
  if (!isRunning(state)) {
    // After a start of the machine systemd knows of no exit.
    const isDone = text !== null && !isInstalled(text) && failure?.kind === "stopped";
    return { kind: isDone && state.exitStatus === 0 ? "finished" : "dead" };
  }
  if (failure?.kind === "failed") return { kind: "failed", message: failure.message, remedy: failure.remedy };
  if (isRestarting(state)) return { kind: "failed", message: `it ends at every start: ${exitOf(state)}` };
  const mark = text === null ? null : readMark(text);
  if (mark === null || mark.kind === "foreign" || !mark.isWritten) {
    return { kind: "failed", message: `the file of its unit ${name} was changed or removed by hand` };
  }
  if (isInstalled(text ?? "") && state.unitFileState !== "enabled") {
    return {
      kind: "failed",
      message: `its unit ${name} is ${state.unitFileState}, not enabled: the next boot leaves it out`,
    };
  }
  return { kind: "running" };
}

/** From here on exit codes are systemd's own, of what it does before it starts the process (systemd.exec(5)). */
const systemdExitMin = 200;

/** Pure: of a unit that was just started. */
export function superviseUnit(state: UnitState): Supervision {
  const exit = exitOf(state);
  if (isRestarting(state)) {
    if (state.exitStatus >= systemdExitMin)
      return { kind: "hopeless", message: `can't be started by systemd (${exit})` };
    if (state.exitStatus === configExitCode) return { kind: "hopeless", message: "can't run with its settings" };
    if (state.restarts < crashesMax) return { kind: "trying", pid: null };
    return { kind: "hopeless", message: `crashes at every start (${exit}, ${state.restarts} restarts)` };
  }
  // A start that is queued has changed nothing yet.
  if (isRunning(state) || state.hasJob) return { kind: "trying", pid: state.mainPid };
  if (state.activeState === "inactive" && state.exitStatus === 0) return { kind: "finished" };
  return { kind: "hopeless", message: `ended before it was healthy (${exit}, ${state.result})` };
}

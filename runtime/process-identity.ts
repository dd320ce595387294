import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";

/** A process told apart from a later one with the same pid, by when it started. */
export const processIdentitySchema = z.object({ pid: z.int().min(1), startTime: z.string().min(1) });
export type ProcessIdentity = z.infer<typeof processIdentitySchema>;

/** `null` when there is no such process, or it has ended and waits for its parent (a zombie). */
export function identifyProcess(pid: number): ProcessIdentity | null {
  const startTime = process.platform === "linux" ? startTimeFromProc(pid) : startTimeFromPs(pid);
  return startTime === null ? null : { pid, startTime };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTime === identity.startTime;
}

/** Sends the signal only to the very process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** True when it ended before the deadline. */
export async function waitUntilGone(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (isAlive(identity)) {
    if (Date.now() > deadline) return false;
    await pause(25);
  }
  return true;
}

/** Field 22 of /proc/<pid>/stat, in clock ticks since boot (proc_pid_stat(5)); field 2 may hold spaces and brackets. */
function startTimeFromProc(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? null : fields[19];
  } catch {
    return null;
  }
}

function startTimeFromPs(pid: number): string | null {
  try {
    const line = execFileSync("ps", ["-o", "state=,lstart=", "-p", String(pid)], { encoding: "utf8" }).trim();
    const [state, ...rest] = line.split(/\s+/);
    return line === "" || state.startsWith("Z") ? null : rest.join(" ");
  } catch {
    return null;
  }
}

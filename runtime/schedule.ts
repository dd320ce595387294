import { Cron } from "croner";

/** When to run: a cron expression, read in a time zone. */
export interface Schedule {
  /** five fields (minute, hour, day of month, month, day of week), or six with seconds in front, or `@daily` and the like */
  cron: string;
  /** IANA name, such as `Europe/Berlin` */
  timeZone: string;
}

const mode = "5-or-6-parts";

/** What is wrong with a schedule; null for a good one, which comes to pass some day. */
export function scheduleProblem({ cron, timeZone }: Schedule): { of: "cron" | "timeZone"; message: string } | null {
  try {
    new Intl.DateTimeFormat("en", { timeZone });
  } catch {
    return { of: "timeZone", message: `there is no time zone ${timeZone}: use an IANA name, such as Europe/Berlin` };
  }
  try {
    if (next({ cron, timeZone }, new Date()) !== null) return null;
    return { of: "cron", message: `${cron} never comes to pass` };
  } catch (error) {
    return { of: "cron", message: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * Pure: when the next run is due. Times that passed while a run went on, or while nothing ran, are made up for once, now.
 *
 * Where clocks go forward, a time that is left out is run when they have gone forward; where they go back, a time of day
 * that comes twice is run the first time. What recurs by intervals (every half hour) does so through both.
 * @param lastMs time for which the last run was due; null before the first
 */
export function nextRunMs(schedule: Schedule, lastMs: number | null, nowMs: number): number {
  // A clock that was set back must not hold runs up.
  const fromMs = Math.min(lastMs ?? nowMs, nowMs);
  const dueMs = next(schedule, new Date(fromMs))?.getTime() ?? Number.POSITIVE_INFINITY;
  return dueMs <= nowMs ? latestDueMs(schedule, dueMs, nowMs) : dueMs;
}

/** The newest of the times from `dueMs` to now, where few have passed; else now. */
function latestDueMs(schedule: Schedule, dueMs: number, nowMs: number): number {
  let latestMs = dueMs;
  for (let passed = 0; passed < 100; passed++) {
    const afterMs = next(schedule, new Date(latestMs))?.getTime() ?? Number.POSITIVE_INFINITY;
    if (afterMs > nowMs) return latestMs;
    latestMs = afterMs;
  }
  return nowMs;
}

function next({ cron, timeZone }: Schedule, from: Date): Date | null {
  return new Cron(cron, { timezone: timeZone, paused: true, mode }).nextRun(from);
}

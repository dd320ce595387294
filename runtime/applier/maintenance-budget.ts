/**
 * How much maintenance may take: a part of the time, paid for afterwards, and never a run that would keep a due batch
 * waiting longer than the trigger's interval. Pure.
 */
export interface MaintenanceBudget {
  /** time that may be spent; less than 0 when a run took more */
  creditMs: number;
  /** when the credit was counted */
  atMs: number;
  /** how fast files are written anew, as runs so far were */
  bytesPerMs: number;
}

const creditMsMax = 10_000;
const firstCreditMs = 1_000;
/** Before the first run that tells: a slow disk's. */
const firstBytesPerMs = 20_000;
const bytesPerMsMin = 1_000;
/** Runs below this size tell little of the speed: a large part of their time is the commit's. */
const measuredBytesMin = 4 * 1024 * 1024;
/** What any commit takes. */
const commitMs = 50;
/** So much is always allowed: smaller runs would take as long, and get less done. */
const bytesMin = { bytes: 8 * 1024 * 1024, fromIntervalMs: 250, bytesBelow: 1024 * 1024 };
/** Part of the interval that a run is meant to take, for no run is exactly as long as expected. */
const intervalPart = 0.7;

export function newBudget(nowMs: number): MaintenanceBudget {
  return { creditMs: firstCreditMs, atMs: nowMs, bytesPerMs: firstBytesPerMs };
}

export function refill(budget: MaintenanceBudget, nowMs: number, timeShareMax: number): MaintenanceBudget {
  const earnedMs = Math.max(0, nowMs - budget.atMs) * timeShareMax;
  return { ...budget, creditMs: Math.min(creditMsMax, budget.creditMs + earnedMs), atMs: nowMs };
}

/** After a run. `bytes`: what it has read of files to write them anew; 0 when it did something else. */
export function spend(budget: MaintenanceBudget, durationMs: number, bytes: number): MaintenanceBudget {
  const creditMs = budget.creditMs - durationMs;
  if (bytes < measuredBytesMin || durationMs <= 0) return { ...budget, creditMs };
  const measured = Math.max(bytesPerMsMin, bytes / Math.max(1, durationMs - commitMs));
  return { ...budget, creditMs, bytesPerMs: (budget.bytesPerMs + measured) / 2 };
}

/** What the next run may read; 0 when there must be none yet. `intervalMs`: of the trigger; null when no batch waits. */
export function bytesAllowed(budget: MaintenanceBudget, intervalMs: number | null, bytesMax: number): number {
  if (budget.creditMs <= 0) return 0;
  if (intervalMs === null) return bytesMax;
  const least = intervalMs < bytesMin.fromIntervalMs ? bytesMin.bytesBelow : bytesMin.bytes;
  return Math.min(bytesMax, Math.max(least, Math.floor(budget.bytesPerMs * intervalMs * intervalPart)));
}

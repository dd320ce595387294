import { setTimeout as delay } from "node:timers/promises";
import type { ApplierConfig } from "../config";
import { describeError } from "../errors";
import { log } from "../operate/log";
import { nextRunMs } from "../schedule";
import { faultOf } from "../staging/storage-fault";
import type { ProcessState } from "../status";
import type { ApplierTables } from "./applier-tables";

type Trigger = ApplierConfig["trigger"];

/** How often staging is looked at where a number of rows decides. */
const lookMs = 500;
/** Part of the interval that maintenance may count on where applying takes all of it. */
const maintainPartMin = 0.5;
/** A wait is never longer, so that a clock that is set is noticed. */
const waitMsMax = 10_000;

export interface TriggerContext {
  signal: AbortSignal;
  setState(state: ProcessState): void;
}

/**
 * Applies when the trigger says so, until `signal` aborts or the trigger has no more to say.
 * @throws SluiceError (trigger `once`) of a table that has failed, when all others have what was staged at start
 */
export async function applyByTrigger(tables: ApplierTables, trigger: Trigger, context: TriggerContext): Promise<void> {
  switch (trigger.kind) {
    case "continuous":
      return applyContinuously(tables, trigger, context);
    case "schedule":
      return applyBySchedule(tables, trigger, context);
    case "once":
      return applyOnce(tables, context);
  }
}

/**
 * A turn begins when `intervalMs` have passed since the last that had something to apply, and something is staged: so what
 * is staged later than that is applied at once, and what the gateway cuts at the same pace waits for nothing.
 */
async function applyContinuously(
  tables: ApplierTables,
  { intervalMs, rows }: Extract<Trigger, { kind: "continuous" }>,
  { signal, setState }: TriggerContext,
): Promise<void> {
  setState({ kind: "running" });
  await tables.look();
  let dueMs = 0;
  while (!signal.aborted) {
    if (tables.isDue) dueMs = performance.now() + intervalMs;
    await tables.applyDue(signal);
    const rowsBefore = tables.stagedRows;
    const leftMs = Math.max(dueMs - performance.now(), intervalMs * maintainPartMin);
    await tables.maintain(signal, rows === undefined ? leftMs : Math.min(leftMs, lookMs));
    if (!tables.isDue) {
      await untilDue(tables, rows === undefined ? null : rowsBefore + rows, dueMs, signal);
      await untilStaged(tables, intervalMs, signal);
    }
    await lookAgain(tables);
  }
}

/** What can't be read for now is looked for the next time. */
async function lookAgain(tables: ApplierTables): Promise<void> {
  try {
    await tables.look();
  } catch (error) {
    if (faultOf(error) === "permanent") throw error;
    log("warning", "staging-unread", { error: describeError(error) });
  }
}

/** `stagedRows`: so many in all are due before their time; null for no such number. */
async function untilDue(
  tables: ApplierTables,
  stagedRows: number | null,
  dueMs: number,
  signal: AbortSignal,
): Promise<void> {
  for (let leftMs = dueMs - performance.now(); leftMs > 0 && !signal.aborted; leftMs = dueMs - performance.now()) {
    await delay(stagedRows === null ? leftMs : Math.min(leftMs, lookMs), undefined, { signal }).catch(() => {});
    if (stagedRows === null) continue;
    await lookAgain(tables);
    if (tables.stagedRows >= stagedRows) return;
  }
}

/** Not longer than the interval, as there is other work too. */
async function untilStaged(tables: ApplierTables, intervalMs: number, signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + intervalMs;
  const pollMs = Math.min(lookMs, Math.max(10, intervalMs / 20));
  while (!signal.aborted && performance.now() < endMs && !tables.isDue && !(await hasStaged(tables))) {
    await delay(pollMs, undefined, { signal }).catch(() => {});
  }
}

async function hasStaged(tables: ApplierTables): Promise<boolean> {
  return tables.hasStaged().catch((error: unknown) => {
    if (faultOf(error) === "permanent") throw error;
    return false;
  });
}

async function applyBySchedule(
  tables: ApplierTables,
  schedule: Extract<Trigger, { kind: "schedule" }>,
  { signal, setState }: TriggerContext,
): Promise<void> {
  setState({ kind: "running" });
  tables.ranAtMs ??= Date.now();
  while (!signal.aborted) {
    const dueMs = nextRunMs(schedule, tables.ranAtMs, Date.now());
    if (dueMs > Date.now()) {
      if (tables.nextRunAtMs !== dueMs) log("info", "run-due", { dueAt: new Date(dueMs).toISOString() });
      tables.nextRunAtMs = dueMs;
      await tables.maintain(signal, Math.min(dueMs - Date.now(), waitMsMax));
      const leftMs = Math.min(Math.max(dueMs - Date.now(), 1), waitMsMax);
      await delay(leftMs, undefined, { signal }).catch(() => {});
      continue;
    }
    await tables.look();
    log("info", "run-started", { dueAt: new Date(dueMs).toISOString(), stagedSequence: tables.stagedSequence });
    await applyTo(tables, tables.stagedSequence, signal);
    if (!signal.aborted) tables.ranAtMs = dueMs;
  }
}

async function applyOnce(tables: ApplierTables, { signal, setState }: TriggerContext): Promise<void> {
  setState({ kind: "running" });
  await tables.look();
  await applyTo(tables, tables.stagedSequence, signal);
  if (signal.aborted) return;
  if (tables.failed !== null) throw tables.failed;
  await tables.maintain(signal, null);
}

/** Until each table has what is staged up to `goal`, or can't be applied. */
async function applyTo(tables: ApplierTables, goal: number, signal: AbortSignal): Promise<void> {
  tables.beginRun();
  while (!signal.aborted) {
    await tables.applyDue(signal);
    const waitMs = tables.waitMs(goal);
    if (waitMs === null) return tables.endRun();
    if (waitMs > 0) await delay(Math.min(waitMs, lookMs), undefined, { signal }).catch(() => {});
  }
}

import type { PlanState } from "../destination/apply-plan";
import { describeError, type SluiceError } from "../errors";
import { log } from "../operate/log";
import { afterFailure, retryDelayMs, runAttemptsMax, type TableFailure } from "./table-failure";
import type { KnownTable } from "./table-state";

/** What decides when a table's turn comes, whatever its destination is. */
export interface TurnState {
  known: KnownTable;
  readonly plan: PlanState | null;
  failure: TableFailure | null;
  readonly label: string;
  readonly isQuarantined: boolean;
  readonly doneSequence: number;
  /** What was read of the table may not hold any more. */
  forget(): void;
}

/** @param head the newest staged record */
export function isDue(state: TurnState, head: number, nowMs: number): boolean {
  if (state.failure !== null) return retryDelayMs(state.failure, nowMs) === 0;
  return state.plan === null || state.doneSequence < head;
}

/** How long until something can be done towards `goal`, 0 for at once; null when that is reached or hopeless. */
export function waitMs({ failure, doneSequence }: TurnState, goal: number, nowMs: number): number | null {
  if (failure === null) return doneSequence >= goal ? null : 0;
  const leftMs = retryDelayMs(failure, nowMs);
  return leftMs > 0 && (failure.quarantinedAtMs !== null || failure.count >= runAttemptsMax) ? null : leftMs;
}

/** A failed table is due now. */
export function retryNow(state: TurnState): void {
  if (state.failure !== null) state.failure = { ...state.failure, retryAtMs: 0, count: 0 };
}

export function noteSuccess(state: TurnState): void {
  state.failure = null;
  const { quarantinedAt: _over, ...known } = state.known;
  state.known = known;
}

/** Kept, told in the log, and tried again or quarantined. */
export function noteFailure(state: TurnState, error: SluiceError, nowMs: number): void {
  const sinceMs = state.known.quarantinedAt === undefined ? nowMs : Date.parse(state.known.quarantinedAt);
  const failure = afterFailure(state.failure, error, nowMs, sinceMs);
  state.failure = failure;
  const { quarantinedAtMs } = failure;
  if (quarantinedAtMs !== null) {
    state.known = { ...state.known, quarantinedAt: new Date(quarantinedAtMs).toISOString() };
  }
  log("warning", quarantinedAtMs === null ? "table-failed" : "table-quarantined", {
    table: state.label,
    error: describeError(error),
    retryMs: failure.retryAtMs - nowMs,
  });
  state.forget();
}

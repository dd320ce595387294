import { type ApplyPlan, sinceSnapshot } from "../destination/apply-plan";
import type { OptionsChange } from "../table-options-change";

export interface ApplySituation {
  ready: ApplyPlan;
  /** what the pipeline's options are to the rows of now */
  change: OptionsChange;
  /** staging no longer has what comes after the table's position */
  lacksPurged: boolean;
  /** tried in vain with all of its changes: a new snapshot heals it without */
  isQuarantined: boolean;
  /** the plan leaves the table at its place, which another table has taken */
  isDisplaced: boolean;
  /** another table of the log has the place that the plan goes to */
  isTaken: boolean;
  /** by the newest staged record the place is this table's */
  isRightful: boolean;
  /** by the newest staged record the place is that of who has it */
  isRightfullyTaken: boolean;
  keepsHistory: boolean;
  /** the rows of now are this table's */
  isHeld: boolean;
}

export type ApplyDecision =
  /** `isReplaced`: it begins with a snapshot; `goesOn`: it needs the rows of now */
  | { kind: "apply"; plan: ApplyPlan; isReplaced: boolean; goesOn: boolean }
  /** the table has an older name, which another one has by now: its newer one is still to come */
  | { kind: "waiting" }
  | { kind: "blocked"; by: "purged" }
  | { kind: "blocked"; by: "options"; reason: string }
  | { kind: "blocked"; by: "place" };

/** Pure: what can be done of a plan, which has steps. */
export function decideApply(situation: ApplySituation): ApplyDecision {
  const { ready, change, lacksPurged, isQuarantined, isDisplaced, keepsHistory, isHeld } = situation;
  const needsSnapshot = lacksPurged || change.kind === "refresh";
  const healed = needsSnapshot || isQuarantined ? sinceSnapshot(ready) : ready;
  if (healed.steps.length === 0 && needsSnapshot) {
    return change.kind === "refresh"
      ? { kind: "blocked", by: "options", reason: change.reason }
      : { kind: "blocked", by: "purged" };
  }
  const plan = healed.steps.length === 0 ? ready : healed;
  const isReplaced = plan.steps[0].kind === "replace";
  // Whoever is behind must not take the place of one that is there by its newest name.
  if (situation.isTaken && !situation.isRightful) return { kind: "waiting" };
  if (!isReplaced && isDisplaced && situation.isRightfullyTaken) return { kind: "blocked", by: "place" };
  // A snapshot needs nothing of before, unless the table keeps what was.
  const goesOn = !isReplaced || (keepsHistory && change.kind !== "refresh" && isHeld);
  return { kind: "apply", plan, isReplaced, goesOn };
}

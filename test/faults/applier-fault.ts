import { type Failpoint, failpoints } from "../../runtime/failpoint";
import type { Random } from "../support/random";

/** What is done to an applier; it runs again before the next. Changes are staged meanwhile. */
export type ApplierFault =
  /** kill -9 so many milliseconds after changes begin to come */
  | { kind: "kill"; afterMs: number }
  /** it is started with the failpoint armed, and dies at its n-th pass, as by kill -9 */
  | { kind: "failpoint"; name: Failpoint; pass: number }
  /** SIGTERM */
  | { kind: "stop"; afterMs: number }
  /** SIGSTOP, and SIGCONT later: the rival goes on meanwhile */
  | { kind: "freeze"; ms: number }
  /** kill -9 of the rival, amid what it does */
  | { kind: "kill-rival" }
  /** calls fail (a full disk among them), are slow, or are done and their responses lost; then kill -9 */
  | { kind: "disturbed"; what: "staging" | "destination"; seed: number; ms: number };

/** Those that rounds with a rival can't reach: its files that aren't committed yet must not be taken for needless. */
const withoutRivalOnly: readonly Failpoint[] = ["applier.during-vacuum"];

const own = failpoints.filter((name) => name.startsWith("applier."));

/** Kills are the most frequent; three of four faults are. */
export function chooseApplierFault(random: Random, hasRival: boolean): ApplierFault {
  const number = random.between(1, 20);
  if (number <= 8) return { kind: "kill", afterMs: random.between(0, 400) };
  if (number <= 15) {
    const reachable = own.filter((name) => !hasRival || !withoutRivalOnly.includes(name));
    const name = random.choose(reachable);
    return { kind: "failpoint", name, pass: random.between(1, /compact|drop|change-data/.test(name) ? 2 : 4) };
  }
  if (number === 16) return { kind: "stop", afterMs: random.between(0, 300) };
  if (number === 17) return { kind: "freeze", ms: random.between(20, 500) };
  if (number === 18 && hasRival) return { kind: "kill-rival" };
  const what = random.choose(["staging", "destination"] as const);
  return { kind: "disturbed", what, seed: random.between(1, 1e9), ms: random.between(200, 1_500) };
}

export function describeApplierFault(fault: ApplierFault): string {
  switch (fault.kind) {
    case "kill":
      return `kill -9 after ${fault.afterMs} ms`;
    case "failpoint":
      return `kill -9 at ${fault.name}, pass ${fault.pass}`;
    case "stop":
      return `SIGTERM after ${fault.afterMs} ms`;
    case "freeze":
      return `frozen for ${fault.ms} ms`;
    case "kill-rival":
      return "kill -9 of the rival writer";
    case "disturbed":
      return `${fault.what} disturbed for ${fault.ms} ms (seed ${fault.seed}), then kill -9`;
  }
}

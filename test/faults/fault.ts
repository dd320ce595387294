import { type Failpoint, failpoints } from "../../runtime/failpoint";
import type { Random } from "../support/random";

export type Role = "gateway" | "applier";

/** What is done to a running pair of gateway and applier; each is over, and the pair runs again, before the next. */
export type Fault =
  | { kind: "kill"; role: Role }
  /** the process is started with the failpoint armed, and dies at its n-th pass, as by kill -9 */
  | { kind: "failpoint"; name: Failpoint; pass: number }
  /** SIGTERM, and a new start */
  | { kind: "stop"; role: Role }
  /** SIGSTOP, and SIGCONT later: a long pause of the machine */
  | { kind: "freeze"; role: Role; ms: number }
  /** the server ends the walsender, or every session of ours */
  | { kind: "terminate"; sessions: "walsender" | "all" }
  /** the network is cut, or nothing passes */
  | { kind: "cut"; ms: number }
  | { kind: "stall"; ms: number }
  /** the server is shut down, or crashes */
  | { kind: "restart"; mode: "fast" | "immediate" }
  /** somebody drops the slot: it is made anew, and every table copied again */
  | { kind: "lose-slot" }
  /** a table leaves the publication and comes back: a new snapshot under load */
  | { kind: "republish" }
  /** somebody asks for a new snapshot of a table, the one with that number of those that are staged */
  | { kind: "resync"; pick: number }
  /** the gateway writes to a staging that fails, is slow, or loses responses */
  | { kind: "staging"; seed: number; ms: number };

export function roleOf(name: Failpoint): Role {
  return name.startsWith("gateway.") ? "gateway" : "applier";
}

const choices: { weight: number; make: (random: Random) => Fault }[] = [
  { weight: 6, make: (random) => ({ kind: "kill", role: random.choose(["gateway", "applier"]) }) },
  {
    weight: 6,
    make: (random) => ({ kind: "failpoint", name: random.choose(failpoints), pass: random.between(1, 4) }),
  },
  { weight: 1, make: (random) => ({ kind: "stop", role: random.choose(["gateway", "applier"]) }) },
  {
    weight: 1,
    make: (random) => ({ kind: "freeze", role: random.choose(["gateway", "applier"]), ms: random.between(50, 1_500) }),
  },
  { weight: 2, make: (random) => ({ kind: "terminate", sessions: random.choose(["walsender", "all"]) }) },
  { weight: 1, make: (random) => ({ kind: "cut", ms: random.between(0, 1_500) }) },
  { weight: 1, make: (random) => ({ kind: "stall", ms: random.between(50, 1_500) }) },
  { weight: 1, make: (random) => ({ kind: "restart", mode: random.choose(["fast", "immediate"]) }) },
  { weight: 1, make: () => ({ kind: "republish" }) },
  { weight: 1, make: (random) => ({ kind: "resync", pick: random.between(0, 99) }) },
  { weight: 1, make: () => ({ kind: "lose-slot" }) },
  { weight: 2, make: (random) => ({ kind: "staging", seed: random.between(1, 1e9), ms: random.between(200, 2_000) }) },
];

/** Whether the failpoint lies on the way of a lost slot. */
export function needsLostSlot(name: Failpoint): boolean {
  return name.startsWith("gateway.after-slot-");
}

/** Kills are the most frequent. */
export function chooseFault(random: Random): Fault {
  let left = random.between(
    1,
    choices.reduce((sum, { weight }) => sum + weight, 0),
  );
  for (const { weight, make } of choices) {
    left -= weight;
    if (left <= 0) return make(random);
  }
  throw new Error("weights don't add up");
}

/** Whether a process dies of it without a word. */
export function isKill(fault: Fault): boolean {
  return fault.kind === "kill" || fault.kind === "failpoint";
}

export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case "kill":
      return `kill -9 of the ${fault.role}`;
    case "failpoint":
      return `kill -9 at ${fault.name}, pass ${fault.pass}`;
    case "stop":
      return `SIGTERM to the ${fault.role}`;
    case "freeze":
      return `${fault.role} frozen for ${fault.ms} ms`;
    case "terminate":
      return `${fault.sessions === "all" ? "all sessions" : "walsender"} terminated`;
    case "cut":
      return `network cut for ${fault.ms} ms`;
    case "stall":
      return `network stalled for ${fault.ms} ms`;
    case "restart":
      return fault.mode === "immediate" ? "PostgreSQL crashed" : "PostgreSQL restarted";
    case "lose-slot":
      return "the slot was dropped";
    case "republish":
      return "a table left the publication and came back";
    case "resync":
      return "sluice resync of a table";
    case "staging":
      return `staging disturbed for ${fault.ms} ms (seed ${fault.seed})`;
  }
}

import { parseArgs } from "node:util";

export const faultsUsage = `npm run faults -- [--applier] [--seed S] [--minutes N] [--json]

  Gateway and applier under a workload, with kills at every failpoint and at random moments, and with faults of server,
  network and staging; after each round the destination must equal the source.

  --applier     the applier alone, over a staging log that is made for it: tables of every kind and mode, kills at every
                step, calls that fail or lose their responses, a rival writer of the same tables
  --seed S      the first round's seed; default: of the clock
  --minutes N   how long rounds are begun; default 5
  --rounds N    at most so many rounds
  --json        ends with one JSON line: {kills, faults, lost, doubled, seeds, …}
`;

export type FaultsCommand =
  | { kind: "help" }
  | { kind: "error"; message: string }
  | { kind: "run"; lane: "pair" | "applier"; seed: number; minutes: number; roundsMax: number; json: boolean };

/** Pure. */
export function readFaultsCommand(argv: string[], clockSeed: number): FaultsCommand {
  try {
    const { values } = parseArgs({
      args: argv,
      options: {
        applier: { type: "boolean", default: false },
        seed: { type: "string" },
        minutes: { type: "string" },
        rounds: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return { kind: "help" };
    return {
      kind: "run",
      lane: values.applier ? "applier" : "pair",
      seed: number("--seed", values.seed, clockSeed, 0, 4_294_967_295),
      minutes: number("--minutes", values.minutes, 5, 0.01, 24 * 60),
      roundsMax: number("--rounds", values.rounds, 100_000, 1, 100_000),
      json: values.json,
    };
  } catch (error) {
    return { kind: "error", message: (error as Error).message };
  }
}

function number(option: string, text: string | undefined, byDefault: number, min: number, max: number): number {
  if (text === undefined) return byDefault;
  const value = Number(text);
  if (!(value >= min && value <= max) || (option !== "--minutes" && !Number.isInteger(value))) {
    throw new Error(`${option} is a number from ${min} to ${max}, not ${JSON.stringify(text)}`);
  }
  return value;
}

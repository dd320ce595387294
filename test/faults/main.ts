import { startPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { ApplierRound } from "./applier-round";
import { chooseFault, type Fault, isKill } from "./fault";
import { faultsUsage, readFaultsCommand } from "./fault-options";
import { FaultRound, type RoundResult } from "./fault-round";

const faultsPerRound = 10;
const applierFaultsPerRound = 15;
const scale = 0.02;

async function main(): Promise<number> {
  const command = readFaultsCommand(process.argv.slice(2), Date.now() % 4_294_967_296);
  switch (command.kind) {
    case "help":
      process.stdout.write(faultsUsage);
      return 0;
    case "error":
      process.stderr.write(`faults: ${command.message}\n\n${faultsUsage}`);
      return 64;
    case "run":
      return run(command);
  }
}

type Command = Extract<ReturnType<typeof readFaultsCommand>, { kind: "run" }>;
/** How one round is run, and how many of its faults are kills that were carried out. */
type Lane = (
  seed: number,
  progress: (line: string) => void,
) => Promise<RoundResult & { kills: number; faults: number }>;

async function run(command: Command): Promise<number> {
  if (command.lane === "applier") {
    return runRounds(command, async (seed, progress) => {
      return {
        ...(await ApplierRound.run({ seed, faults: applierFaultsPerRound, progress })),
        faults: applierFaultsPerRound,
      };
    });
  }
  const postgres = await startPostgres({
    // Large transactions are streamed before they end.
    settings: { logical_decoding_work_mem: "64kB", max_slot_wal_keep_size: "8GB" },
  });
  try {
    return await runRounds(command, async (seed, progress) => {
      const random = new Random(seed);
      const faults: Fault[] = Array.from({ length: faultsPerRound }, () => chooseFault(random));
      const result = await FaultRound.run(postgres, { seed, faults, scale, progress });
      return { ...result, kills: faults.filter(isKill).length - result.unreached.length, faults: faults.length };
    });
  } finally {
    await postgres.stop();
  }
}

async function runRounds({ seed: firstSeed, minutes, roundsMax, json }: Command, lane: Lane): Promise<number> {
  const startedMs = Date.now();
  const progress = (line: string) =>
    process.stderr.write(`${((Date.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
  const total = { rounds: 0, kills: 0, faults: 0, lost: 0, doubled: 0, unreached: 0, rows: 0, problems: 0 };
  const seeds: number[] = [];
  let rivalCommits = 0;
  for (let seed = firstSeed; Date.now() - startedMs < minutes * 60_000 && total.rounds < roundsMax; seed++) {
    seeds.push(seed);
    progress(`round ${total.rounds + 1}, seed ${seed}`);
    const result = await lane(seed, progress);
    report(result, progress);
    total.rounds++;
    total.faults += result.faults;
    total.kills += result.kills;
    total.lost += result.lost;
    total.doubled += result.doubled;
    total.rows += result.rows;
    total.unreached += result.unreached.length;
    total.problems += result.problems.length;
    rivalCommits += result.rivalCommits ?? 0;
  }
  const { kills, faults, lost, doubled, ...more } = total;
  if (json) process.stdout.write(`${JSON.stringify({ kills, faults, lost, doubled, seeds, ...more, rivalCommits })}\n`);
  else {
    process.stdout.write(
      `${total.rounds} rounds: ${faults} faults, ${kills} of them kills; ${lost} rows lost, ${doubled} doubled\n`,
    );
  }
  return lost === 0 && doubled === 0 && total.problems === 0 ? 0 : 1;
}

function report(result: RoundResult, progress: (line: string) => void): void {
  for (const problem of result.problems) progress(`PROBLEM: ${problem}`);
  if (result.unreached.length > 0) progress(`not reached: ${result.unreached.join("; ")}`);
  progress(`${result.rows} rows compared: ${result.lost} lost, ${result.doubled} doubled`);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`faults: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);

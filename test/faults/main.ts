import { startPostgres } from "../support/postgres-server";
import { Random } from "../support/random";
import { chooseFault, type Fault, isKill } from "./fault";
import { faultsUsage, readFaultsCommand } from "./fault-options";
import { FaultRound, type RoundResult } from "./fault-round";

const faultsPerRound = 10;
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
      return run(command.seed, command.minutes, command.roundsMax, command.json);
  }
}

async function run(firstSeed: number, minutes: number, roundsMax: number, json: boolean): Promise<number> {
  const startedMs = Date.now();
  const progress = (line: string) =>
    process.stderr.write(`${((Date.now() - startedMs) / 1000).toFixed(0).padStart(5)} s  ${line}\n`);
  const postgres = await startPostgres({
    // Large transactions are streamed before they end.
    settings: { logical_decoding_work_mem: "64kB", max_slot_wal_keep_size: "8GB" },
  });
  const total = { rounds: 0, kills: 0, faults: 0, lost: 0, doubled: 0, unreached: 0, rows: 0, problems: 0 };
  const seeds: number[] = [];
  try {
    for (let seed = firstSeed; Date.now() - startedMs < minutes * 60_000 && total.rounds < roundsMax; seed++) {
      const random = new Random(seed);
      const faults: Fault[] = Array.from({ length: faultsPerRound }, () => chooseFault(random));
      seeds.push(seed);
      progress(`round ${total.rounds + 1}, seed ${seed}`);
      const result = await FaultRound.run(postgres, { seed, faults, scale, progress });
      report(result, progress);
      total.rounds++;
      total.faults += faults.length;
      total.kills += faults.filter(isKill).length - result.unreached.length;
      total.lost += result.lost;
      total.doubled += result.doubled;
      total.rows += result.rows;
      total.unreached += result.unreached.length;
      total.problems += result.problems.length;
    }
  } finally {
    await postgres.stop();
  }
  const { kills, faults, lost, doubled, ...more } = total;
  if (json) process.stdout.write(`${JSON.stringify({ kills, faults, lost, doubled, seeds, ...more })}\n`);
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

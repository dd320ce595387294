import { parseArgs } from "node:util";

export const benches = ["snapshot", "stream", "transaction", "files", "apply", "growth", "tended", "endtoend"] as const;
export type BenchName = (typeof benches)[number];

export interface BenchOptions {
  quick: boolean;
  /** rows or changes; default by bench */
  rows: number | undefined;
  runs: number;
  /** endtoend: how long, and how many changes a second */
  seconds: number | undefined;
  rate: number | undefined;
  /** an empty folder of its own */
  folder: string;
  timeoutMs: number;
  progress(line: string): void;
}

export const benchUsage = `npm run bench -- NAME [--json] [--quick] [--rows N] [--runs N]

  snapshot     a table's snapshot into staging, against psql's COPY binary to nowhere
  stream       changes into staging, against pg_recvlogical to nowhere
  transaction  the same of one large transaction, read before its end and (atCommit) at its commit
  files        changes into a volume, by a stand-in's Files API with 50 ms latency, against a folder
  apply        changes into a Delta table, against rewriting the files that they touch, and delta-rs MERGE
  growth       changes of neighbouring rows in a large table, against one with a tenth of its rows
  tended       a batch after another with maintenance on: the last ones against the first, and a scan against a new table's
  endtoend     changes of a living source, until they can be read: --seconds N, --rate N changes a second

  --json     one JSON line
  --quick    small data, two runs
`;

export type BenchCommand =
  | { kind: "help" }
  | { kind: "error"; message: string }
  | {
      kind: "run";
      bench: BenchName;
      json: boolean;
      quick: boolean;
      rows: number | undefined;
      runs: number;
      seconds: number | undefined;
      rate: number | undefined;
    };

/** Pure. */
export function readBenchCommand(argv: string[]): BenchCommand {
  try {
    const { values, positionals } = parseArgs({
      args: argv,
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        rows: { type: "string" },
        runs: { type: "string" },
        seconds: { type: "string" },
        rate: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return { kind: "help" };
    const [bench, ...more] = positionals;
    if (!benches.includes(bench as BenchName) || more.length > 0) {
      return {
        kind: "error",
        message: `give one of ${benches.join(", ")}, not ${JSON.stringify(positionals.join(" "))}`,
      };
    }
    const quick = values.quick;
    const runs = values.runs === undefined ? (quick ? 2 : 5) : wholeNumber("--runs", values.runs, 1);
    const rows = values.rows === undefined ? undefined : wholeNumber("--rows", values.rows, 1000);
    const seconds = values.seconds === undefined ? undefined : wholeNumber("--seconds", values.seconds, 1);
    const rate = values.rate === undefined ? undefined : wholeNumber("--rate", values.rate, 1);
    return { kind: "run", bench: bench as BenchName, json: values.json, quick, rows, runs, seconds, rate };
  } catch (error) {
    return { kind: "error", message: (error as Error).message };
  }
}

function wholeNumber(option: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min)
    throw new Error(`${option} takes a whole number from ${min}, not ${text}`);
  return value;
}

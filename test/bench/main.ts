import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { benchApply, benchGrowth } from "./apply";
import { type BenchName, type BenchOptions, benchUsage, readBenchCommand } from "./bench-options";
import { benchEndToEnd } from "./end-to-end";
import { type Figure, renderFigure } from "./figures";
import { benchFiles } from "./files";
import { benchSnapshot } from "./snapshot";
import { benchStream, benchTransaction } from "./stream";
import { benchTended } from "./tended";

const runners: Record<BenchName, (options: BenchOptions) => Promise<Figure>> = {
  snapshot: benchSnapshot,
  stream: benchStream,
  transaction: benchTransaction,
  files: benchFiles,
  apply: benchApply,
  growth: benchGrowth,
  tended: benchTended,
  endtoend: benchEndToEnd,
};

async function main(): Promise<number> {
  const command = readBenchCommand(process.argv.slice(2));
  switch (command.kind) {
    case "help":
      process.stdout.write(benchUsage);
      return 0;
    case "error":
      process.stderr.write(`bench: ${command.message}\n\n${benchUsage}`);
      return 64;
    case "run": {
      const folder = mkdtempSync(join(tmpdir(), "sluice-bench-"));
      try {
        const { quick, rows, runs, seconds, rate } = command;
        const progress = (line: string) => process.stderr.write(`${line}\n`);
        const result = await runners[command.bench]({
          ...{ quick, rows, runs, seconds, rate, folder, progress },
          timeoutMs: 600_000,
        });
        process.stdout.write(`${command.json ? JSON.stringify(result) : renderFigure(result)}\n`);
        return 0;
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
  }
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);

// Records the conformance set anew with the Pulumi CLI that is on PATH: `npm run record:engine`.
import * as fs from "node:fs";
import { scenario } from "./conformance-scenario";
import { ConformanceSession, type Recorded, recordedFile, withoutArguments } from "./conformance-session";
import { openStack } from "./deployer";

async function main(): Promise<void> {
  const recorded: Recorded[] = [];
  const session = new ConformanceSession(async (options) => {
    const stack = await openStack(options);
    if (stack.kind !== "cli") throw new Error("there is no pulumi on PATH to record from");
    return stack;
  });
  try {
    for (const operation of scenario) {
      const { result, ...run } = await session.run(operation);
      // Of operations about some resources the arguments are those of the others.
      const isPartial = operation.name.startsWith("t-");
      recorded.push(isPartial ? { ...run, providerCalls: run.providerCalls.map(withoutArguments) } : run);
      console.log(`${run.failed ? "failed" : "done"} ${operation.name} (${result.seconds.toFixed(1)} s)`);
    }
  } finally {
    session.end();
  }
  fs.writeFileSync(recordedFile, `${JSON.stringify(recorded, null, 1)}\n`);
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});

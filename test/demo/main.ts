import { Demo } from "./demo";
import { demoUsage, type RunCommand, readDemoCommand } from "./demo-command";
import { destroyKept } from "./kept-demo";
import { openScreen, type Screen } from "./screen";
import { givenTools, installTools, MissingTool, runInOwnNetwork, type SparkTools } from "./spark-network";

async function main(): Promise<number> {
  const command = readDemoCommand(process.argv.slice(2));
  const screen = openScreen({
    write: (text) => process.stdout.write(text),
    columns: () => (process.stdout.isTTY ? process.stdout.columns : null),
  });
  switch (command.kind) {
    case "help":
      process.stdout.write(demoUsage);
      return 0;
    case "error":
      process.stderr.write(`demo: ${command.message}\n\n${demoUsage}`);
      return 64;
    case "destroy":
      await destroyKept(command.folder, screen);
      return 0;
    case "run":
      if (command.destination === "local") return run(command, screen, null);
      return runWithSpark(command, screen);
  }
}

/** Spark is installed first, where there is a network, and then it all runs without one. */
async function runWithSpark(command: RunCommand, screen: Screen): Promise<number> {
  const tools = givenTools();
  if (tools !== null) return run(command, screen, tools);
  try {
    screen.step("Spark is installed where it isn't yet");
    return await runInOwnNetwork(installTools(), process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof MissingTool)) throw error;
    process.stderr.write(`demo: ${error.message}\n`);
    if (command.json) process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
    return 69;
  }
}

async function run(command: RunCommand, screen: Screen, tools: SparkTools | null): Promise<number> {
  const interrupted = interruption();
  const demo = new Demo(command, screen, interrupted.signal, tools);
  let failure: string | null = null;
  try {
    await demo.run();
  } catch (error) {
    failure = interrupted.signal.aborted ? "interrupted" : messageOf(error);
    screen.step(`FAILED: ${failure}`);
    for (const line of await demo.lastLogLines()) screen.line(line);
  }
  if (command.keep && failure === null) await demo.leave();
  else await demo.cleanUp();
  const result = demo.result();
  screen.step(failure === null ? "all of it holds" : "cleaned up");
  if (command.json)
    process.stdout.write(`${JSON.stringify(failure === null ? result : { ...result, error: failure })}\n`);
  if (failure === null) return 0;
  return interrupted.signal.aborted ? 130 : 1;
}

/** What is running is brought to its end, and cleaned up; the second signal ends at once. */
function interruption(): AbortController {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (controller.signal.aborted) process.exit(130);
      process.stderr.write("\ncleaning up; once more ends at once and may leave processes\n");
      controller.abort();
    });
  }
  return controller;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`demo: ${messageOf(error)}\n`);
    process.exit(1);
  },
);

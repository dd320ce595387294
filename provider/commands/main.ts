#!/usr/bin/env node
import { describeError, exitCodeOf } from "../../runtime/errors";
import { runtimeUsage } from "../../runtime/usage";
import { version } from "../../runtime/version";
import { codegen } from "./codegen";
import { type Command, print } from "./command";
import { costs } from "./costs";
import { grants } from "./grants";
import { manifests } from "./manifests";
import { slots } from "./slots";

/** Administration of the source, and what only prints; all else is the runtime's. */
const commands: readonly Command[] = [codegen, costs, grants, manifests, slots];

const usageError = 64;

async function main([name, ...argv]: string[]): Promise<number | null> {
  const command = commands.find((one) => one.name === name);
  if (command !== undefined) {
    if (!argv.includes("--help")) return command.run(argv);
    print(command.usage);
    return 0;
  }
  if (name === undefined || name === "--help" || name === "help") {
    const own = commands.map((one) => `  ${`sluice ${one.name} --help`.padEnd(31)}  ${one.summary}\n`).join("");
    print(`sluice ${version}: PostgreSQL into Delta tables\n\n${own}${runtimeUsage}`);
    return name === undefined ? usageError : 0;
  }
  // It reads process.argv itself, and ends the process.
  await import("../../runtime/main.js");
  return null;
}

main(process.argv.slice(2)).then(
  (code) => {
    if (code !== null) process.exitCode = code;
  },
  (thrown: unknown) => {
    process.stderr.write(`${describeError(thrown)}\n`);
    process.exitCode = exitCodeOf(thrown);
  },
);

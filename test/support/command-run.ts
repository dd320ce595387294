import { vi } from "vitest";
import type { Command } from "../../provider/commands/command";
import { describeError, isTransient, SluiceError } from "../../runtime/errors";

export interface CommandRun {
  code: number;
  stdout: string;
  /** what the bin would write there */
  stderr: string;
}

/** A command of the bin in this process, with the exit code that the bin makes of its end. */
export async function runCommand(command: Command, argv: string[]): Promise<CommandRun> {
  let stdout = "";
  const write = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  try {
    return { code: await command.run(argv), stdout, stderr: "" };
  } catch (error) {
    const isFinal = error instanceof SluiceError && !isTransient(error.kind);
    return { code: isFinal ? 78 : 1, stdout, stderr: describeError(error) };
  } finally {
    write.mockRestore();
  }
}

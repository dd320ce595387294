import { CliStack, findCli } from "./cli-driver";
import { type OperationResult, Stack, type StackOptions } from "./engine";

/** A stack, whoever deploys it. */
export interface Deployer {
  /** `cli`: the real `pulumi`; `engine`: the test engine. */
  kind: "cli" | "engine";
  preview(): Promise<OperationResult>;
  up(): Promise<OperationResult>;
  refresh(options?: { previewOnly?: boolean }): Promise<OperationResult>;
  destroy(): Promise<OperationResult>;
}

/**
 * Opens a stack with `pulumi` from PATH where there is one, else with the test engine. With the CLI the state is in a
 * file backend beside `stateFile`.
 */
export async function openStack(options: StackOptions): Promise<Deployer> {
  const cli = findCli(options.env?.PATH ?? process.env.PATH);
  const kind = cli ? ("cli" as const) : ("engine" as const);
  const stack = cli ? await CliStack.open(cli, options) : new Stack(options);
  return {
    kind,
    preview: () => stack.preview(),
    up: () => stack.up(),
    refresh: (refreshOptions) => stack.refresh(refreshOptions),
    destroy: () => stack.destroy(),
  };
}

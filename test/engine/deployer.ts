import { CliStack, findCli } from "./cli-driver";
import { type OperationResult, type RefreshOptions, type Selection, Stack, type StackOptions } from "./engine";

/** A stack, whoever deploys it. */
export interface Deployer {
  /** `cli`: the real `pulumi`; `engine`: the test engine. */
  kind: "cli" | "engine";
  preview(selection?: Selection): Promise<OperationResult>;
  up(selection?: Selection): Promise<OperationResult>;
  refresh(options?: RefreshOptions): Promise<OperationResult>;
  destroy(selection?: Selection): Promise<OperationResult>;
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
    preview: (selection) => stack.preview(selection),
    up: (selection) => stack.up(selection),
    refresh: (refreshOptions) => stack.refresh(refreshOptions),
    destroy: (selection) => stack.destroy(selection),
  };
}

import type { Deployer } from "../engine/deployer";
import type { OperationResult, Step } from "../engine/engine";
import { type DemoSession, openDemoStack } from "./demo-session";
import type { Screen } from "./screen";

/** Types of our resources, without what the component and the stack are. */
const resourceType = /^pulumi-nodejs:dynamic[:/]/;

/** `ReplicationSlot create`, of what happens to a resource. */
export function changesOf(steps: readonly Step[]): string[] {
  return steps
    .filter(({ op, type }) => !["same", "refresh", "read"].includes(op) && resourceType.test(type))
    .map(({ op, type }) => `${type.split(":").at(-1)} ${op}`);
}

/**
 * One operation on the demo's stack, told line by line.
 * @throws Error with the operation's own errors when it failed
 */
export async function operate(
  session: DemoSession,
  verb: keyof Omit<Deployer, "kind">,
  screen: Screen,
): Promise<OperationResult> {
  const stack = await openDemoStack(session, session.tables, (line) => {
    if (line.trim() !== "") screen.line(line.trimEnd());
  });
  const result = await stack[verb]();
  if (result.failed) {
    const errors = result.diagnostics.filter(({ severity }) => severity === "error").map(({ message }) => message);
    throw new Error(`${verb} failed: ${errors.join("\n") || "no reason given"}`);
  }
  return result;
}

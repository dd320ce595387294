import { type Goal, type Monitor, type ReadGoal, type Registered, Terminated } from "./monitor-server";
import { type Operation, registerStoredProviders, requireKnown, runChain } from "./operation";
import { type Plan, PlanError, Planner } from "./planner";
import { startProgram } from "./program-process";
import { type PropertyMap, plainProperties } from "./property-values";
import { withDeadline } from "./tethered-process";
import { STACK_TYPE } from "./urn";

const PROGRAM_TIMEOUT_MS = 60 * 60_000;

/** What the running program and its providers need to know of the stack's surroundings. */
export interface Surroundings {
  env: Record<string, string | undefined>;
  secretKeys: string[];
}

/** Serves one run of the program: plans registrations in turn, runs their steps side by side, deletes at the end. */
export class Update implements Monitor {
  readonly deployment: Monitor["deployment"];
  readonly #operation: Operation;
  readonly #planner: Planner;
  readonly #running = new Set<Promise<unknown>>();
  #turn: Promise<unknown> = Promise.resolve();
  #finished = false;

  constructor(operation: Operation) {
    this.#operation = operation;
    this.#planner = new Planner(operation);
    this.deployment = { project: operation.project.name, stack: operation.stack, dryRun: operation.dryRun };
  }

  async registerResource(goal: Goal): Promise<Registered> {
    const { state, skipped } = await this.#carryOut(() => this.#planner.planResource(goal));
    return { urn: state.urn, id: state.id ?? "", properties: goal.custom ? state.outputs : {}, isUnknown: skipped };
  }

  async readResource(goal: ReadGoal): Promise<Registered> {
    const { state } = await this.#carryOut(async () => this.#planner.planRead(goal));
    return { urn: state.urn, id: state.id ?? "", properties: state.outputs };
  }

  async registerOutputs(urn: string, outputs: PropertyMap): Promise<void> {
    const { snapshot, report } = this.#operation;
    if (this.#planner.isSkipped(urn)) return;
    const state = snapshot.fresh(urn);
    if (!state) throw new Error(`outputs of an unknown resource ${urn}`);
    report.redaction.learn(outputs);
    state.outputs = outputs;
    if (state.type === STACK_TYPE) report.outputs = outputs;
    snapshot.save();
  }

  async finish(): Promise<void> {
    await this.settled();
    this.#assertAlive();
    await this.#track(this.#planner.runDeletions());
    this.#finished = true;
  }

  log(severity: "debug" | "info" | "warning" | "error", message: string, urn: string): void {
    if (severity !== "debug") this.#operation.report.diagnose(severity, message.trimEnd(), urn || undefined);
  }

  /** Resolves when no step is under way. */
  async settled(): Promise<void> {
    await this.#turn;
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
  }

  /** The program said itself that it has declared everything, and everything was done. */
  get finished(): boolean {
    return this.#finished;
  }

  async #carryOut(plan: () => Promise<Plan>): Promise<Plan> {
    const planned = await this.#inTurn(plan);
    await this.#track(runChain(this.#operation, planned.steps));
    this.#operation.report.redaction.learn(planned.state.outputs);
    return planned;
  }

  #inTurn<T>(plan: () => Promise<T>): Promise<T> {
    const planned = this.#turn.then(async () => {
      this.#assertAlive();
      try {
        return await plan();
      } catch (error) {
        if (error instanceof Terminated) throw error;
        this.#operation.report.fail((error as Error).message, error instanceof PlanError ? error.urn : undefined);
        throw new Terminated("the operation has failed");
      }
    });
    this.#turn = planned.catch(() => {});
    return planned;
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => this.#running.delete(tracked));
    tracked.catch(() => {});
    this.#running.add(tracked);
    return tracked;
  }

  #assertAlive(): void {
    if (this.#operation.report.failed) throw new Terminated("the operation has failed");
  }
}

/** Runs the program once, for a preview or an up. */
export async function runUpdate(
  operation: Operation,
  update: Update,
  address: string,
  surroundings: Surroundings,
): Promise<void> {
  const { report } = operation;
  registerStoredProviders(operation);
  requireKnown(operation, "replace", (urn) => operation.snapshot.base.some((state) => state.urn === urn));
  const program = startProgram({
    project: operation.project,
    stack: operation.stack,
    address,
    dryRun: operation.dryRun,
    config: plainProperties(operation.config) as Record<string, string>,
    secretKeys: surroundings.secretKeys,
    env: surroundings.env,
    onLine: (line) => report.diagnose("info", line),
  });
  try {
    const code = await withDeadline(program.exited, PROGRAM_TIMEOUT_MS, "the program");
    await update.settled();
    if (report.failed) return;
    if (code !== 0) report.fail(`the program ended with ${code}`);
    else if (!update.finished) report.fail("the program ended before it had declared everything; nothing was deleted");
  } finally {
    await program.stop();
    await update.settled();
  }
}

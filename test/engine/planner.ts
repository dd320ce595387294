import { runDeletions } from "./deletion";
import { type Goal, type ReadGoal, Terminated } from "./monitor-server";
import { defaultProvider, type Operation, type PlannedStep, providerOf, refuse, requireKnown } from "./operation";
import { ignoreChanges } from "./property-values";
import type { ProviderClient } from "./provider-client";
import { dependencyUrns, type ResourceState } from "./resource-state";
import {
  createStep,
  deleteStep,
  desiredState,
  keepStep,
  readStep,
  replaceStep,
  sameStep,
  skipStep,
  updateStep,
} from "./resource-steps";
import { type Change, decideChange, dependentsOf, inputsAfterReplacement, type ProviderDiff } from "./steps";
import { formatUrn, isProviderType, packageOf } from "./urn";

/** An error of one resource's plan, before any of its steps. */
export class PlanError extends Error {
  constructor(
    message: string,
    readonly urn: string,
  ) {
    super(message);
  }
}

export interface Plan {
  state: ResourceState;
  steps: PlannedStep[];
  /** Nothing of it is known: the operation isn't about it, and it isn't there. */
  skipped?: true;
}

/** Turns what the program registers, one registration after the other, into steps; asks providers, changes nothing. */
export class Planner {
  readonly #operation: Operation;
  /** URNs that the program has registered, with the old URNs of what it moved. */
  readonly #handled = new Set<string>();
  readonly #registered = new Set<string>();
  /** Deleted early because something they depend on is deleted before it is replaced. */
  readonly #deletedEarly = new Set<ResourceState>();
  readonly #deleting = new Set<string>();
  /** Registered, and not made. */
  readonly #skipped = new Set<string>();

  constructor(operation: Operation) {
    this.#operation = operation;
  }

  async planResource(goal: Goal): Promise<Plan> {
    const urn = this.#claim(goal);
    try {
      return await this.#planGoal(goal, urn);
    } catch (error) {
      throw error instanceof PlanError || error instanceof Terminated
        ? error
        : new PlanError((error as Error).message, urn);
    }
  }

  planRead(goal: ReadGoal): Plan {
    const urn = this.#claim(goal);
    const old = this.#operation.snapshot.old(urn);
    const provider = goal.provider || defaultProvider(this.#operation, packageOf(goal.type), this.#handled);
    const state: ResourceState = {
      urn,
      custom: true,
      id: goal.id,
      type: goal.type,
      inputs: goal.inputs,
      outputs: {},
      parent: goal.parent || undefined,
      external: true,
      dependencies: goal.dependencies,
      provider,
      additionalSecretOutputs: goal.additionalSecretOutputs,
    };
    this.#handled.add(urn);
    return { state, steps: [readStep(this.#operation, goal, state, old)] };
  }

  isSkipped(urn: string): boolean {
    return this.#skipped.has(urn);
  }

  /** Deletes what is left when the program has declared everything. */
  async runDeletions(): Promise<void> {
    const { snapshot, scope } = this.#operation;
    // As the CLI does, which takes them into what is deleted; they depend on it, so they are there anyway.
    const targets = scope.isTargeted ? snapshot.base.filter(scope.deletable(snapshot.base)) : [];
    for (const state of targets) await this.#replacedDependents(state);
    await runDeletions(this.#operation, this.#handled, this.#deletedEarly);
    const isKnown = (urn: string) => this.#registered.has(urn) || snapshot.base.some((state) => state.urn === urn);
    requireKnown(this.#operation, "target", isKnown);
  }

  #claim(goal: { parent: string; type: string; name: string }): string {
    const { stack, project } = this.#operation;
    const urn = formatUrn(stack, project.name, goal.parent, goal.type, goal.name);
    if (this.#registered.has(urn)) {
      throw new PlanError(`Duplicate resource URN '${urn}'; try giving it a unique name`, urn);
    }
    this.#registered.add(urn);
    return urn;
  }

  async #planGoal(goal: Goal, urn: string): Promise<Plan> {
    const { snapshot } = this.#operation;
    if (goal.importId) throw new PlanError("the test engine can't import: use the pulumi CLI", urn);
    if (goal.remote) throw new PlanError("the test engine has no remote components: use the pulumi CLI", urn);
    const old = [urn, ...goal.aliases].map((candidate) => snapshot.old(candidate)).find((state) => state !== undefined);
    const provider =
      goal.custom && !isProviderType(goal.type)
        ? goal.provider || defaultProvider(this.#operation, packageOf(goal.type), this.#handled)
        : "";
    const state = desiredState(goal, urn, provider, old);
    const recreating = old !== undefined && this.#deletedEarly.has(old);
    const included = this.#operation.scope.includes(state);
    if (!included && old === undefined) {
      this.#skipped.add(urn);
      return { state, steps: [skipStep(state)], skipped: true };
    }
    if (!included && old !== undefined && !recreating) {
      this.#handled.add(urn);
      return { state: old, steps: this.#carryOver(old) };
    }
    const client = await providerOf(this.#operation, state);
    const fresh = old === undefined || old.external === true || recreating || this.#operation.scope.replaces(urn);
    if (!fresh) state.inputs = ignoreChanges(old.inputs, goal.inputs, goal.ignoreChanges);
    if (included) await this.#check(client, state, fresh ? {} : old.inputs);
    else if (old) state.inputs = old.inputs;
    this.#refuseSkipped(state);
    const needed = [...dependencyUrns(state)].flatMap((each) => this.#carryOverNeeded(each));
    const steps = await this.#planSteps(goal, state, old, recreating, client);
    this.#handled.add(urn);
    if (old) this.#handled.add(old.urn);
    return { state, steps: [...needed, ...steps] };
  }

  #refuseSkipped(state: ResourceState): void {
    for (const urn of dependencyUrns(state)) {
      if (!this.#skipped.has(urn)) continue;
      refuse(
        this.#operation,
        `Resource '${state.urn}' depends on '${urn}' which was not specified in --target list.`,
        state.urn,
      );
      if (!this.#operation.dryRun) throw new Terminated("the operation has failed");
    }
  }

  /** Keeps a resource as it is, after what it depends on: the program may not have that any more. */
  #carryOver(old: ResourceState): PlannedStep[] {
    this.#handled.add(old.urn);
    const needed = [...dependencyUrns(old)].flatMap((urn) => this.#carryOverNeeded(urn));
    return [...needed, keepStep(this.#operation, old)];
  }

  #carryOverNeeded(urn: string): PlannedStep[] {
    const old = this.#operation.scope.isPartial ? this.#operation.snapshot.old(urn) : undefined;
    return old === undefined || this.#handled.has(urn) ? [] : this.#carryOver(old);
  }

  async #planSteps(
    goal: Goal,
    state: ResourceState,
    old: ResourceState | undefined,
    recreating: boolean,
    client: ProviderClient | undefined,
  ): Promise<PlannedStep[]> {
    const operation = this.#operation;
    if (!old) return [createStep(operation, state)];
    if (recreating) {
      this.#deleting.delete(old.urn);
      return [replaceStep(state, {}), createStep(operation, state, { old, deleted: true })];
    }
    if (old.external) return [createStep(operation, state, { old, deleted: false }), replaceStep(state, {})];
    const diff: ProviderDiff = operation.scope.replaces(state.urn)
      ? { changes: "some", replaces: ["id"], deleteBeforeReplace: false }
      : client
        ? await client.diff(state.urn, old.id!, old, state.inputs, goal.ignoreChanges)
        : { changes: "unknown", replaces: [], deleteBeforeReplace: false };
    const change = decideChange(old, state.inputs, diff, goal);
    switch (change.kind) {
      case "same":
        return [sameStep(operation, old, state)];
      case "update":
        return [updateStep(operation, old, state, { diffKeys: change.diffKeys })];
      case "replace":
        return this.#planReplacement(goal, state, old, change, client);
    }
  }

  async #planReplacement(
    goal: Goal,
    state: ResourceState,
    old: ResourceState,
    change: Extract<Change, { kind: "replace" }>,
    client: ProviderClient | undefined,
  ): Promise<PlannedStep[]> {
    const operation = this.#operation;
    if (state.protect && old.protect) {
      throw new PlanError(
        `unable to replace resource "${state.urn}", as it is protected: take the protect option away first`,
        state.urn,
      );
    }
    if (!operation.scope.replaces(state.urn)) {
      // What check carried over from the old resource does not hold for a new one.
      state.inputs = goal.inputs;
      await this.#check(client, state, {});
    }
    const keys = { diffKeys: change.diffKeys, replaceKeys: change.replaceKeys };
    if (!change.deleteBeforeReplace) {
      return [createStep(operation, state, { old, deleted: false, ...keys }), replaceStep(state, keys)];
    }
    const steps: PlannedStep[] = [];
    for (const dependent of (await this.#replacedDependents(old)).reverse()) {
      if (this.#deletedEarly.has(dependent)) continue;
      if (dependent.protect) {
        throw new PlanError(
          `unable to replace "${state.urn}": "${dependent.urn}" depends on it and is protected`,
          state.urn,
        );
      }
      steps.push(this.#deleteEarly(dependent));
    }
    if (!old.pendingReplacement) steps.push(this.#deleteEarly(old));
    return [...steps, replaceStep(state, keys), createStep(operation, state, { old, deleted: true, ...keys })];
  }

  #deleteEarly(state: ResourceState): PlannedStep {
    this.#deletedEarly.add(state);
    this.#deleting.add(state.urn);
    return deleteStep(this.#operation, state, "delete-replaced", this.#deleting, state.delete ? undefined : "pending");
  }

  /** Dependents that would have to be replaced if everything they take from what is replaced changed. */
  async #replacedDependents(root: ResourceState): Promise<ResourceState[]> {
    const replaced = new Set([root.urn]);
    const found: ResourceState[] = [];
    for (const state of dependentsOf(root, this.#operation.snapshot.base)) {
      if (this.#handled.has(state.urn) || !state.custom || state.external) continue;
      if (!(await this.#replacedBy(state, replaced))) continue;
      replaced.add(state.urn);
      found.push(state);
    }
    return found;
  }

  async #replacedBy(state: ResourceState, replaced: ReadonlySet<string>): Promise<boolean> {
    if (state.deletedWith && replaced.has(state.deletedWith)) return true;
    if (state.provider && [...replaced].some((urn) => state.provider!.startsWith(`${urn}::`))) return true;
    const inputs = inputsAfterReplacement(state, replaced);
    const client = inputs && (await providerOf(this.#operation, state));
    if (!client) return false;
    const diff = await client.diff(state.urn, state.id!, state, inputs, state.ignoreChanges ?? []);
    return diff.changes !== "none" && diff.replaces.length > 0;
  }

  /** Puts the checked inputs into the state. */
  async #check(client: ProviderClient | undefined, state: ResourceState, olds: ResourceState["inputs"]): Promise<void> {
    this.#operation.report.redaction.learn(state.inputs);
    if (!client) return;
    const { inputs, failures } = await client.check(state.urn, olds, state.inputs);
    if (failures.length > 0) {
      const reasons = failures.map(({ property, reason }) => (property ? `property "${property}": ${reason}` : reason));
      throw new PlanError(reasons.join("\n"), state.urn);
    }
    state.inputs = inputs;
  }
}

import { randomUUID } from "node:crypto";
import type { Goal, ReadGoal } from "./monitor-server";
import { type Operation, type PlannedStep, providerOf } from "./operation";
import { carrySecrets, markSecret, type PropertyMap, UNKNOWN } from "./property-values";
import { PartialFailure } from "./provider-client";
import type { ResourceState } from "./resource-state";
import { formatProviderReference, isProviderType } from "./urn";

// What each step does to the world and to the state. A preview does the same to a state that is not saved, and leaves
// the world alone.

type Keys = Pick<PlannedStep, "diffKeys" | "replaceKeys">;

/** The state that a goal asks for, before anything is done. */
export function desiredState(goal: Goal, urn: string, provider: string, old?: ResourceState): ResourceState {
  return {
    urn,
    custom: goal.custom,
    type: goal.type,
    inputs: goal.inputs,
    outputs: {},
    parent: goal.parent || undefined,
    protect: goal.protect || undefined,
    dependencies: goal.dependencies,
    propertyDependencies: goal.propertyDependencies,
    provider: provider || undefined,
    additionalSecretOutputs: goal.additionalSecretOutputs,
    aliases: goal.aliases,
    retainOnDelete: goal.retainOnDelete || undefined,
    deletedWith: goal.deletedWith || undefined,
    ignoreChanges: goal.ignoreChanges,
    created: old?.created,
    modified: old?.modified,
  };
}

function settle(state: ResourceState, id: string | undefined, outputs: PropertyMap): void {
  state.id = id;
  state.outputs = markSecret(outputs, state.additionalSecretOutputs ?? []);
  state.modified = new Date().toISOString();
  state.created ??= state.modified;
}

export function sameStep(operation: Operation, old: ResourceState, state: ResourceState): PlannedStep {
  return {
    op: "same",
    urn: state.urn,
    run: async () => {
      state.id = old.id;
      state.outputs = markSecret(old.outputs, state.additionalSecretOutputs ?? []);
      if (isProviderType(state.type)) {
        operation.registry.register(formatProviderReference(state.urn, state.id!), state.inputs);
      }
      operation.snapshot.put(state, old);
    },
  };
}

/** Leaves a resource as it is. */
export function keepStep(operation: Operation, old: ResourceState): PlannedStep {
  return { op: "same", urn: old.urn, run: async () => operation.snapshot.put(old, old) };
}

/** What isn't there stays so, and isn't recorded. */
export function skipStep(state: ResourceState): PlannedStep {
  return { op: "same", urn: state.urn, run: async () => settle(state, "", state.inputs) };
}

/** `replaced`: what the new resource takes the place of, and whether it is gone already. */
export function createStep(
  operation: Operation,
  state: ResourceState,
  replaced?: { old: ResourceState; deleted: boolean } & Keys,
): PlannedStep {
  const record = () => {
    if (replaced && !replaced.deleted) replaced.old.delete = true;
    operation.snapshot.put(state, replaced?.deleted ? replaced.old : undefined);
  };
  return {
    op: replaced ? "create-replacement" : "create",
    urn: state.urn,
    diffKeys: replaced?.diffKeys,
    replaceKeys: replaced?.replaceKeys,
    run: async () => {
      if (isProviderType(state.type)) {
        settle(state, randomUUID(), state.inputs);
        operation.registry.register(formatProviderReference(state.urn, state.id!), state.inputs);
      } else if (!state.custom) {
        settle(state, undefined, {});
      } else if (operation.dryRun) {
        settle(state, "", state.inputs);
      } else {
        const provider = await providerOf(operation, state);
        const end = operation.snapshot.begin("creating", state);
        try {
          const created = await provider!.create(state.urn, state.inputs);
          settle(state, created.id, created.outputs);
        } catch (error) {
          end();
          if (error instanceof PartialFailure) {
            settle(state, error.id, carrySecrets(error.properties, state.inputs));
            state.initErrors = error.reasons;
            record();
          } else {
            operation.snapshot.save();
          }
          throw error;
        }
        end();
      }
      record();
    },
  };
}

/** Only says that a replacement takes place; creating and deleting are steps of their own. */
export function replaceStep(state: ResourceState, keys: Keys): PlannedStep {
  return { op: "replace", urn: state.urn, ...keys, run: async () => {} };
}

export function updateStep(operation: Operation, old: ResourceState, state: ResourceState, keys: Keys): PlannedStep {
  return {
    op: "update",
    urn: state.urn,
    ...keys,
    run: async () => {
      if (isProviderType(state.type)) {
        settle(state, old.id, state.inputs);
        operation.registry.register(formatProviderReference(state.urn, state.id!), state.inputs);
      } else if (!state.custom) {
        settle(state, undefined, old.outputs);
      } else if (operation.dryRun) {
        settle(state, old.id, state.inputs);
      } else {
        const provider = await providerOf(operation, state);
        const end = operation.snapshot.begin("updating", old);
        try {
          settle(
            state,
            old.id,
            await provider!.update(state.urn, old.id!, old, state.inputs, state.ignoreChanges ?? []),
          );
        } catch (error) {
          end();
          if (error instanceof PartialFailure) {
            settle(state, old.id, carrySecrets(error.properties, state.inputs));
            state.initErrors = error.reasons;
            operation.snapshot.put(state, old);
          } else {
            operation.snapshot.save();
          }
          throw error;
        }
        end();
      }
      operation.snapshot.put(state, old);
    },
  };
}

/** Looks at a resource that the stack does not own. `replaces`: one it owned until now, to be deleted at the end. */
export function readStep(
  operation: Operation,
  goal: ReadGoal,
  state: ResourceState,
  old: ResourceState | undefined,
): PlannedStep {
  const owned = old !== undefined && !old.external;
  return {
    op: owned ? "read-replacement" : "read",
    urn: state.urn,
    run: async () => {
      if (goal.id === UNKNOWN) {
        settle(state, "", state.inputs);
      } else {
        const provider = await providerOf(operation, state);
        const read = await provider!.read(state.urn, goal.id, {}, goal.inputs);
        if (read.id === "") throw new Error(`there is no resource '${goal.id}'`);
        settle(state, read.id, carrySecrets(read.outputs, goal.inputs));
      }
      if (owned) old.delete = true;
      operation.snapshot.put(state, owned ? undefined : old);
    },
  };
}

/**
 * Deletes a resource.
 *
 * @param deleting URNs being deleted in this operation: what is deleted with one of them is not deleted by itself.
 * @param replacing `pending` keeps the record until the replacement is there.
 */
export function deleteStep(
  operation: Operation,
  state: ResourceState,
  op: "delete" | "delete-replaced" | "discard",
  deleting: ReadonlySet<string>,
  replacing?: "pending",
): PlannedStep {
  const untouched =
    !state.custom || isProviderType(state.type) || state.external || state.retainOnDelete || operation.dryRun;
  return {
    op,
    urn: state.urn,
    run: async () => {
      if (op === "delete" && state.protect) {
        throw new Error(
          `resource "${state.urn}" is protected and can't be deleted: take the protect option away, and run up before`,
        );
      }
      if (!untouched && !(state.deletedWith && deleting.has(state.deletedWith))) {
        const provider = await providerOf(operation, state);
        const end = operation.snapshot.begin("deleting", state);
        try {
          await provider!.delete(state.urn, state.id!, state.inputs, state.outputs);
        } finally {
          end();
          operation.snapshot.save();
        }
      }
      if (replacing === "pending") {
        state.pendingReplacement = true;
        operation.snapshot.save();
      } else {
        operation.snapshot.remove(state);
      }
    },
  };
}

import { type Operation, runChain } from "./operation";
import { deleteStep } from "./resource-steps";
import { deletionOrder, type PlannedDeletion } from "./steps";
import { defaultProviderUrn, isProviderType, packageOf } from "./urn";

/** Carries out deletions, dependents first; after a failure, what is under way is finished and nothing more is begun. */
export async function runDeletions(operation: Operation, planned: readonly PlannedDeletion[]): Promise<void> {
  const { snapshot, stack, project } = operation;
  const operations = new Map(planned.map(({ state, operation: op }) => [state, op]));
  const deleting = new Set(planned.map(({ state }) => state.urn));
  for (const group of deletionOrder(planned.map(({ state }) => state))) {
    const chains = group.map(async (state) => {
      const op = operations.get(state)!;
      if (op === "forget") return snapshot.remove(state);
      const isDefault =
        isProviderType(state.type) && state.urn === defaultProviderUrn(stack, project.name, packageOf(state.type));
      await runChain(operation, [{ ...deleteStep(operation, state, op, deleting), hidden: isDefault }]);
    });
    for (const result of await Promise.allSettled(chains)) if (result.status === "rejected") throw result.reason;
  }
}

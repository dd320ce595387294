import { Terminated } from "./monitor-server";
import { type Operation, refuse, runChain } from "./operation";
import type { ResourceState } from "./resource-state";
import { deleteStep } from "./resource-steps";
import { deletionOrder, planDeletions } from "./steps";
import { defaultProviderUrn, isProviderType, packageOf } from "./urn";

/**
 * Deletes what is in the state and not handled, dependents first, as far as the operation is about it; after a failure,
 * what is under way is finished and nothing more is begun.
 *
 * @param handled URNs that the program has registered
 * @param deletedEarly what was deleted before it was replaced
 */
export async function runDeletions(
  operation: Operation,
  handled: ReadonlySet<string>,
  deletedEarly: ReadonlySet<ResourceState>,
): Promise<void> {
  const { snapshot, stack, project, report, scope } = operation;
  const isDeletable = scope.deletable(snapshot.base);
  const planned = planDeletions(snapshot.base.filter(isDeletable), handled, deletedEarly);
  for (const { state } of planned.filter(({ state }) => scope.isUnasked(state.urn))) {
    refuse(operation, `Resource '${state.urn}' will be destroyed but was not specified in --target list.`, state.urn);
  }
  if (report.failed) throw new Terminated("the operation has failed");
  const isDefault = ({ type, urn }: ResourceState) =>
    isProviderType(type) && urn === defaultProviderUrn(stack, project.name, packageOf(type));
  for (const state of snapshot.base) {
    if (isDeletable(state) || state.delete || handled.has(state.urn) || isDefault(state)) continue;
    report.begin("same", state.urn)(false);
  }
  const operations = new Map(planned.map(({ state, operation: op }) => [state, op]));
  const deleting = new Set(planned.map(({ state }) => state.urn));
  for (const group of deletionOrder(planned.map(({ state }) => state))) {
    const chains = group.map(async (state) => {
      const op = operations.get(state)!;
      if (op === "forget") return snapshot.remove(state);
      await runChain(operation, [{ ...deleteStep(operation, state, op, deleting), hidden: isDefault(state) }]);
    });
    for (const result of await Promise.allSettled(chains)) if (result.status === "rejected") throw result.reason;
  }
}

import { changedKeys, type PropertyMap, UNKNOWN } from "./property-values";
import { dependencyUrns, type ResourceState } from "./resource-state";

// Pure decisions: what is to be done. Doing it is the deployment's part.

export type StepOperation =
  | "same"
  | "create"
  | "update"
  | "delete"
  | "replace"
  | "create-replacement"
  | "delete-replaced"
  | "read"
  | "read-replacement"
  | "discard";

/** What a provider says about old and new inputs. */
export interface ProviderDiff {
  /** `unknown`: the provider has no opinion, and the inputs are compared. */
  changes: "none" | "some" | "unknown";
  replaces: string[];
  deleteBeforeReplace: boolean;
}

export type Change =
  | { kind: "same" }
  | { kind: "update"; diffKeys: string[] }
  | { kind: "replace"; diffKeys: string[]; replaceKeys: string[]; deleteBeforeReplace: boolean };

/** Same, update or replacement. A resource whose creation was left half-made is always updated. */
export function decideChange(
  old: ResourceState,
  inputs: PropertyMap,
  diff: ProviderDiff,
  options: { deleteBeforeReplace?: boolean; replaceOnChanges: readonly string[] },
): Change {
  const diffKeys = changedKeys(old.inputs, inputs);
  const changed = diff.changes === "some" || (diff.changes === "unknown" && diffKeys.length > 0);
  if (!changed && !old.pendingReplacement) {
    return old.initErrors?.length ? { kind: "update", diffKeys } : { kind: "same" };
  }
  const forced = diffKeys.filter((key) => options.replaceOnChanges.some((path) => path === key || path === "*"));
  const replaceKeys = [...new Set([...diff.replaces, ...forced])];
  if (replaceKeys.length === 0 && !old.pendingReplacement) return { kind: "update", diffKeys };
  // What is deleted already can't be deleted after.
  const deleteBeforeReplace =
    old.pendingReplacement === true || (options.deleteBeforeReplace ?? diff.deleteBeforeReplace);
  return { kind: "replace", diffKeys, replaceKeys, deleteBeforeReplace };
}

/** Resources that depend on `root`, directly or not, in the order of the list (dependencies first). */
export function dependentsOf(root: ResourceState, resources: readonly ResourceState[]): ResourceState[] {
  const reached = new Set([root.urn]);
  return resources.filter((state) => {
    if (state === root || ![...dependencyUrns(state)].some((urn) => reached.has(urn))) return false;
    reached.add(state.urn);
    return true;
  });
}

/** Inputs with an unknown in place of all that comes from a resource being replaced; undefined if nothing does. */
export function inputsAfterReplacement(state: ResourceState, replaced: ReadonlySet<string>): PropertyMap | undefined {
  const touched = Object.entries(state.propertyDependencies ?? {})
    .filter(([key, urns]) => key in state.inputs && urns.some((urn) => replaced.has(urn)))
    .map(([key]) => [key, UNKNOWN]);
  return touched.length === 0 ? undefined : { ...state.inputs, ...Object.fromEntries(touched) };
}

export interface PlannedDeletion {
  state: ResourceState;
  /** `forget`: already deleted, only its record is left. */
  operation: "delete" | "delete-replaced" | "discard" | "forget";
}

/** What an operation has to remove at its end: what was replaced, and what the program no longer declares. */
export function planDeletions(
  base: readonly ResourceState[],
  handled: ReadonlySet<string>,
  deletedBefore: ReadonlySet<ResourceState>,
): PlannedDeletion[] {
  const planned: PlannedDeletion[] = [];
  for (const state of base) {
    if (state.delete) {
      if (!deletedBefore.has(state)) planned.push({ state, operation: "delete-replaced" });
    } else if (!handled.has(state.urn)) {
      const operation = state.pendingReplacement ? "forget" : state.external ? "discard" : "delete";
      planned.push({ state, operation });
    }
  }
  return planned;
}

/** Groups that can be deleted at once, dependents before what they depend on. */
export function deletionOrder(condemned: readonly ResourceState[]): ResourceState[][] {
  const groups: ResourceState[][] = [];
  let left = [...condemned];
  while (left.length > 0) {
    const needed = new Set(left.flatMap((state) => [...dependencyUrns(state)].filter((urn) => urn !== state.urn)));
    const free = left.filter((state) => !needed.has(state.urn));
    const group = free.length > 0 ? free : left;
    groups.push(group);
    left = left.filter((state) => !group.includes(state));
  }
  return groups;
}

import { errorText, type Operation, providerOf, registerStoredProviders, requireKnown } from "./operation";
import { changedKeys } from "./property-values";
import { PartialFailure, type ReadResult } from "./provider-client";
import { mapReferences, type ResourceState } from "./resource-state";
import { defaultProviderUrn, isProviderType, packageOf } from "./urn";

type Refreshed = { kind: "kept"; state: ResourceState; op: "same" | "update" } | { kind: "gone" } | { kind: "left" };
const left: Refreshed = { kind: "left" };

/** Reads every resource, and returns what the state should be. What can't be read stays as it was. */
export async function runRefresh(operation: Operation): Promise<ResourceState[]> {
  registerStoredProviders(operation);
  const { base } = operation.snapshot;
  for (const kind of ["target", "exclude"] as const) {
    requireKnown(operation, kind, (urn) => base.some((state) => state.urn === urn));
  }
  const isRead = operation.scope.refreshed(base);
  for (const state of base) operation.report.redaction.learn([state.inputs, state.outputs]);
  const refreshed = await Promise.all(base.map((state) => (isRead(state) ? refreshResource(operation, state) : left)));
  const kept = base.flatMap((state, index) => {
    const result = refreshed[index];
    return result.kind === "kept" ? [result.state] : result.kind === "left" ? [state] : [];
  });
  const urns = new Set(kept.map((state) => state.urn));
  return kept.map((state) => mapReferences(state, (urn) => (urns.has(urn) ? urn : undefined)));
}

async function refreshResource(operation: Operation, state: ResourceState): Promise<Refreshed> {
  const { report } = operation;
  const shown = state.urn !== defaultProviderUrn(operation.stack, operation.project.name, packageOf(state.type));
  if (!state.custom || isProviderType(state.type) || state.pendingReplacement) {
    if (shown) report.begin("same", state.urn)(false);
    return { kind: "kept", state, op: "same" };
  }
  try {
    const result = await readResource(operation, state);
    const op = result.kind === "kept" ? result.op : "delete";
    const diffKeys = result.kind === "kept" ? changedKeys(state.outputs, result.state.outputs) : undefined;
    report.begin(op, state.urn, op === "update" ? { diffKeys } : {})(false);
    return result;
  } catch (error) {
    report.fail(errorText(error), state.urn);
    return left;
  }
}

async function readResource(operation: Operation, old: ResourceState): Promise<Exclude<Refreshed, { kind: "left" }>> {
  const provider = (await providerOf(operation, old))!;
  let read: ReadResult;
  let initErrors: string[] | undefined;
  try {
    read = await provider.read(old.urn, old.id!, old.inputs, old.outputs);
  } catch (error) {
    if (!(error instanceof PartialFailure)) throw error;
    read = { id: error.id, outputs: error.properties };
    initErrors = error.reasons;
    operation.report.diagnose("warning", `the resource is unhealthy\n${errorText(error)}`, old.urn);
  }
  if (read.id === "") return { kind: "gone" };
  const state: ResourceState = {
    ...old,
    id: read.id,
    inputs: read.inputs ?? old.inputs,
    outputs: read.outputs,
    initErrors,
  };
  const diffKeys = changedKeys(old.outputs, state.outputs);
  if (diffKeys.length > 0) state.modified = new Date().toISOString();
  if (old.external) return { kind: "kept", state, op: diffKeys.length > 0 ? "update" : "same" };
  // What an up without any change in the program would do to what was read.
  const diff = await provider.diff(old.urn, read.id, state, old.inputs, old.ignoreChanges ?? []);
  const changed =
    diff.changes === "some" || (diff.changes === "unknown" && changedKeys(state.inputs, old.inputs).length > 0);
  return { kind: "kept", state, op: changed ? "update" : "same" };
}

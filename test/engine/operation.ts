import { randomUUID } from "node:crypto";
import { Terminated } from "./monitor-server";
import type { Project } from "./project";
import type { PropertyMap } from "./property-values";
import { PartialFailure, type ProviderClient } from "./provider-client";
import type { ProviderRegistry } from "./provider-registry";
import type { Report, Step } from "./report";
import type { Scope } from "./selection";
import type { Snapshot } from "./snapshot";
import { defaultProviderUrn, formatProviderReference, isProviderType, parseUrn } from "./urn";

/** All that the parts of one preview, up, refresh or destroy share. */
export interface Operation {
  project: Project;
  stack: string;
  dryRun: boolean;
  scope: Scope;
  /** The stack's whole configuration, secrets marked. */
  config: PropertyMap;
  snapshot: Snapshot;
  registry: ProviderRegistry;
  report: Report;
}

/** A decided step and how to do it. Without a name it is not reported. */
export interface PlannedStep extends Pick<Step, "diffKeys" | "replaceKeys"> {
  op: string;
  urn: string;
  hidden?: boolean;
  run(): Promise<void>;
}

/** Runs steps one after the other. The first that fails ends the operation: nothing new is begun after it. */
export async function runChain(operation: Operation, steps: readonly PlannedStep[]): Promise<void> {
  const { report } = operation;
  for (const step of steps) {
    if (report.failed) throw new Terminated("the operation has failed");
    const keys = { diffKeys: step.diffKeys, replaceKeys: step.replaceKeys };
    const end = step.hidden ? () => {} : report.begin(step.op, step.urn, keys);
    try {
      await step.run();
      end(false);
    } catch (error) {
      report.fail(errorText(error), step.urn);
      end(true);
      throw new Terminated("the operation has failed");
    }
  }
}

/** The message, with the reasons of a partial failure. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof PartialFailure)) return message;
  return [message, ...error.reasons.map((reason) => `* ${reason}`)].join("\n");
}

/** Makes the provider resources of the state known, so that stored resources can be read and deleted. */
export function registerStoredProviders(operation: Operation): void {
  for (const state of operation.snapshot.base) {
    if (!isProviderType(state.type) || !state.id) continue;
    operation.registry.register(formatProviderReference(state.urn, state.id), state.inputs);
  }
}

/** An error of an operation that may not be: a preview goes on, and tells all of them. */
export function refuse({ report, dryRun }: Operation, message: string, urn: string): void {
  if (dryRun) report.fault(message, urn);
  else report.fail(message, urn);
}

/** Fails where a name that was given is of no resource. */
export function requireKnown(
  { scope, report }: Operation,
  kind: "target" | "exclude" | "replace",
  isKnown: (urn: string) => boolean,
): void {
  const unknown = scope.unknown(kind, isKnown);
  for (const urn of unknown) report.fail(`Target '${urn}' could not be found in the stack.`);
  if (unknown.length > 0) throw new Terminated("the operation has failed");
}

/** Reference of a package's default provider, which is put into the state when first asked for. */
export function defaultProvider(operation: Operation, packageName: string, handled: Set<string>): string {
  const { snapshot, registry, config } = operation;
  const urn = defaultProviderUrn(operation.stack, operation.project.name, packageName);
  const known = snapshot.fresh(urn);
  if (known) return formatProviderReference(urn, known.id!);
  const old = snapshot.old(urn);
  const id = old?.id ?? randomUUID();
  const reference = formatProviderReference(urn, id);
  const type = parseUrn(urn).type;
  handled.add(urn);
  snapshot.put({ urn, custom: true, id, type, inputs: config, outputs: config }, old);
  registry.register(reference, config);
  return reference;
}

/** The provider of a resource; none for components and for providers themselves. */
export async function providerOf(
  operation: Operation,
  state: { custom: boolean; type: string; provider?: string },
): Promise<ProviderClient | undefined> {
  if (!state.custom || isProviderType(state.type)) return undefined;
  return operation.registry.get(state.provider!);
}

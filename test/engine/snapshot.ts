import { mapReferences, type ResourceState } from "./resource-state";
import type { PendingOperation, StateFile } from "./state-file";

/**
 * The state of a stack while an operation changes it: what was there and still counts, what came new, and what is
 * under way. Each change is saved at once, unless the operation is a preview.
 */
export class Snapshot {
  readonly base: readonly ResourceState[];
  readonly #file: StateFile | undefined;
  readonly #gone = new Set<ResourceState>();
  readonly #fresh: ResourceState[] = [];
  readonly #renamed = new Map<string, string>();
  readonly #pending = new Set<PendingOperation>();

  constructor(base: readonly ResourceState[], file: StateFile | undefined) {
    this.base = base;
    this.#file = file;
  }

  /** Resources that exist now; those already handled come first, as dependencies must. */
  resources(): ResourceState[] {
    const kept = this.base.filter((state) => !this.#gone.has(state));
    return [...this.#fresh, ...kept.map((state) => mapReferences(state, (urn) => this.#renamed.get(urn) ?? urn))];
  }

  /** The live resource of a URN among those that were there before. */
  old(urn: string): ResourceState | undefined {
    return this.base.find((state) => state.urn === urn && !state.delete);
  }

  fresh(urn: string): ResourceState | undefined {
    return this.#fresh.findLast((state) => state.urn === urn);
  }

  put(state: ResourceState, replaces?: ResourceState): void {
    if (replaces) {
      this.#gone.add(replaces);
      if (replaces.urn !== state.urn) this.#renamed.set(replaces.urn, state.urn);
    }
    if (!this.#fresh.includes(state)) this.#fresh.push(state);
    this.save();
  }

  remove(state: ResourceState): void {
    this.#gone.add(state);
    this.save();
  }

  /** Notes an operation in the file before it is begun, so that a kill can't hide it. */
  begin(type: PendingOperation["type"], resource: ResourceState): () => void {
    const operation = { type, resource };
    this.#pending.add(operation);
    this.save();
    return () => void this.#pending.delete(operation);
  }

  save(): void {
    this.#file?.save(this.resources(), [...this.#pending]);
  }
}

import { dependencyUrns, type ResourceState } from "./resource-state";
import { isProviderType, STACK_TYPE } from "./urn";

/** Which resources an operation is about, by the CLI's options of these names; all of them by default. */
export interface Selection {
  /** URNs; `*` stands for any text without a colon, `**` for any text */
  target?: readonly string[];
  targetDependents?: boolean;
  exclude?: readonly string[];
  excludeDependents?: boolean;
  /** Replaced whatever has changed. */
  replace?: readonly string[];
}

/** URNs by name or by pattern. */
class UrnSet {
  readonly #urns: Set<string>;
  readonly #patterns: RegExp[];
  readonly isGiven: boolean;

  constructor(given: readonly string[] = []) {
    this.isGiven = given.length > 0;
    this.#urns = new Set(given.filter((urn) => !urn.includes("*")));
    this.#patterns = given.filter((urn) => urn.includes("*")).map(patternOf);
  }

  has(urn: string): boolean {
    return this.#urns.has(urn) || this.#patterns.some((pattern) => pattern.test(urn));
  }

  add(urn: string): void {
    this.#urns.add(urn);
  }
}

function patternOf(glob: string): RegExp {
  const escaped = (text: string) => text.replaceAll(/[^\w]/g, "\\$&");
  const parts = glob.split("**").map((part) => part.split("*").map(escaped).join("[^:]*"));
  return new RegExp(`^${parts.join(".*")}$`);
}

const needs = (state: ResourceState, set: UrnSet) => [...dependencyUrns(state)].some((urn) => set.has(urn));

/** Adds what depends on the set, directly or not. `base` has dependencies first. */
function addDependents(set: UrnSet, base: readonly ResourceState[]): void {
  for (const state of base) if (needs(state, set)) set.add(state.urn);
}

/** Adds what the set depends on, directly or not. */
function addDependencies(set: UrnSet, base: readonly ResourceState[]): void {
  for (const state of base.toReversed()) {
    if (set.has(state.urn)) for (const urn of dependencyUrns(state)) set.add(urn);
  }
}

/** Decides by a selection. `includes` remembers what it found: registrations come dependencies first. */
export class Scope {
  readonly #selection: Selection;
  readonly #target: UrnSet;
  readonly #exclude: UrnSet;
  readonly #replace: UrnSet;

  constructor(selection: Selection = {}) {
    this.#selection = selection;
    this.#target = new UrnSet(selection.target);
    this.#exclude = new UrnSet(selection.exclude);
    this.#replace = new UrnSet(selection.replace);
  }

  get isTargeted(): boolean {
    return this.#target.isGiven;
  }

  /** Some resources are left alone. */
  get isPartial(): boolean {
    return this.#target.isGiven || this.#exclude.isGiven;
  }

  /** Whether an up looks at a resource. Providers and the stack always belong to it. */
  includes(state: ResourceState): boolean {
    if (isProviderType(state.type) || state.type === STACK_TYPE) return true;
    const isTargeted = this.#target.isGiven;
    const set = isTargeted ? this.#target : this.#exclude;
    const { targetDependents, excludeDependents } = this.#selection;
    const follows = isTargeted ? targetDependents : excludeDependents;
    const isNamed = set.has(state.urn) || (follows === true && needs(state, set));
    if (isNamed) set.add(state.urn);
    return isNamed === isTargeted;
  }

  replaces(urn: string): boolean {
    return this.#replace.has(urn);
  }

  /** What a refresh reads. */
  refreshed(base: readonly ResourceState[]): (state: ResourceState) => boolean {
    const { target, targetDependents, exclude, excludeDependents } = this.#selection;
    const isTargeted = this.#target.isGiven;
    const set = new UrnSet(isTargeted ? target : exclude);
    if (isTargeted ? targetDependents : excludeDependents) addDependents(set, base);
    return ({ urn }) => set.has(urn) === isTargeted;
  }

  /** What may be deleted: targets with all that depends on them; or all but what is excluded with all that it needs. */
  deletable(base: readonly ResourceState[]): (state: ResourceState) => boolean {
    const { target, exclude, excludeDependents } = this.#selection;
    const isTargeted = this.#target.isGiven;
    const set = new UrnSet(isTargeted ? target : exclude);
    if (isTargeted || excludeDependents) addDependents(set, base);
    if (!isTargeted) addDependencies(set, base);
    return ({ urn }) => set.has(urn) === isTargeted;
  }

  /** A deletion that was asked for neither by name nor by `targetDependents`. */
  isUnasked(urn: string): boolean {
    return this.#target.isGiven && !this.#target.has(urn) && this.#selection.targetDependents !== true;
  }

  /** Names of no resource. */
  unknown(kind: "target" | "exclude" | "replace", isKnown: (urn: string) => boolean): string[] {
    const given = this.#selection[kind] ?? [];
    return given.filter((urn) => !urn.includes("*") && !isKnown(urn));
  }
}

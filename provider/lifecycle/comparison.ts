import { z } from "zod";
import type { DiffResult, Properties } from "./lifecycle";
import { containsUnknown } from "./unknown-value";

/**
 * What another value of an input costs: nothing but the provider's own behaviour (`none`), a statement on the source or
 * what a living process follows by itself (`inPlace`), a restart of the process (`restart`), a restart and new copies of
 * tables (`resnapshot`); or another object in its place: with a staging of its own, into which every table is copied anew
 * (`newStaging`), or with a slot of its own, which needs that too (`newSlot`).
 */
export type Effect = "none" | "inPlace" | "restart" | "resnapshot" | "newStaging" | "newSlot";

/**
 * The effect of an input; or, of one that is an object, of a part of it (a property, or what `of` makes of the input), and of
 * all else in it.
 */
export type Effects = Record<
  string,
  Effect | { part: string; of?: (value: unknown) => unknown; effect: Effect; else: Effect }
>;

export interface Change {
  /** name of the input */
  input: string;
  effect: Effect;
}

/**
 * Pure: which inputs differ from the outputs of before. A property that the program leaves out keeps what it was given
 * when the resource was made. An unknown value counts as changed.
 */
export function changesOf(effects: Effects, olds: Properties, news: Properties): Change[] {
  const changes: Change[] = [];
  for (const [input, effect] of Object.entries(effects)) {
    if (same(olds[input], news[input])) continue;
    if (typeof effect === "string") changes.push({ input, effect });
    else {
      const of = effect.of ?? ((value: unknown) => partOf(value, effect.part));
      const isPart = !same(of(olds[input]), of(news[input]));
      changes.push({ input, effect: isPart ? effect.effect : effect.else });
    }
  }
  return changes;
}

const replacing: ReadonlySet<Effect> = new Set<Effect>(["newStaging", "newSlot"]);

/** Pure: whether any of these changes makes another object. */
export const isReplacing = (changes: readonly Change[]): boolean => changes.some(({ effect }) => replacing.has(effect));

/** How another object takes the place of one: made beside it, or once it is gone. */
export const strategySchema = z.enum(["blue-green", "stop-first"]);

/**
 * A replacement is made beside the old object (blue/green), unless `strategy` says otherwise, or the two can't be there
 * at the same time.
 * @param clashes they have a name, a folder or a port in common
 */
export function compare(effects: Effects, olds: Properties, news: Properties, clashes = false): DiffResult {
  const changes = changesOf(effects, olds, news);
  const replaces = changes.filter(({ effect }) => replacing.has(effect)).map(({ input }) => input);
  return withOrder({ changes: changes.length > 0, replaces, deleteBeforeReplace: false }, news, clashes);
}

export function withOrder(result: DiffResult, news: Properties, clashes: boolean): DiffResult {
  const isStopFirst = clashes || news.strategy === "stop-first";
  return { ...result, deleteBeforeReplace: result.replaces.length > 0 && isStopFirst };
}

/** `drift` is what `read` found changed by hand: any makes an update, which repairs it. */
export function withDrift(result: DiffResult, olds: Properties): DiffResult {
  const drifted = Array.isArray(olds.drift) && olds.drift.length > 0;
  return drifted ? { ...result, changes: true } : result;
}

function partOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Properties)[name] : value;
}

/** Equal whatever the order of keys; false as soon as anything is unknown. */
export function same(a: unknown, b: unknown): boolean {
  if (containsUnknown(a) || containsUnknown(b)) return false;
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value ?? null, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)));
  });
}

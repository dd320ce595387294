import type { DiffResult, Properties } from "./lifecycle";
import { containsUnknown } from "./unknown-value";

/** What a difference in a property means. */
export type Effect =
  | "update"
  | "replace"
  /** replaces when the part named after the colon differs or is unknown, else updates */
  | { replaceOn: string };

/**
 * Compares inputs with the outputs of before, property by property. A property that the program leaves out keeps what
 * it was given when the resource was made. An unknown value counts as changed.
 * All our objects have a name on the server or a folder: a replacement deletes the old one first.
 */
export function compare(effects: Record<string, Effect>, olds: Properties, news: Properties): DiffResult {
  const replaces: string[] = [];
  let changes = false;
  for (const [name, effect] of Object.entries(effects)) {
    if (same(olds[name], news[name])) continue;
    changes = true;
    if (effect === "replace") replaces.push(name);
    else if (typeof effect === "object" && !same(part(olds[name], effect), part(news[name], effect))) {
      replaces.push(name);
    }
  }
  return { changes, replaces, deleteBeforeReplace: replaces.length > 0 };
}

/** `drift` is what `read` found changed by hand: any makes an update, which repairs it. */
export function withDrift(result: DiffResult, olds: Properties): DiffResult {
  const drifted = Array.isArray(olds.drift) && olds.drift.length > 0;
  return drifted ? { ...result, changes: true } : result;
}

function part(value: unknown, effect: { replaceOn: string }): unknown {
  return typeof value === "object" && value !== null ? (value as Properties)[effect.replaceOn] : value;
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

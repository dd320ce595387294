import type { ClusterObject } from "./kubernetes-object";

/**
 * Pure: paths at which a live object isn't as it was applied. What a server adds (defaults, its own fields, others' labels)
 * is no difference; of its metadata only our labels and annotations count.
 */
export function objectDifference({ metadata, ...wanted }: ClusterObject, live: Record<string, unknown>): string[] {
  const { labels, annotations = {} } = metadata;
  return differing({ ...wanted, metadata: { labels, annotations } }, live, "");
}

function differing(wanted: unknown, live: unknown, path: string): string[] {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(live)) return wanted.length === 0 && live === undefined ? [] : [path];
    if (live.length !== wanted.length) return [path];
    return wanted.flatMap((element, index) => differing(element, live[index], `${path}[${index}]`));
  }
  if (typeof wanted === "object" && wanted !== null) {
    const found = typeof live === "object" && live !== null ? (live as Record<string, unknown>) : {};
    return Object.entries(wanted).flatMap(([key, inner]) =>
      // What is left out by the server is empty.
      inner === undefined ? [] : differing(inner, found[key], path === "" ? key : `${path}.${key}`),
    );
  }
  if (wanted === live) return [];
  const isQuantity = /\.(requests|limits)\.[^.]+$/.test(path);
  return isQuantity && quantityOf(wanted) === quantityOf(live) ? [] : [path];
}

const factors: Record<string, number> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5,
};

/** A server writes quantities in its own way: 1000m is 1. */
function quantityOf(value: unknown): number {
  const [, digits, unit = ""] = /^([\d.]+(?:[eE]\d+)?)([a-zA-Z]*)$/.exec(String(value)) ?? [];
  return Math.round(Number(digits) * (factors[unit] ?? 1) * 1e3);
}

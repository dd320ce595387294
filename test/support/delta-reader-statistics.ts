/** Checks a file's statistics against its values: bounds contain them, and when they're tight nulls are counted exactly. */
export function checkStatistics(
  path: string,
  stats: string,
  columns: Map<string, { type: string; values: unknown[] }>,
) {
  // Numbers may have more digits than JavaScript's.
  const text = stats.replaceAll(/:(-?\d+(?:\.\d+)?)(?=[,}])/g, ':"$1"');
  const parsed = JSON.parse(text) as {
    tightBounds?: boolean;
    minValues?: Record<string, string>;
    maxValues?: Record<string, string>;
    nullCount?: Record<string, string>;
  };
  for (const [physicalName, { type, values }] of columns) {
    const present = values.filter((value) => value !== null);
    const problem = (what: string) => new Error(`${path}: statistics of ${physicalName} ${type}: ${what}`);
    const nullCount = parsed.nullCount?.[physicalName];
    if (
      nullCount !== undefined &&
      parsed.tightBounds !== false &&
      Number(nullCount) !== values.length - present.length
    ) {
      throw problem(`${nullCount} nulls, not ${values.length - present.length}`);
    }
    const min = parsed.minValues?.[physicalName];
    const max = parsed.maxValues?.[physicalName];
    for (const value of present) {
      if (min !== undefined && compare(type, value, min, "min") < 0) throw problem(`${value} is below ${min}`);
      if (max !== undefined && compare(type, value, max, "max") > 0) throw problem(`${value} is above ${max}`);
    }
  }
}

function compare(type: string, value: unknown, bound: string, end: "min" | "max"): number {
  if (type === "string") return Buffer.compare(Buffer.from(value as string), Buffer.from(bound));
  if (type === "double" || type === "float") return (value as number) - Number(bound);
  const [a, b] = [magnitude(type, value), boundMagnitude(type, bound, end)];
  return a < b ? -1 : a > b ? 1 : 0;
}

function magnitude(type: string, value: unknown): bigint {
  if (type.startsWith("decimal")) return BigInt((value as string).replace(".", ""));
  return BigInt(value as number | bigint);
}

/** Of timestamps readers have milliseconds: an upper bound holds up to the next. */
function boundMagnitude(type: string, bound: string, end: "min" | "max"): bigint {
  if (type === "date") return BigInt(Date.parse(`${bound}T00:00:00Z`)) / 86_400_000n;
  if (type.startsWith("timestamp")) {
    const ms = BigInt(Date.parse(type === "timestamp_ntz" ? `${bound}Z` : bound));
    return ms * 1000n + (end === "max" ? 999n : 0n);
  }
  const scale = Number(/,(\d+)\)$/.exec(type)?.[1] ?? 0);
  const [whole, fraction = ""] = bound.split(".");
  return BigInt(`${whole}${scale > 0 ? fraction.padEnd(scale, "0") : ""}`);
}

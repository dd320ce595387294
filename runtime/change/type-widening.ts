import type { DeltaType } from "./table-schema";

const integerDigits: Partial<Record<DeltaType, number>> = { short: 5, integer: 10 };
const order: Partial<Record<DeltaType, number>> = { short: 1, integer: 2, long: 3 };

/** Pure: whether every value of a Delta type is a value of another one too, and Delta tables can change to it. */
export function isWidening(from: DeltaType, to: DeltaType): boolean {
  const rank = order[from];
  const toRank = order[to];
  if (rank !== undefined && toRank !== undefined) return rank < toRank;
  if (from === "float") return to === "double";
  const target = decimalOf(to);
  if (target === null) return false;
  const digits = integerDigits[from];
  if (digits !== undefined) return target.precision - target.scale >= digits;
  const source = decimalOf(from);
  if (source === null || from === to) return false;
  return target.scale >= source.scale && target.precision - target.scale >= source.precision - source.scale;
}

function decimalOf(type: DeltaType): { precision: number; scale: number } | null {
  const match = /^decimal\((\d+),(\d+)\)$/.exec(type);
  return match === null ? null : { precision: Number(match[1]), scale: Number(match[2]) };
}

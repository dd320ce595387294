import { isDeepStrictEqual } from "node:util";
import { keyOf, type NamedTableOptions, optionsOf, type TableMode, type TableOptions } from "./table-options";

/** What a change of options does to a table that has rows already. */
export type OptionsChange =
  | { kind: "none" }
  /** `options`: names of those that change */
  | { kind: "in-place"; options: string[] }
  | { kind: "refresh"; reason: string };

type Effect = OptionsChange["kind"];

/**
 * From a mode to another. Rows of scd1 are those of softDelete before the first delete; every other mode has rows that the
 * others haven't.
 */
const modeChanges: Record<TableMode, Record<TableMode, Effect>> = {
  scd1: { scd1: "none", softDelete: "in-place", append: "refresh", scd2: "refresh" },
  softDelete: { scd1: "refresh", softDelete: "none", append: "refresh", scd2: "refresh" },
  append: { scd1: "refresh", softDelete: "refresh", append: "none", scd2: "refresh" },
  scd2: { scd1: "refresh", softDelete: "refresh", append: "refresh", scd2: "none" },
};

/** In any order. */
const sortedNames = (names: string[] | undefined) => (names === undefined ? null : [...names].sort());

interface Rule {
  /** its value as it is compared; default: as it is */
  comparable?: (options: TableOptions) => unknown;
  effect: Effect | ((before: TableOptions, after: TableOptions) => Effect);
  /** of a refresh */
  reason?: (before: TableOptions, after: TableOptions) => string;
}

const columns = (name: "include" | "exclude" | "hash" | "key"): Rule => ({
  comparable: (options) => sortedNames(options[name]),
  effect: "refresh",
  reason: () => `its ${name} columns change`,
});

/** Each option has a rule, or this doesn't compile. */
const rules: Record<keyof TableOptions, Rule> = {
  mode: {
    effect: (before, after) => modeChanges[before.mode][after.mode],
    reason: (before, after) => `its mode changes from ${before.mode} to ${after.mode}`,
  },
  include: columns("include"),
  exclude: columns("exclude"),
  hash: columns("hash"),
  key: columns("key"),
  partitionBy: { effect: "refresh", reason: () => "its partitionBy columns change" },
  clusterBy: { effect: "in-place" },
  destination: {
    comparable: ({ destination }) => [destination?.schema, destination?.name],
    effect: "in-place",
  },
  metadataColumns: { effect: "in-place" },
  deletionVectors: { effect: "in-place" },
  columnMapping: { effect: "refresh", reason: () => "its columnMapping changes" },
  changeDataFeed: { effect: "in-place" },
  beforeImage: { effect: "in-place" },
  // What is done later, to no row of now.
  onRemove: { effect: "none" },
  onChange: { effect: "none" },
};

/** Pure; the same decision at preview and in the applier. */
export function compareOptions(before: TableOptions, after: TableOptions): OptionsChange {
  const inPlace: string[] = [];
  const reasons: string[] = [];
  for (const [name, { comparable, effect, reason }] of Object.entries(rules)) {
    const value = comparable ?? ((options: TableOptions) => options[name as keyof TableOptions]);
    if (isDeepStrictEqual(value(before), value(after))) continue;
    const what = typeof effect === "function" ? effect(before, after) : effect;
    if (what === "in-place") inPlace.push(name);
    if (what === "refresh") reasons.push(reason?.(before, after) ?? `its option ${name} changes`);
  }
  if (reasons.length > 0) return { kind: "refresh", reason: reasons.join(", ") };
  return inPlace.length === 0 ? { kind: "none" } : { kind: "in-place", options: inPlace };
}

export interface TableChange {
  table: { schema: string; name: string };
  change: OptionsChange;
  /** the table says that it may lose what it holds */
  isAccepted: boolean;
}

/** Pure: what a change of the pipeline's options does, by table. */
export function compareTables(before: NamedTableOptions[], after: NamedTableOptions[]): TableChange[] {
  const sources = new Map([...before, ...after].map((table) => [keyOf(table), table]));
  return [...sources.values()].flatMap(({ schema, name }) => {
    const wanted = optionsOf(after, { schema, name });
    const change = compareOptions(optionsOf(before, { schema, name }), wanted);
    if (change.kind === "none") return [];
    return [{ table: { schema, name }, change, isAccepted: wanted.onChange === "refresh" }];
  });
}

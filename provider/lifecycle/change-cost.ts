import { bytesText } from "../../runtime/byte-text";
import { quoteTable } from "../../runtime/postgres/identifier";
import { listNames } from "../name-list";
import type { TableSize } from "../postgres/table-size";
import type { Change, Effect } from "./comparison";
import type { Properties } from "./lifecycle";
import { printOnce } from "./own-names";
import { isUnknown } from "./unknown-value";

/**
 * What an update costs, as the resources' output `changeCost` and their preview tell it. `because` are the inputs that
 * cost it; `refresh` found drift, and `update` repairs it, where there are none.
 */
export type ChangeCost = { because: string[] } & (
  | { kind: "none" }
  | { kind: "inPlace" }
  | { kind: "restart" }
  /** new copies of these tables while the others go on; their old data is readable meanwhile */
  | ({ kind: "resnapshot" } & Copies)
  /** a new slot, or a new staging, and new copies of all tables */
  | ({ kind: "newStaging" } & Copies)
  | ({ kind: "newSlot" } & Copies)
);

/** `tables` is null, and so are the estimates, where the source wasn't asked or could not be. */
export interface Copies {
  tables: string[] | null;
  /** estimated by the server's statistics; null where a table was never analyzed */
  rows: number | null;
  /** on the source's disk, indexes apart */
  bytes: number | null;
}

/** From the cheapest to the dearest. */
const ranks: readonly Effect[] = ["none", "inPlace", "restart", "resnapshot", "newStaging", "newSlot"];

/** Pure: the dearest effect of these changes, with the inputs that have it. */
export function dearest(changes: readonly Change[]): { effect: Effect; because: string[] } {
  const rank = Math.max(0, ...changes.map(({ effect }) => ranks.indexOf(effect)));
  const effect = ranks[rank];
  return { effect, because: changes.filter((change) => change.effect === effect).map(({ input }) => input) };
}

/** Pure: whether the cost of these changes depends on which tables there are. */
export function needsSizes(changes: readonly Change[]): boolean {
  return ranks.indexOf(dearest(changes).effect) >= ranks.indexOf("resnapshot");
}

/**
 * Pure.
 * @param copies the tables that are copied again, if any are
 */
export function costOf(changes: readonly Change[], copies: Copies = unknownCopies): ChangeCost {
  const { effect, because } = dearest(changes);
  switch (effect) {
    case "none":
    case "inPlace":
    case "restart":
      return { kind: effect, because };
    case "resnapshot":
    case "newStaging":
    case "newSlot":
      return { kind: effect, because, ...copies };
  }
}

const unknownCopies: Copies = { tables: null, rows: null, bytes: null };

/** Pure. */
export function copiesOf(sizes: readonly TableSize[]): Copies {
  const total = (values: (number | null)[]) =>
    values.reduce((sum, value) => (sum === null || value === null ? null : sum + value), 0);
  return {
    tables: sizes.map(quoteTable),
    rows: total(sizes.map(({ rows }) => rows)),
    bytes: total(sizes.map(({ bytes }) => bytes)),
  };
}

/** Pure: the cost in a sentence. */
export function describeCost(cost: ChangeCost): string {
  const because = cost.because.length === 0 ? "" : `${cost.because.join(", ")}: `;
  switch (cost.kind) {
    case "none":
      return `${because}no effect on data or processes`;
    case "inPlace":
      return `${because}in place; nothing restarts, nothing is copied again`;
    case "restart":
      return `${because}its process restarts; changes wait meanwhile, nothing is copied again`;
    case "resnapshot":
      return `${because}${describeCopies(cost)} while the others go on`;
    case "newStaging":
      return `${because}a new staging in its place; ${describeCopies(cost)}`;
    case "newSlot":
      return `${because === "" ? "new" : `${because}a new one in its place`}; ${describeCopies(cost)}`;
  }
}

const namedMax = 20;

function describeCopies({ tables, rows, bytes }: Copies): string {
  if (tables === null) return "its tables are copied";
  if (tables.length === 0) return "no table is copied";
  const size =
    rows === null || bytes === null ? "" : ` (about ${rows.toLocaleString("en-US")} rows, ${bytesText(bytes)})`;
  return `${listNames(tables, namedMax)} ${tables.length === 1 ? "is" : "are"} copied${size}`;
}

/**
 * Puts the cost into the checked inputs, from where it becomes the output, and prints it. Without a change the cost of
 * the last one stays.
 * @param kind of the resource
 * @param name of its object, where it is known
 * @param olds the inputs of before; null for an object that is new
 */
export function tellCost(
  kind: string,
  name: unknown,
  olds: Properties | null,
  inputs: Properties,
  changes: readonly Change[],
  copies?: Copies,
): void {
  if (olds !== null && changes.length === 0) {
    if (olds.changeCost !== undefined) inputs.changeCost = olds.changeCost;
    return;
  }
  // What is new is made with a slot of its own, or for one.
  const cost: ChangeCost =
    olds === null ? { kind: "newSlot", because: [], ...(copies ?? unknownCopies) } : costOf(changes, copies);
  const subject = typeof name === "string" && !isUnknown(name) ? `${kind} ${name}` : kind;
  inputs.changeCost = cost;
  if (olds !== null || copies !== undefined) printOnce(`${subject}: ${describeCost(cost)}`);
}

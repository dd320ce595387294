import { isDeepStrictEqual } from "node:util";
import { fromStruct, toStruct } from "../engine/provider-client";

/** Paths of what JSON or a protobuf Struct would lose or change: undefined in a list, NaN, an infinity, a Date, a function … */
export function lossesOf(value: unknown, path = "$"): string[] {
  if (value === null || typeof value === "string" || typeof value === "boolean") return [];
  if (typeof value === "number") return Number.isFinite(value) ? [] : [`${path}: ${value}`];
  if (Array.isArray(value)) return value.flatMap((element, index) => lossesOf(element, `${path}[${index}]`));
  if (typeof value !== "object" || Object.getPrototypeOf(value) !== Object.prototype) {
    return [`${path}: ${typeof value === "object" ? value.constructor?.name : typeof value}`];
  }
  // A property that is undefined is left out.
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return members.flatMap(([key, member]) => lossesOf(member, `${path}.${key}`));
}

/** A result as an engine keeps it: what the provider process sends and the state file holds. Throws where that differs. */
export function asStored<T>(what: string, result: T): T {
  const losses = lossesOf(result);
  if (losses.length > 0) throw new Error(`${what} would be stored otherwise: ${losses.join(", ")}`);
  const stored = JSON.parse(JSON.stringify(result)) as T;
  const sent: unknown = fromStruct(toStruct(stored as Parameters<typeof toStruct>[0]));
  if (!isDeepStrictEqual(sent, stored)) throw new Error(`${what} changes on its way: ${JSON.stringify(stored)}`);
  return stored;
}

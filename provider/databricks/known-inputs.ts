import * as pulumi from "@pulumi/pulumi";
import { unknownValue } from "../lifecycle/unknown-value";

/** Pure: the arguments as they are when the program runs: what is known only later is the unknown value. */
export function knownNow(value: unknown): unknown {
  if (pulumi.Output.isInstance(value) || value instanceof Promise) return unknownValue;
  if (Array.isArray(value)) return value.map(knownNow);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, knownNow(member)]));
}

import { readFileSync } from "node:fs";
import { resolve } from "node:path";

/** What is known of a resource of the provider of Databricks; paths are dotted. */
export interface ResourceRules {
  /** a change is a new resource */
  forceNew: string[];
  /** nothing is compared where the program says nothing */
  computed: string[];
  /** compared without case */
  folded: string[];
  /** kept in lower case by the server */
  lowered: string[];
  /** an update leaves it as it was, or moves what is in it: of another value a program has to ask for a new resource */
  kept: string[];
  /** what the server answers with where the program says nothing */
  answers: Record<string, unknown>;
}

type Values = Record<string, unknown>;

const path = resolve(
  __dirname,
  __dirname.includes("/dist/") ? "../../.." : "../..",
  "test/fixtures/databricks-provider.json",
);
const recorded = JSON.parse(readFileSync(path, "utf8")) as Record<string, ResourceRules>;

export const recordedTypes = Object.keys(recorded).filter((type) => type !== "comment");

export function rulesOf(type: string): ResourceRules {
  const rules = recorded[type];
  if (rules === undefined) throw new Error(`there is no recorded schema of ${type}`);
  return rules;
}

const isRecord = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Pure: the resource as the server then has it. */
export function answered(type: string, inputs: Values): Values {
  const { answers, lowered } = rulesOf(type);
  const fill = (given: Values, missing: Values): Values => {
    const filled = { ...given };
    for (const [key, value] of Object.entries(missing)) {
      if (filled[key] === undefined && !isRecord(value)) filled[key] = value;
      else if (isRecord(filled[key]) && isRecord(value)) filled[key] = fill(filled[key], value);
    }
    return filled;
  };
  const lower = (given: Values, [head, ...rest]: string[]): Values => {
    const value = given[head];
    if (rest.length > 0) return isRecord(value) ? { ...given, [head]: lower(value, rest) } : given;
    return typeof value === "string" ? { ...given, [head]: value.toLowerCase() } : given;
  };
  return lowered.reduce((all, each) => lower(all, each.split(".")), fill(inputs, answers));
}

/** Pure: what differs between the resource as it is and as it is wanted, and which of that asks for a new one. */
export function differences(type: string, olds: Values, news: Values, ignored: readonly string[]) {
  const { forceNew, computed, folded } = rulesOf(type);
  const isIgnored = (path: string) => ignored.some((each) => path === each || path.startsWith(`${each}.`));
  const found: string[] = [];
  const visit = (old: unknown, wanted: unknown, path: string) => {
    if (isIgnored(path) || (computed.includes(path) && wanted === undefined)) return;
    if (isRecord(old) && isRecord(wanted)) {
      for (const key of new Set([...Object.keys(old), ...Object.keys(wanted)])) {
        visit(old[key], wanted[key], path === "" ? key : `${path}.${key}`);
      }
      return;
    }
    const same = folded.includes(path)
      ? String(old).toLowerCase() === String(wanted).toLowerCase()
      : JSON.stringify(sorted(old)) === JSON.stringify(sorted(wanted));
    if (!same) found.push(path);
  };
  visit(olds, news, "");
  const replaces = found.filter((path) => forceNew.some((each) => path === each || each.startsWith(`${path}.`)));
  return { changed: found, replaces };
}

const sorted = (value: unknown): unknown =>
  Array.isArray(value)
    ? value.map(sorted)
    : isRecord(value)
      ? Object.fromEntries(
          Object.keys(value)
            .sort()
            .map((key) => [key, sorted(value[key])]),
        )
      : value;

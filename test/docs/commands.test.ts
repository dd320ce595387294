// Contract: every command of ours that a page or an example tells is one that exists, with options that it has and, where it is
// told as what to run (`npx sluice …`), with those that it needs; a command takes what its usage says, and refuses all else; and an
// example's README sets all that its program requires.
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { codegen } from "../../provider/commands/codegen";
import { costs } from "../../provider/commands/costs";
import { grants } from "../../provider/commands/grants";
import { manifests } from "../../provider/commands/manifests";
import { slots } from "../../provider/commands/slots";
import { requireTaken } from "../../runtime/commands/command-options";
import { runtimeUsage } from "../../runtime/usage";

const root = resolve(__dirname, "../..");
const pages = ["README.md", ...pagesBelow("docs"), ...pagesBelow("examples")];

function pagesBelow(folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true }) as string[];
  return names
    .filter((name) => name.endsWith(".md") && !name.includes("node_modules"))
    .map((name) => join(folder, name));
}

/** A way to call a command. */
interface Form {
  /** each option, and whether it takes a value */
  options: Map<string, boolean>;
  /** of each of these lists one is needed */
  needed: string[][];
}

const optionPattern = /--([a-z][a-z-]*)( [A-Z][A-Z_.:/]*| postgres:|(?= ours| group))?/g;

function formOf(usage: string): Form {
  const options = new Map<string, boolean>();
  for (const [, name, value] of usage.matchAll(optionPattern))
    options.set(name, value !== undefined || options.get(name) === true);
  let needed = usage;
  while (/\[[^[\]]*\]/.test(needed)) needed = needed.replaceAll(/\[[^[\]]*\]/g, "");
  const alternatives = needed.replaceAll(/ \| /g, "|").replaceAll(/(--[a-z-]+) ([A-Z.]+)/g, "$1=$2");
  const lists = alternatives.split(/\s+/).filter((part) => part.startsWith("--"));
  return { options, needed: lists.map((list) => [...list.matchAll(/--([a-z-]+)/g)].map(([, name]) => name)) };
}

/** By command. What the runtime's usage has two spaces in front of is a call; what it does is further in. */
const forms = new Map<string, Form[]>();
const calls = runtimeUsage.replaceAll(/\n {27}(?=[[-])/g, " ").split("\n");
for (const line of calls) {
  const [, name, rest] = /^ {2}sluice ([a-z-]+)(.*?)(?: {2,}.*)?$/.exec(line) ?? [];
  if (name !== undefined && !name.startsWith("-")) forms.set(name, [...(forms.get(name) ?? []), formOf(rest)]);
}
for (const { name, usage } of [codegen, costs, grants, manifests, slots]) {
  forms.set(name, [{ ...formOf(usage), needed: [] }]);
}

interface Told {
  text: string;
  isToRun: boolean;
  name: string;
  options: Map<string, string | undefined>;
  isWhole: boolean;
}

/** Calls in code, be it a line of a block or within a sentence. */
function toldIn(page: string): Told[] {
  const text = page.replaceAll(/\\\n\s*/g, " ");
  const code = [
    ...[...text.matchAll(/^```(?:sh|bash)?\n([\s\S]*?)^```$/gm)].flatMap(([, block]) => block.split("\n")),
    ...[...text.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/`([^`]+)`/g)].map(([, span]) =>
      span.replaceAll("\n", " "),
    ),
  ];
  return code.flatMap((line) => {
    const [, npx, name, rest] = /(?:^|[\s(])(npx )?sluice ([a-z][a-z-]*)((?: [^#|;&)]*)?)/.exec(line) ?? [];
    if (name === undefined) return [];
    const words = rest.replaceAll(/[[\]]/g, "").trim().split(/\s+/).filter(Boolean);
    const options = new Map<string, string | undefined>();
    words.forEach((word, at) => {
      if (word.startsWith("--"))
        options.set(word.slice(2), words.at(at + 1)?.startsWith("--") ? undefined : words.at(at + 1));
    });
    const isWhole = !words.includes("…");
    return [{ text: line.trim(), isToRun: npx !== undefined, name, options, isWhole }];
  });
}

const general = new Set(["help", "version"]);

function problemOf({ name, options, isToRun, isWhole }: Told): string | null {
  const known = forms.get(name);
  if (known === undefined) return `there is no command ${name}`;
  for (const [option, value] of options) {
    if (general.has(option)) return null;
    const takes = known.map((form) => form.options.get(option)).filter((each) => each !== undefined);
    if (takes.length === 0) return `${name} has no option --${option}`;
    if (takes.includes(true) && value === undefined && isToRun) return `--${option} needs a value`;
  }
  if (!isToRun || !isWhole) return null;
  const lacking = known.map(({ needed }) => needed.find((list) => !list.some((option) => options.has(option))));
  return lacking.includes(undefined)
    ? null
    : `${name} needs ${lacking.map((list) => `--${list?.join(" or --")}`).join("; or ")}`;
}

it("the check finds a command, an option and a need that are wrong", () => {
  const problems = (text: string) => toldIn(text).map(problemOf);
  expect(problems("`sluice mend` and `npx sluice grants --host x`")).toEqual([
    "there is no command mend",
    "grants has no option --host",
  ]);
  expect(
    problems("```\nnpx sluice status\nnpx sluice runs --limit 3\nnpx sluice refresh --pipeline --all\n```"),
  ).toEqual(["status needs --config", "runs needs --config; or --pipeline", "--pipeline needs a value"]);
  expect(
    problems("`sluice status`, `npx sluice refresh --pipeline ID --all`, `npx sluice resync --config F …`"),
  ).toEqual([null, null, null]);
  expect(forms.get("doctor")?.[0].options.get("gateway-schema")).toBe(true);
});

const runtimeCommands = new Set([...runtimeUsage.matchAll(/^ {2}sluice ([a-z][a-z-]*)/gm)].map(([, name]) => name));
const allOptions = new Set([...forms.values()].flatMap((known) => known.flatMap(({ options }) => [...options.keys()])));

it.each([...runtimeCommands])("sluice %s takes the options of its usage, and no other", (name) => {
  const isTaken = (option: string) => {
    try {
      requireTaken(name, [option], []);
      return true;
    } catch {
      return false;
    }
  };
  const told = new Set(forms.get(name)?.flatMap(({ options }) => [...options.keys()]));
  expect([...allOptions].filter(isTaken).sort()).toEqual([...told].sort());
});

it("what a command would pass over in silence is refused, with what it takes", () => {
  expect(() => requireTaken("status", ["config", "pipeline"], [])).toThrow("sluice status takes no --pipeline");
  expect(() => requireTaken("purge", ["config"], ["public.item"])).toThrow("sluice purge takes no public.item");
  expect(() => requireTaken("supervise", ["json"], ["config.json"])).toThrow("sluice supervise takes no --json");
  expect(() => requireTaken("resync", ["config", "json"], ["public.a", "public.b"])).not.toThrow();
});

describe.each(pages)("%s", (page) => {
  const text = readFileSync(join(root, page), "utf8");
  it("tells commands that exist, with their options", () => {
    const wrong = toldIn(text).flatMap((told) => {
      const problem = problemOf(told);
      return problem === null ? [] : [`${told.text}: ${problem}`];
    });
    expect(wrong).toEqual([]);
  });
});

const programs = readdirSync(join(root, "examples"));

describe.each(programs)("the example %s", (name) => {
  const folder = join(root, "examples", name);
  const read = (file: string) => (readdirSync(folder).includes(file) ? readFileSync(join(folder, file), "utf8") : "");
  it("tells all that its program requires, and nothing that it doesn't know", () => {
    const program = read("index.ts");
    // The quickstart is the project of the root.
    const told = name === "quickstart" ? readFileSync(join(root, "Pulumi.yaml"), "utf8") : read("README.md");
    const keys = (pattern: RegExp) => new Set([...program.matchAll(pattern)].map(([, key]) => key));
    const required = [...keys(/\.require(?:Object|Boolean|Number|Secret)?(?:<[^(]*>)?\(\s*"([^"]+)"/g)];
    expect(required.filter((key) => !new RegExp(`\\b${key}\\b`).test(told))).toEqual([]);
    const known = keys(/\.(?:require|get)(?:Object|Boolean|Number|Secret)?(?:<[^(]*>)?\(\s*"([^"]+)"/g);
    const set = [...read("README.md").matchAll(/pulumi config set (?:--\S+ )*([A-Za-z]+)/g)].map(([, key]) => key);
    expect(set.filter((key) => !known.has(key))).toEqual([]);
  });
});

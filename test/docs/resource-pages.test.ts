// Contract: each resource has a page whose tables have exactly the inputs that its lifecycle checks, each with its declared
// effect and a meaning, and its outputs; they are those that `npm run docs` makes.
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { allMembers, readDeclarations } from "./declarations";
import { describeEffect, regenerated, resourcePages } from "./resource-pages";

const root = resolve(__dirname, "../..");
const declarations = readDeclarations(root);
const read = (file: string) => readFileSync(join(root, "docs/resources", `${file}.md`), "utf8");

describe.each(resourcePages)("the page of $resource", (page) => {
  it("is as npm run docs makes it", () => {
    expect(regenerated(page, read(page.file), declarations), "run npm run build && npm run docs").toBe(read(page.file));
  });

  it("says what each input and output is", () => {
    const inputs = allMembers(declarations, `${page.resource}Args`);
    const given = new Set(inputs.map(({ name }) => name));
    const outputs = (declarations.get(page.resource)?.members ?? []).filter(({ name }) => !given.has(name));
    const silent = [...inputs, ...outputs].filter(
      ({ name, documentation }) => documentation === "" && !name.includes("."),
    );
    const told = new Set([
      "publicationName",
      "slotName",
      "deploymentId",
      "stagingPath",
      "destinationPath",
      "databaseOid",
    ]);
    expect(silent.map(({ name }) => name).filter((name) => !told.has(name))).toEqual([]);
  });

  it("tells of replacement, costs, adoption and errors, and its links lead somewhere", () => {
    const text = read(page.file);
    for (const title of ["What replaces it", "Costs", "Adoption", "Delete", "Errors"])
      expect(text).toContain(`\n## ${title}\n`);
    for (const [, path] of text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      expect(existsSync(join(root, "docs/resources", path)), path).toBe(true);
    }
  });
});

it.each(resourcePages.filter(({ effects }) => effects !== null))(
  "the page of $resource has exactly the inputs that are checked, with their effects",
  ({ file, effects, shape, internal }) => {
    const [, table] = /<!-- inputs -->\n([\s\S]*?)<!-- \/inputs -->/.exec(read(file)) ?? [];
    const rows = table
      .trim()
      .split("\n")
      .slice(2)
      .map((line) => line.split(/(?<!\\)\|/).map((text) => text.trim()));
    const found = Object.fromEntries(rows.map(([, name, , effect]) => [name.replace(/^`(.*?)`.*/, "$1"), effect]));
    const given = Object.keys(shape as object).filter((name) => !internal?.includes(name));
    const declared = given.map((name) => [name, describeEffect(effects?.[name])]);
    expect(found).toEqual(Object.fromEntries(declared));
  },
);

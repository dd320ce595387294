// Contract: what is recorded of the provider of Databricks is of properties that the package's types have, so that a stand-in
// compares, fills in and replaces by nothing that isn't there.
import { expect, it } from "vitest";
import { recordedTypes, rulesOf } from "./databricks-resources";
import { unknownPaths } from "./package-inputs";

const pathsOf = (value: object, before = ""): string[] =>
  Object.entries(value).flatMap(([key, member]) => [
    `${before}${key}`,
    ...(typeof member === "object" && !Array.isArray(member) ? pathsOf(member, `${before}${key}.`) : []),
  ]);

it.each(recordedTypes)("of %s", (type) => {
  const { answers, ...lists } = rulesOf(type);
  expect(unknownPaths(type, [...Object.values(lists).flat(), ...pathsOf(answers)])).toEqual([]);
});

it("is checked by a check that finds what isn't there", () => {
  const type = "databricks:index/pipeline:Pipeline";
  expect(unknownPaths(type, ["name", "pipelines", "gatewayDefinition.connection", "name.of"])).toEqual([
    "pipelines",
    "gatewayDefinition.connection",
    "name.of",
  ]);
});

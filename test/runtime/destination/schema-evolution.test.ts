// Contract: only columns whose type holds every value of the old one, or its text, are widened; all else is refused with the remedy.
import { describe, expect, it } from "vitest";
import { compareSchemas, isWidening } from "../../../runtime/destination/schema-evolution";
import { tableSchema } from "../applier/staged-log";

describe("isWidening", () => {
  it.each([
    ["short", "integer"],
    ["short", "long"],
    ["integer", "long"],
    ["float", "double"],
    ["decimal(10,2)", "decimal(12,4)"],
    ["decimal(10,2)", "decimal(11,2)"],
    ["short", "decimal(5,0)"],
    ["integer", "decimal(12,2)"],
    ["long", "decimal(38,18)"],
    ["integer", "string"],
    ["decimal(38,18)", "string"],
    ["array<integer>", "array<long>"],
    ["array<date>", "array<string>"],
  ])("%s to %s holds every value", (from, to) => expect(isWidening(from, to)).toBe(true));

  it.each([
    ["integer", "integer"],
    ["long", "integer"],
    ["double", "float"],
    ["integer", "double"],
    ["string", "integer"],
    ["double", "string"],
    ["binary", "string"],
    ["array<integer>", "string"],
    ["string", "array<string>"],
    ["array<long>", "array<integer>"],
    ["decimal(10,2)", "decimal(11,4)"],
    ["decimal(10,2)", "decimal(10,1)"],
    ["integer", "decimal(11,2)"],
    ["long", "decimal(18,0)"],
    ["decimal(10,0)", "long"],
    ["date", "timestamp_ntz"],
  ])("%s to %s doesn't", (from, to) => expect(isWidening(from, to)).toBe(false));
});

describe("compareSchemas", () => {
  const before = new Map([
    ["c1", "integer"],
    ["c2", "string"],
    ["c9", "date"],
  ]);

  it("goes by physical names: renamed and dropped columns need nothing", () => {
    const schema = tableSchema("1", "t", { renamed: "long*", other: "string", added: "date" });
    expect(compareSchemas(before, schema)).toEqual({ widened: ["c1"], added: ["c3"] });
  });

  it("refuses a type that doesn't hold the old values", () => {
    const schema = tableSchema("1", "t", { id: "short*" });
    expect(() => compareSchemas(before, schema)).toThrow("column id changed from integer to short");
  });
});

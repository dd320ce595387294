// Contract: the source of a declarative pipeline is one text for the same declaration; whatever a name has in it, it is a
// text to Python and nothing else; what AUTO CDC has nothing for is refused with a remedy. What Spark makes of it isn't
// shown here.
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { type PipelineTable, pipelineObstacles, pipelineSource } from "../../../provider/declarative/pipeline-source";
import { pythonLiteral } from "../../../provider/declarative/python-literal";
import { stagedTablesPython } from "../../../provider/declarative/staged-tables";
import { defaultTableOptions, type TableOptions } from "../../../runtime/table-options";
import fc, { propertyRuns } from "../../support/property";

const golden = resolve(__dirname, "../../fixtures/declarative/tables.py");

function table(name: string, options: Partial<TableOptions> = {}, more: Partial<PipelineTable> = {}): PipelineTable {
  return { schema: "public", name, options: { ...defaultTableOptions, ...options }, ...more };
}

const place = { stagingPath: "/Volumes/main/sluice/staging/shop", catalog: "main", schema: "lake" };

/** What is behind the part that every pipeline has. */
function declarations(tables: PipelineTable[]): string {
  const source = pipelineSource({ ...place, tables });
  expect(source).toContain(stagedTablesPython());
  return source.slice(source.indexOf(stagedTablesPython()) + stagedTablesPython().length);
}

/** Reads a literal as Python's grammar has it ("String and Bytes literals"), without a word of ours. */
function readPythonText(literal: string): string {
  expect(literal).toMatch(/^"(?:[ !#-[\]-~]|\\["\\]|\\u[0-9a-f]{4}|\\U[0-9a-f]{8})*"$/);
  return literal.slice(1, -1).replace(/\\(?:U([0-9a-f]{8})|u([0-9a-f]{4})|(.))/g, (_, long, short, plain) => {
    if (plain !== undefined) return plain;
    return long === undefined
      ? String.fromCharCode(Number.parseInt(short, 16))
      : String.fromCodePoint(Number.parseInt(long, 16));
  });
}

describe("a pipeline's source", () => {
  it("is what it was (SLUICE_GOLDEN=write writes it anew)", () => {
    const text = declarations([
      table("orders"),
      table("customers", { mode: "scd2", exclude: ["password"], clusterBy: ["id"] }),
      table("events", { mode: "append", beforeImage: true, partitionBy: ["day"], changeDataFeed: true }),
      table(`o'neill's "tab\\le"`, {
        key: ["a`b", "ü😀"],
        destination: { schema: "other", name: "oneill" },
        metadataColumns: true,
      }),
      table(
        "checked",
        {},
        {
          expectations: [
            { name: "has an amount", condition: "amount IS NOT NULL" },
            { name: "is positive", condition: "amount > 0", action: "drop" },
          ],
        },
      ),
    ]);
    if (process.env.SLUICE_GOLDEN === "write") writeFileSync(golden, text);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });

  it("has any text as Python reads it", () => {
    fc.assert(
      fc.property(
        fc.string({
          unit: fc.oneof(
            fc.string({ unit: "binary", maxLength: 1 }),
            fc.constantFrom('"', "\\", "'", "\n", "\r", "\0", "\u2028", "\ud800"),
          ),
        }),
        (text) => {
          expect(readPythonText(pythonLiteral(text))).toBe(text);
        },
      ),
      propertyRuns(100),
    );
  });

  it("lets no name be more than a text of the program", () => {
    const shape = (text: string) => text.replace(/"(?:[^"\\\n]|\\.)*"/g, '""').replace(/,?\s+(?=[\]}])|\s+/g, "");
    const clean = shape(declarations([table("x")]));
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: "binary" }), (name) => {
        const text = declarations([table(name)]);
        expect(text).toMatch(/^[\n -~]*$/);
        expect(shape(text)).toBe(clean);
      }),
    );
  });

  it("refuses two tables of one name there, as Unity Catalog tells no upper from lower case", () => {
    const both = [table("orders"), { ...table("Orders"), schema: "sales" }];
    expect(() => declarations(both)).toThrow("two tables have the destination main.lake.Orders");
  });

  it.each([
    ["mode", { mode: "softDelete" }],
    ["hash", { hash: ["email"] }],
    ["onRemove", { onRemove: "drop" }],
    ["columnMapping", { columnMapping: false }],
  ] as const)("refuses %s, by table and with a remedy", (property, options) => {
    const [obstacle, ...others] = pipelineObstacles(table("orders", options as Partial<TableOptions>));
    expect(others).toEqual([]);
    expect(obstacle).toMatchObject({ property, reason: expect.stringContaining("table public.orders: ") });
    expect(obstacle.remedy).not.toBe("");
    expect(() => declarations([table("orders", options as Partial<TableOptions>)])).toThrow(obstacle.reason);
  });

  it("refuses two expectations of one name", () => {
    const twice = { name: "a", condition: "true" };
    const [obstacle] = pipelineObstacles(table("orders", {}, { expectations: [twice, twice] }));
    expect(obstacle.reason).toContain("two expectations are called a");
  });
});

// Contract: every error has a kind, by which docs/errors.md finds it, and a remedy: its own, or that of its kind; the page
// says what the catalogue says.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { dispatch } from "../../provider/handlers";
import { errorCatalogue } from "../../runtime/error-catalogue";
import { type ErrorKind, SluiceError } from "../../runtime/errors";

const kinds = Object.keys(errorCatalogue) as ErrorKind[];

const page = [
  "# Errors",
  "",
  "Every error ends with `error: <id>`, has the id as `kind` in the log and as `errorKind` in the status document, and a",
  "`remedy`: that of the very case, or this.",
  "",
  "| id | what it means | remedy |",
  "|---|---|---|",
  ...kinds.map((kind) => `| \`${kind}\` | ${errorCatalogue[kind].meaning} | ${errorCatalogue[kind].remedy} |`),
  "",
].join("\n");

describe("errors", () => {
  it("docs/errors.md says what the catalogue says", () => {
    expect(readFileSync("docs/errors.md", "utf8")).toBe(page);
  });

  it.each(kinds)("%s has a meaning and a remedy of full sentences", (kind) => {
    const { meaning, remedy } = errorCatalogue[kind];
    for (const text of [meaning, remedy]) expect(text).toMatch(/^[A-Z][\s\S]{15,}\.$/);
    expect(new SluiceError(kind, "it failed").describe()).toBe(`it failed\n  remedy: ${remedy}`);
    expect(new SluiceError(kind, "it failed", { remedy: "Mend it." }).describe()).toBe("it failed\n  remedy: Mend it.");
  });

  it("each that is made has a kind of the catalogue, where it is written out", () => {
    const made = ["provider", "runtime"].flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((name) => name.endsWith(".ts"))
        .flatMap((name) => kindsMadeIn(join(folder, name))),
    );
    expect(made.length).toBeGreaterThan(100);
    expect(made.filter((kind) => !kinds.includes(kind as ErrorKind))).toEqual([]);
  });

  it("what an engine is told ends with the id", async () => {
    const source = { host: "127.0.0.1", port: 1, database: "d", user: "u", connectTimeoutMs: 500 };
    await expect(dispatch("Connection", "create", [{ source }])).rejects.toThrow(/remedy: .*\n {2}error: unreachable$/);
  });
});

function kindsMadeIn(path: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && node.expression.getText() === "SluiceError") {
      const [kind] = node.arguments ?? [];
      if (kind !== undefined && ts.isStringLiteral(kind)) found.push(kind.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true));
  return found;
}

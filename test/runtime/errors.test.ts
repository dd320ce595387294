// Contract: every error has a kind, by which docs/errors.md finds it, and a remedy of its own case, which the compiler asks
// for; only a defect has that of its kind. The page says what the catalogue says.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";
import { dispatch } from "../../provider/handlers";
import { errorCatalogue } from "../../runtime/error-catalogue";
import { type ErrorKind, SluiceError } from "../../runtime/errors";

const kinds = Object.keys(errorCatalogue) as ErrorKind[];

const made = ["provider", "runtime"].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .flatMap((name) => errorsMadeIn(join(folder, name))),
);

const page = [
  "# Errors",
  "",
  "Every error ends with `error: <id>`, has the id as `kind` in the log and as `errorKind` in the status document, and a",
  "`remedy` of its very case. The table has what helps in general.",
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
    const general = new SluiceError(kind as "internal", "it failed").describe();
    expect(general).toBe(`it failed\n  remedy: ${remedy}`);
    expect(new SluiceError(kind, "it failed", { remedy: "Mend it." }).describe()).toBe("it failed\n  remedy: Mend it.");
  });

  it("each that is made has a kind of the catalogue, where it is written out", () => {
    expect(made.length).toBeGreaterThan(100);
    expect(made.filter(({ kind }) => kind !== null && !kinds.includes(kind as ErrorKind))).toEqual([]);
  });

  it("each but a defect is made with a remedy of its own, in full sentences where it is written out", () => {
    const general = new Set(kinds.map((kind) => errorCatalogue[kind].remedy));
    const written = made.filter(({ kind }) => kind !== "internal");
    expect(written.filter(({ remedy }) => remedy === null).map(({ at }) => at)).toEqual([]);
    const texts = written.filter(({ remedy }) => remedy?.literal != null);
    expect(texts.length).toBeGreaterThan(50);
    for (const { at, remedy } of texts) {
      expect(remedy?.literal, at).toMatch(/^(?=.{12}).*\.$/s);
      expect(general.has(remedy?.literal ?? ""), `${at} has the remedy of its kind only`).toBe(false);
    }
  });

  it("what an engine is told ends with the id", async () => {
    const source = { host: "127.0.0.1", port: 1, database: "d", user: "u", connectTimeoutMs: 500 };
    await expect(dispatch("Connection", "create", [{ source }])).rejects.toThrow(/remedy: .*\n {2}error: unreachable$/);
  });
});

interface MadeError {
  at: string;
  /** null where it is worked out */
  kind: string | null;
  /** null where there is none; `literal` null where it is worked out */
  remedy: { literal: string | null } | null;
}

function errorsMadeIn(path: string): MadeError[] {
  const source = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest, true);
  const found: MadeError[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && node.expression.getText() === "SluiceError") {
      const [kind, , options] = node.arguments ?? [];
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      found.push({
        at: `${path}:${line}`,
        kind: kind !== undefined && ts.isStringLiteral(kind) ? kind.text : null,
        remedy: options === undefined ? null : remedyOf(options),
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function remedyOf(options: ts.Expression): MadeError["remedy"] {
  if (!ts.isObjectLiteralExpression(options)) return { literal: null };
  const property = options.properties.find((each) => each.name?.getText() === "remedy");
  if (property === undefined) return null;
  if (!ts.isPropertyAssignment(property)) return { literal: null };
  const { initializer } = property;
  return { literal: ts.isStringLiteralLike(initializer) ? initializer.text : null };
}

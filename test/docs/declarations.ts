import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/** A member of an interface or of a type's literal, or an output of a class. */
export interface Member {
  name: string;
  optional: boolean;
  /** its type, without Pulumi's wrappers */
  type: string;
  /** its docstring in one line; empty without one */
  documentation: string;
}

export interface Declaration {
  documentation: string;
  members: Member[];
  /** names of what it extends, as `ProcessArgs`, `Inputs<Source>` */
  extended: string[];
  /** what a type's name stands for, as `LocalArgs | DockerArgs`; empty for all else */
  alias: string;
}

/** The declarations that the provider's programs see, by name: interfaces, aliases, classes with their outputs. */
export function readDeclarations(root: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  for (const name of readdirSync(join(root, "provider")).filter((file) => file.endsWith(".ts"))) {
    const path = join(root, "provider", name);
    const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022, true);
    file.forEachChild((node) => {
      const declaration = declarationOf(node, file);
      if (declaration !== null) found.set(...declaration);
    });
  }
  return found;
}

function declarationOf(node: ts.Node, file: ts.SourceFile): [string, Declaration] | null {
  if (ts.isInterfaceDeclaration(node)) {
    const extended = (node.heritageClauses ?? []).flatMap(({ types }) => types.map((type) => type.getText(file)));
    return [
      node.name.text,
      { documentation: documentationOf(node), members: membersOf(node.members, file), extended, alias: "" },
    ];
  }
  if (ts.isTypeAliasDeclaration(node)) {
    const alias = node.type.getText(file);
    return [node.name.text, { documentation: documentationOf(node), members: [], extended: [], alias }];
  }
  if (!ts.isClassDeclaration(node) || node.name === undefined) return null;
  const outputs = node.members.filter(
    (member): member is ts.PropertyDeclaration =>
      ts.isPropertyDeclaration(member) && /\bOutput</.test(member.type?.getText(file) ?? ""),
  );
  return [
    node.name.text,
    { documentation: documentationOf(node), members: membersOf(outputs, file), extended: [], alias: "" },
  ];
}

function membersOf(members: readonly ts.Node[], file: ts.SourceFile): Member[] {
  return members.flatMap((member): Member[] => {
    if (!ts.isPropertySignature(member) && !ts.isPropertyDeclaration(member)) return [];
    const name = member.name.getText(file);
    const own = { name, optional: member.questionToken !== undefined, documentation: documentationOf(member) };
    const { type } = member;
    if (type !== undefined && ts.isTypeLiteralNode(type)) {
      const parts = membersOf(type.members, file).map((part) => ({ ...part, name: `${name}.${part.name}` }));
      return [{ ...own, type: "object" }, ...parts];
    }
    return [{ ...own, type: unwrapped(type?.getText(file) ?? "") }];
  });
}

/** `pulumi.Input<pulumi.Input<Table>[]>` → `Table[]` */
function unwrapped(text: string): string {
  const inner = /pulumi\.(?:Input|Output)<((?:[^<>]|<[^<>]*>|<(?:[^<>]|<[^<>]*>)*>)*)>/;
  let type = text.replaceAll(/\s+/g, " ");
  while (inner.test(type)) {
    type = type.replace(inner, (_, given: string) => (given.includes("|") && type !== text ? `(${given})` : given));
  }
  return type;
}

function documentationOf(node: ts.Node): string {
  const [first] = ts.getJSDocCommentsAndTags(node);
  const comment = first === undefined ? "" : (ts.getTextOfJSDocComment(first.comment) ?? "");
  return comment.replaceAll(/\s+/g, " ").trim();
}

/** The members of an interface with those of what it extends. */
export function allMembers(declarations: ReadonlyMap<string, Declaration>, name: string): Member[] {
  const declaration = declarations.get(name.replace(/^Inputs<(.*)>$/, "$1"));
  if (declaration === undefined) throw new Error(`there is no declaration ${name}`);
  const inherited = declaration.extended.flatMap((each) => allMembers(declarations, each));
  const own = new Set(declaration.members.map((member) => member.name));
  return [...inherited.filter((member) => !own.has(member.name)), ...declaration.members];
}

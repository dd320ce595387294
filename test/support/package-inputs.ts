import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import ts from "typescript";

const folder = dirname(createRequire(__filename).resolve("@pulumi/databricks/package.json"));

type Interfaces = Map<string, Map<string, { type: string; optional: boolean }>>;

const read = new Map<string, Interfaces>();

/** The interfaces of one of the package's declaration files, with their members' types as text. */
function interfacesOf(path: string): Interfaces {
  const known = read.get(path);
  if (known !== undefined) return known;
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022);
  const found: Interfaces = new Map();
  file.forEachChild((node) => {
    if (!ts.isInterfaceDeclaration(node)) return;
    const members = node.members.filter(ts.isPropertySignature).map((member) => {
      const name = (member.name as ts.Identifier).text;
      return [name, { type: member.type?.getText(file) ?? "", optional: member.questionToken !== undefined }] as const;
    });
    found.set(node.name.text, new Map(members));
  });
  read.set(path, found);
  return found;
}

/**
 * Pure but for the package's files: paths of inputs that a resource of `@pulumi/databricks` doesn't have, or lacks.
 * @param type as `databricks:index/pipeline:Pipeline`
 */
export function wrongInputs(type: string, inputs: Record<string, unknown>): string[] {
  const [, module, name] = /^databricks:index\/(\w+):(\w+)$/.exec(type) ?? [];
  const path = join(folder, `${module}.d.ts`);
  const args = existsSync(path) ? interfacesOf(path).get(`${name}Args`) : undefined;
  if (args === undefined) return [`${type}: there is no such resource`];
  const nested = interfacesOf(join(folder, "types/input.d.ts"));
  const wrong: string[] = [];
  const visit = (members: NonNullable<typeof args>, value: Record<string, unknown>, path: string) => {
    for (const [key, { optional }] of members) {
      if (!optional && value[key] === undefined) wrong.push(`${path}${key} is missing`);
    }
    for (const [key, member] of Object.entries(value)) {
      const declared = members.get(key);
      if (declared === undefined) {
        wrong.push(`${path}${key} isn't declared`);
        continue;
      }
      const inner = /inputs\.(\w+)/.exec(declared.type)?.[1];
      const values = Array.isArray(member) ? member : [member];
      if (declared.type.includes(">[]") !== Array.isArray(member)) wrong.push(`${path}${key} is a list, or isn't one`);
      if (inner === undefined) continue;
      for (const each of values) {
        visit(nested.get(inner) as typeof members, each as Record<string, unknown>, `${path}${key}.`);
      }
    }
  };
  visit(args, inputs, "");
  return wrong;
}

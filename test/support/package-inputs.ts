import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import ts from "typescript";

const folder = dirname(createRequire(__filename).resolve("@pulumi/databricks/package.json"));

type Members = Map<string, { type: ts.TypeNode; optional: boolean }>;
type Interfaces = Map<string, Members>;

const read = new Map<string, Interfaces>();

/** The interfaces of one of the package's declaration files. */
function interfacesOf(path: string): Interfaces {
  const known = read.get(path);
  if (known !== undefined) return known;
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.ES2022);
  const found: Interfaces = new Map();
  file.forEachChild((node) => {
    if (!ts.isInterfaceDeclaration(node)) return;
    const members = node.members.filter(ts.isPropertySignature).map((member) => {
      const name = (member.name as ts.Identifier).text;
      return [name, { type: member.type as ts.TypeNode, optional: member.questionToken !== undefined }] as const;
    });
    found.set(node.name.text, new Map(members));
  });
  read.set(path, found);
  return found;
}

/** @param type as `databricks:index/pipeline:Pipeline` @param suffix `Args` of inputs, `State` of outputs too */
function membersOf(type: string, suffix: "Args" | "State"): Members | undefined {
  const [, module, name] = /^databricks:index\/(\w+):(\w+)$/.exec(type) ?? [];
  const path = join(folder, `${module}.d.ts`);
  return existsSync(path) ? interfacesOf(path).get(`${name}${suffix}`) : undefined;
}

/** What a member is, without `pulumi.Input` and what may be left out. */
type Shape =
  | { kind: "text" | "number" | "truth" }
  | { kind: "list" | "map"; of: Shape }
  | { kind: "object"; members: Members };

/** Pure. @throws of a type that this check doesn't know, rather than letting it pass */
function shapeOf(type: ts.TypeNode): Shape {
  switch (type.kind) {
    case ts.SyntaxKind.StringKeyword:
      return { kind: "text" };
    case ts.SyntaxKind.NumberKeyword:
      return { kind: "number" };
    case ts.SyntaxKind.BooleanKeyword:
      return { kind: "truth" };
  }
  if (ts.isUnionTypeNode(type)) {
    const said = type.types.filter(({ kind }) => kind !== ts.SyntaxKind.UndefinedKeyword);
    if (said.length === 1) return shapeOf(said[0]);
  }
  if (ts.isArrayTypeNode(type)) return { kind: "list", of: shapeOf(type.elementType) };
  if (ts.isTypeLiteralNode(type) && type.members.length === 1 && ts.isIndexSignatureDeclaration(type.members[0])) {
    return { kind: "map", of: shapeOf(type.members[0].type) };
  }
  if (ts.isTypeReferenceNode(type) && ts.isQualifiedName(type.typeName)) {
    const { left, right } = type.typeName;
    if ((left as ts.Identifier).text === "pulumi" && right.text === "Input" && type.typeArguments !== undefined) {
      return shapeOf(type.typeArguments[0]);
    }
    const members = interfacesOf(join(folder, "types/input.d.ts")).get(right.text);
    if ((left as ts.Identifier).text === "inputs" && members !== undefined) return { kind: "object", members };
  }
  throw new Error(`the package has a type that this check doesn't know (${ts.SyntaxKind[type.kind]})`);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const texts = { text: "a text", number: "a number", truth: "true or false" } as const;

function wrongValues(shape: Shape, value: unknown, path: string): string[] {
  switch (shape.kind) {
    case "text":
      return typeof value === "string" ? [] : [`${path} isn't ${texts.text}`];
    case "number":
      return typeof value === "number" ? [] : [`${path} isn't ${texts.number}`];
    case "truth":
      return typeof value === "boolean" ? [] : [`${path} isn't ${texts.truth}`];
    case "list":
      if (!Array.isArray(value)) return [`${path} isn't a list`];
      return value.flatMap((each, index) => wrongValues(shape.of, each, `${path}[${index}]`));
    case "map":
      if (!isRecord(value)) return [`${path} isn't an object`];
      return Object.entries(value).flatMap(([key, each]) => wrongValues(shape.of, each, `${path}.${key}`));
    case "object":
      return isRecord(value) ? wrongMembers(shape.members, value, `${path}.`) : [`${path} isn't an object`];
  }
}

function wrongMembers(members: Members, value: Record<string, unknown>, path: string): string[] {
  const missing = [...members].filter(([key, { optional }]) => !optional && value[key] === undefined);
  return [
    ...missing.map(([key]) => `${path}${key} is missing`),
    ...Object.entries(value).flatMap(([key, member]) => {
      const declared = members.get(key);
      if (declared === undefined) return [`${path}${key} isn't declared`];
      return member === undefined ? [] : wrongValues(shapeOf(declared.type), member, `${path}${key}`);
    }),
  ];
}

/**
 * Pure but for the package's files: inputs that a resource of `@pulumi/databricks` doesn't have, lacks, or has with other values.
 * @param type as `databricks:index/pipeline:Pipeline`
 */
export function wrongInputs(type: string, inputs: Record<string, unknown>): string[] {
  const members = membersOf(type, "Args");
  return members === undefined ? [`${type}: there is no such resource`] : wrongMembers(members, inputs, "");
}

/** Pure but for the package's files: which of these dotted paths a resource doesn't have, as input or output. */
export function unknownPaths(type: string, paths: readonly string[]): string[] {
  const members = membersOf(type, "State") ?? new Map();
  const isKnown = (within: Members, [head, ...rest]: string[]): boolean => {
    const declared = within.get(head);
    if (declared === undefined || rest.length === 0) return declared !== undefined;
    const shape = shapeOf(declared.type);
    return shape.kind === "object" && isKnown(shape.members, rest);
  };
  return paths.filter((path) => !isKnown(members, path.split(".")));
}

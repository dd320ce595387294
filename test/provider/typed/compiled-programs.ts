import { resolve } from "node:path";
import ts from "typescript";

const root = resolve(__dirname, "../../..");
const folder = resolve(root, "test/provider/typed/virtual");

/**
 * What the compiler says of each program, as a user's strict project has it: empty where it compiles.
 * @param files text by name, as `tables.ts`; they import each other as `./tables` and the package by its name
 */
export function compilePrograms(files: Record<string, string>): Record<string, string[]> {
  const texts = new Map(Object.entries(files).map(([name, text]) => [resolve(folder, name), text]));
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.Node16,
    moduleResolution: ts.ModuleResolutionKind.Node16,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ["node"],
    baseUrl: root,
    paths: { "pulumi-sluice": ["provider/index.ts"] },
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  const { directoryExists } = host;
  host.directoryExists = (path) => path === folder || (directoryExists?.(path) ?? true);
  host.fileExists = (path) => texts.has(path) || fileExists(path);
  host.readFile = (path) => texts.get(path) ?? readFile(path);
  host.getSourceFile = (path, version, ...rest) => {
    const text = texts.get(path);
    return text === undefined ? getSourceFile(path, version, ...rest) : ts.createSourceFile(path, text, version, true);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  const global = program.getGlobalDiagnostics().map(message);
  return Object.fromEntries(
    Object.keys(files).map((name) => {
      const file = program.getSourceFile(resolve(folder, name));
      const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      return [name, [...global, ...found.map(message)]];
    }),
  );
}

const message = ({ messageText }: ts.Diagnostic) => ts.flattenDiagnosticMessageText(messageText, "\n");

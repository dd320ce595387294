import { readFileSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { yaml } from "./protocol";

export interface Project {
  name: string;
  rootDir: string;
  /** Directory in which the program and its providers run. */
  programDir: string;
  /** File in `programDir`, or `.` for the directory itself, as the CLI passes it. */
  entry: string;
  typescript: boolean;
}

interface ProjectFile {
  name: string;
  main?: string;
  runtime: string | { name: string; options?: { typescript?: boolean } };
}

/** Reads Pulumi.yaml. Like the CLI, a `main` that is a file makes its folder the working directory. */
export function readProject(projectDir: string): Project {
  const rootDir = resolve(projectDir);
  const file = yaml.load(readFileSync(resolve(rootDir, "Pulumi.yaml"), "utf8")) as ProjectFile;
  const runtime = typeof file.runtime === "string" ? { name: file.runtime } : file.runtime;
  if (runtime.name !== "nodejs") throw new Error(`the test engine runs Node programs only, not ${runtime.name}`);
  const main = resolve(rootDir, file.main ?? ".");
  const isFolder = statSync(main).isDirectory();
  return {
    name: file.name,
    rootDir,
    programDir: isFolder ? main : dirname(main),
    entry: isFolder ? "." : basename(main),
    typescript: runtime.options?.typescript ?? true,
  };
}

import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { packagedMainPath } from "./packaged-main";

/** What the runtime loads of others; all else of our dependencies is the provider's. */
export const runtimeDependencies = [
  "@databricks/sql",
  "@duckdb/node-api",
  "@duckdb/node-bindings",
  "croner",
  "pg",
  "pg-logical-replication",
  "roaring-wasm",
  "zod",
] as const;

export const packageFile = "pulumi-sluice.tgz";

/** The app's own package: the platform installs what it names by npm. */
export const appPackage = {
  name: "sluice-app",
  private: true,
  dependencies: { "pulumi-sluice": `file:./${packageFile}` },
};

interface Manifest {
  name: string;
  version: string;
  license: string;
  dependencies: Record<string, string>;
}

/** This package as far as an app needs it: the runtime with its own dependencies, as npm installs it. The same each time. */
export async function packRuntime(mainPath: string = packagedMainPath()): Promise<Buffer> {
  const runtime = dirname(mainPath);
  const root = dirname(dirname(runtime));
  const { name, version, license, dependencies } = JSON.parse(
    readFileSync(join(root, "package.json"), "utf8"),
  ) as Manifest;
  const own = Object.fromEntries(runtimeDependencies.map((each) => [each, dependencies[each]]));
  const archive = pack();
  const add = (path: string, content: string | Buffer) =>
    archive.entry({ name: `package/${path}`, mode: 0o644, mtime: new Date(0) }, content);
  add("package.json", JSON.stringify({ name, version, license, dependencies: own }));
  for (const path of scriptsOf(runtime)) add(join("dist/runtime", relative(runtime, path)), readFileSync(path));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return gzipSync(Buffer.concat(chunks), { level: 9 });
}

/** In an order of their own. */
function scriptsOf(folder: string): string[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) return scriptsOf(path);
      return name.endsWith(".js") ? [path] : [];
    });
}

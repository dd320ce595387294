import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build } from "esbuild";

export interface Bundle {
  /** of the one file, as text */
  code: string;
  /** folders in node_modules of the packages that are in it, sorted */
  packages: string[];
}

/** Where DuckDB's binding lies: beside the bundle, with its library, which it finds by its own path. */
const bindingFile = "./duckdb.node";

/**
 * The runtime as one file that needs Node and two native files beside it: DuckDB's binding, and `index.wasm` of
 * roaring-wasm. The same sources and packages make the same bytes, wherever they lie.
 */
export async function bundleRuntime(root: string): Promise<Bundle> {
  const result = await build({
    absWorkingDir: root,
    entryPoints: ["runtime/main.ts"],
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node22",
    write: false,
    metafile: true,
    legalComments: "none",
    minifySyntax: true,
    minifyWhitespace: true,
    // Names in stack traces are those of the sources.
    keepNames: true,
    logLevel: "silent",
    // pg tries it, and does without.
    external: ["pg-native", "@databricks/sql", bindingFile],
    plugins: [
      {
        name: "duckdb-binding",
        setup(builder) {
          builder.onResolve({ filter: /^@duckdb\/node-bindings$/ }, ({ path }) => ({ path, namespace: "duckdb" }));
          builder.onLoad({ filter: /.*/, namespace: "duckdb" }, () => ({
            contents: `module.exports = require(${JSON.stringify(bindingFile)});`,
            resolveDir: root,
          }));
        },
      },
    ],
  });
  const code = result.outputFiles[0].text.replace(/^#!.*\n/, "");
  const inputs = Object.keys(result.metafile.inputs).filter((path) => path.includes("node_modules/"));
  const packages = new Set(inputs.map((path) => packageFolder(root, path)));
  packages.add("node_modules/@duckdb/node-bindings");
  return { code, packages: [...packages].sort() };
}

/** `node_modules/pg/lib/client.js` → `node_modules/pg`, also of a package below another. */
function packageFolder(root: string, path: string): string {
  const parts = relative(root, join(root, path)).split("/");
  for (let length = parts.length - 1; length > 0; length--) {
    const folder = parts.slice(0, length).join("/");
    const isPackage = /node_modules\/(@[^/]+\/)?[^/]+$/.test(folder);
    if (isPackage && existsSync(join(root, folder, "package.json"))) return folder;
  }
  throw new Error(`${path} is of no package`);
}

/** Reads JSON that the project itself wrote. */
export function readManifest<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

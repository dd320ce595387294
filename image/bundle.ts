import { existsSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { build, type Metafile, type OutputFile } from "esbuild";

export interface Bundle {
  /** of the one file, as text */
  code: string;
  /** folders in node_modules of the packages that are in it, sorted */
  packages: string[];
}

/** Where DuckDB's binding lies: beside the bundle, with its library, which it finds by its own path. */
const bindingFile = "./duckdb.node";

/** The client of warehouses, a file of its own: who writes to a folder doesn't load it. */
export const warehouseClientFile = "databricks-sql.js";

const common = {
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
} as const;

/**
 * The runtime as one file that needs Node, two native files beside it (DuckDB's binding, and `index.wasm` of roaring-wasm)
 * and, for warehouses only, their client. The same sources and packages make the same bytes, wherever they lie.
 */
export async function bundleRuntime(root: string): Promise<Bundle> {
  const result = await build({
    ...common,
    absWorkingDir: root,
    entryPoints: ["runtime/main.ts"],
    // pg tries it, and does without.
    external: ["pg-native", bindingFile],
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
      {
        name: "warehouse-client",
        setup(builder) {
          const path = `./${warehouseClientFile}`;
          builder.onResolve({ filter: /^@databricks\/sql$/ }, () => ({ path, external: true }));
        },
      },
    ],
  });
  const bundle = bundleOf(root, result);
  return { ...bundle, packages: [...bundle.packages, "node_modules/@duckdb/node-bindings"].sort() };
}

/** The client of warehouses. What it does with native packages, it does without them too: LZ4, and another way to a warehouse. */
export async function bundleWarehouseClient(root: string): Promise<Bundle> {
  const result = await build({
    ...common,
    absWorkingDir: root,
    stdin: {
      contents: 'export { DBSQLClient } from "@databricks/sql";',
      sourcefile: "warehouse-client.ts",
      loader: "ts",
      resolveDir: root,
    },
    external: ["lz4-napi", "@databricks/databricks-sql-kernel-*"],
  });
  return bundleOf(root, result);
}

function bundleOf(root: string, { outputFiles, metafile }: { outputFiles: OutputFile[]; metafile: Metafile }): Bundle {
  const inputs = Object.keys(metafile.inputs).filter((path) => path.includes("node_modules/"));
  const packages = new Set(inputs.map((path) => packageFolder(root, path)));
  return { code: outputFiles[0].text.replace(/^#!.*\n/, ""), packages: [...packages].sort() };
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

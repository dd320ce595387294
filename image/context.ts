import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { billOfMaterials, type LockedPackage } from "./bill-of-materials";
import { bundleRuntime, bundleWarehouseClient, readManifest, warehouseClientFile } from "./bundle";

/** Architectures as image names and Node name them. */
export const architectures = { amd64: "x64", arm64: "arm64" } as const;
export type Architecture = keyof typeof architectures;

interface Lock {
  packages: Record<string, LockedPackage>;
}

/**
 * What the Dockerfile copies, in `<folder>/sluice`: the bundle, its native files, the bill of materials. Times are those of
 * the epoch: the same sources make the same layers.
 */
export async function makeContext(root: string, folder: string, architecture: Architecture): Promise<void> {
  const { version } = readManifest<{ version: string }>(join(root, "package.json"));
  const lock = readManifest<Lock>(join(root, "package-lock.json")).packages;
  const target = join(folder, "sluice");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });

  const { code, packages } = await bundleRuntime(root);
  const client = await bundleWarehouseClient(root);
  const bindings = `node_modules/@duckdb/node-bindings-linux-${architectures[architecture]}`;
  const bill = billOfMaterials({
    version,
    packages: Object.fromEntries(
      [...new Set([...packages, ...client.packages, bindings])].map((name) => [name, lockedPackage(lock, name)]),
    ),
  });
  const files: Record<string, string | Buffer> = {
    "main.js": `#!/usr/local/bin/node\n${code}`,
    [warehouseClientFile]: client.code,
    "package.json": `${JSON.stringify({ name: "pulumi-sluice", version, type: "commonjs" })}\n`,
    "sbom.cdx.json": bill,
    LICENSE: readFileSync(join(root, "LICENSE")),
    "index.wasm": readFileSync(join(root, "node_modules/roaring-wasm/index.wasm")),
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(target, name), content);
  copyBindings(root, bindings, lockedPackage(lock, bindings), target);
  cpSync(join(root, "runtime", "Dockerfile"), join(folder, "Dockerfile"));
  cpSync(join(root, "image", "collect.sh"), join(folder, "collect.sh"));
  const names = [...Object.keys(files), ...bindingFiles].map((name) => join("sluice", name));
  for (const name of [...names, "sluice"]) utimesSync(join(folder, name), 0, 0);
}

const bindingFiles = ["duckdb.node", "libduckdb.so"];

/** Of another platform than this one's npm installed nothing: its package is fetched, and held against the lock file. */
function copyBindings(root: string, name: string, locked: LockedPackage, target: string): void {
  const installed = join(root, name);
  if (existsSync(installed)) {
    for (const file of bindingFiles) cpSync(join(installed, file), join(target, file));
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "sluice-bindings-"));
  try {
    const specification = `${name.slice("node_modules/".length)}@${locked.version}`;
    const packed = execFileSync("npm", ["pack", "--silent", specification], { cwd: folder, encoding: "utf8" }).trim();
    const digest = createHash("sha512")
      .update(readFileSync(join(folder, packed)))
      .digest("base64");
    if (`sha512-${digest}` !== locked.integrity) throw new Error(`${specification} isn't what package-lock.json has`);
    execFileSync("tar", ["-xzf", packed], { cwd: folder });
    for (const file of bindingFiles) cpSync(join(folder, "package", file), join(target, file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function lockedPackage(lock: Lock["packages"], name: string): LockedPackage {
  const found = lock[name];
  if (found === undefined) throw new Error(`package-lock.json lacks ${name}: run npm install`);
  return found;
}

import { existsSync } from "node:fs";
import { dirname, join } from "node:path";

/** `dist/runtime/main.js` of the nearest folder above that has one. */
export function packagedMainPath(): string {
  for (let folder = __dirname; ; folder = dirname(folder)) {
    const path = join(folder, "dist", "runtime", "main.js");
    if (existsSync(path) && existsSync(join(folder, "package.json"))) return path;
    if (dirname(folder) === folder) return join(__dirname, "..", "..", "runtime", "main.js");
  }
}

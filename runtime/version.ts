import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** The package's version, from the nearest package.json of ours above this file. */
export const version: string = findVersion(__dirname);

function findVersion(folder: string): string {
  try {
    const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
      name?: string;
      version?: string;
    };
    if (manifest.name === "pulumi-sluice" && manifest.version !== undefined) return manifest.version;
  } catch {
    // not here: look above
  }
  return dirname(folder) === folder ? "0.0.0" : findVersion(dirname(folder));
}

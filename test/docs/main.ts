import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readDeclarations } from "./declarations";
import { previewsPage } from "./previews-page";
import { recordPreviews } from "./previews-scenario";
import { regenerated, resourcePages } from "./resource-pages";

/**
 * `npm run docs`: the tables of docs/resources, from the declarations and the effects. `-- --previews`: docs/previews.md,
 * from operations on a stack of its own.
 */
const root = resolve(__dirname, "../../..");

function write(path: string, text: string): void {
  writeFileSync(join(root, path), text);
  process.stdout.write(`${path}\n`);
}

const declarations = readDeclarations(root);
for (const page of resourcePages) {
  const path = `docs/resources/${page.file}.md`;
  const before = readFileSync(join(root, path), "utf8");
  const after = regenerated(page, before, declarations);
  if (after !== before) write(path, after);
}
if (process.argv.includes("--previews")) {
  recordPreviews().then(
    (recorded) => write("docs/previews.md", previewsPage(recorded)),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exitCode = 1;
    },
  );
}

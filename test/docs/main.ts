import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { readDeclarations } from "./declarations";
import { regenerated, resourcePages } from "./resource-pages";

/** `npm run docs`: the tables of docs/resources, from the declarations and the effects. */
const root = resolve(__dirname, "../../..");
const declarations = readDeclarations(root);
for (const page of resourcePages) {
  const path = join(root, "docs/resources", `${page.file}.md`);
  const before = readFileSync(path, "utf8");
  const after = regenerated(page, before, declarations);
  if (after === before) continue;
  writeFileSync(path, after);
  process.stdout.write(`docs/resources/${page.file}.md\n`);
}

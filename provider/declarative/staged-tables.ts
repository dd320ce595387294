import { readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The part of a declarative pipeline's source that is the same for every pipeline: Python that follows the staged log
 * (`runtime/staging/staged-commit.ts`) as a streaming source, and declares tables over it. The build copies it beside this.
 */
export function stagedTablesPython(): string {
  return readFileSync(join(__dirname, "staged_tables.py"), "utf8").trimEnd();
}

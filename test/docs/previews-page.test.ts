// Contract: docs/previews.md shows each step of the scenario that it is recorded from (`npm run docs -- --previews`), in
// its order, word for word, and nothing of the machine that it was recorded on.
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { longTest } from "../support/long-test";
import { previewsPage } from "./previews-page";
import { previewSteps, recordPreviews } from "./previews-scenario";

const page = readFileSync(resolve(__dirname, "../../docs/previews.md"), "utf8");

/** A page without what the operations said. */
const skeleton = (text: string) => text.replaceAll(/^(\$ .*)\n[\s\S]*?\n```$/gm, "$1");

it("the page has the scenario's steps", () => {
  const made = previewsPage(previewSteps.map((step) => ({ ...step, lines: [] })));
  expect(skeleton(page), "run npm run build && npm run docs -- --previews").toBe(skeleton(made));
});

longTest(
  "the page has what these operations say today",
  async () => {
    expect(page, "run npm run build && npm run docs -- --previews").toBe(previewsPage(await recordPreviews()));
  },
  900_000,
);

it("the page tells every kind of cost, and nothing of the machine", () => {
  for (const words of [
    "no effect on data or processes",
    "in place; nothing restarts",
    "its process restarts",
    "while the others go on",
    "a new staging in its place",
    "a new one in its place",
  ]) {
    expect(page).toContain(words);
  }
  expect(page).not.toContain(tmpdir());
  expect(page).not.toMatch(/127\.0\.0\.1|ExperimentalWarning|\b[0-9a-f]{8}-[0-9a-f]{4}-/);
});

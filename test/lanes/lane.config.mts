import { defineConfig } from "vitest/config";

/** Tests that need more than Node and npm; their lanes see to it. */
export default defineConfig({
  test: {
    root: new URL("../..", import.meta.url).pathname,
    include: ["test/lanes/*.lane.ts"],
    globalSetup: ["test/support/test-run.ts"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: "forks",
    maxWorkers: 1,
  },
});

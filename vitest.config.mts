import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["node_modules/**", "dist/**"],
    globalSetup: ["test/support/test-run.ts"],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    teardownTimeout: 20_000,
    pool: "forks",
    maxWorkers: 3,
  },
});

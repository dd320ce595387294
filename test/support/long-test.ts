import { it } from "vitest";

/** A test of `npm run test:long`; elsewhere it is skipped, and counted so. */
export function longTest(name: string, work: () => Promise<void> | void, timeoutMs?: number): void {
  it.skipIf(process.env.SLUICE_TEST_LONG === undefined)(name, work, timeoutMs);
}

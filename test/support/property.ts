import fc from "fast-check";
import { testSeed } from "./test-seed";

const seconds = process.env.SLUICE_PROPERTY_SECONDS;

/**
 * For properties: how often one is tried, within 100 s. With `SLUICE_PROPERTY_SECONDS` it is tried for so long instead,
 * however often, to search with `SLUICE_SEED=random` (`npm run test:search`).
 */
export function propertyRuns(numRuns: number): { numRuns: number; interruptAfterTimeLimit: number } {
  if (seconds === undefined) return { numRuns, interruptAfterTimeLimit: 100_000 };
  return { numRuns: 1_000_000_000, interruptAfterTimeLimit: Number(seconds) * 1000 };
}

fc.configureGlobal({ seed: testSeed, ...propertyRuns(100) });

export default fc;

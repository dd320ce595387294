/**
 * What tests with random input begin from. The same in every run: one that fails does so again, and by the change that
 * brought it. `SLUICE_SEED=N` gives another one, `SLUICE_SEED=random` one by the clock.
 */
export const testSeed = seedOf(process.env.SLUICE_SEED);

function seedOf(given: string | undefined): number {
  if (given === "random") return Date.now() % 1_000_000;
  return Number(given ?? 20_261_129);
}

import { setTimeout as pause } from "node:timers/promises";

type Falsy = false | null | undefined | 0 | "";

/** Waits until `condition` gives something true, and returns it; fails after `timeoutMs` (default 30,000). */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<Exclude<T, Falsy>> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value as Exclude<T, Falsy>;
    if (Date.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await pause(20);
  }
}

/** `safe_wal_size` at one look. */
export interface SafeWalSample {
  atMs: number;
  /** WAL that may still be written before the slot can be invalidated */
  safeBytes: number;
}

/** Looks that a projection is made of: the last ten minutes, at most so many. */
const windowMs = 600_000;
const samplesMax = 600;
/** A shorter history projects noise: safe_wal_size moves by whole segments. */
const historyMsMin = 5_000;

/**
 * Pure: when the slot will be lost if the server goes on to write as it has in these looks, in ms from the newest; null
 * when it isn't coming nearer, or too little is known.
 */
export function projectLossMs(samples: readonly SafeWalSample[]): number | null {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return null;
  if (last.safeBytes <= 0) return 0;
  const elapsedMs = last.atMs - first.atMs;
  const consumedBytes = first.safeBytes - last.safeBytes;
  if (elapsedMs < historyMsMin || consumedBytes <= 0) return null;
  return Math.round((last.safeBytes * elapsedMs) / consumedBytes);
}

/** The newest looks at `safe_wal_size`. */
export class SlotForecast {
  private samples: SafeWalSample[] = [];

  /** @param safeBytes null where the server keeps WAL without limit: nothing can be lost then */
  add(atMs: number, safeBytes: number | null): number | null {
    if (safeBytes === null) {
      this.samples = [];
      return null;
    }
    this.samples = this.samples.filter((sample) => sample.atMs > atMs - windowMs).slice(1 - samplesMax);
    this.samples.push({ atMs, safeBytes });
    return projectLossMs(this.samples);
  }
}

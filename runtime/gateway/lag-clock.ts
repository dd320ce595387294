import type { Lsn } from "../postgres/lsn";

const samplesMax = 1_000;

/**
 * How far acknowledgement is behind the server, in time: what the server's WAL ended at is remembered at each look, so
 * that no clock but ours is asked, and an idle server, which commits nothing, isn't taken for a late gateway.
 */
export class LagClock {
  private samples: { lsn: Lsn; atMs: number }[] = [];
  private spacingMs = 0;
  /** when the server was last seen with nothing that isn't acknowledged now */
  private freshAtMs: number | null = null;

  sample(walLsn: Lsn, atMs: number): void {
    const last = this.samples.at(-1);
    if (last === undefined) this.spacingMs = 0;
    else if (atMs - last.atMs < this.spacingMs) return;
    this.samples.push({ lsn: walLsn, atMs });
    if (this.samples.length < samplesMax) return;
    // A long lag needs no more precision than a few parts in a thousand.
    this.samples = this.samples.filter((_, index) => index % 2 === 0);
    this.spacingMs = (2 * (atMs - this.samples[0].atMs)) / samplesMax;
  }

  /** At most the time since the newest look when all that was there then is acknowledged; null before the first look. */
  lagMs(acknowledgedLsn: Lsn, nowMs: number): number | null {
    while (this.samples.length > 0 && this.samples[0].lsn <= acknowledgedLsn) {
      this.freshAtMs = (this.samples.shift() as { atMs: number }).atMs;
    }
    const since = this.freshAtMs ?? this.samples[0]?.atMs;
    return since === undefined ? null : Math.max(0, nowMs - since);
  }
}

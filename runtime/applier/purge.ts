import { describeError } from "../errors";
import { log } from "../operate/log";
import { neededAfter, readAllProgress } from "../staging/applier-progress";
import type { ObjectStore } from "../staging/object-store";
import { purgeStaged } from "../staging/staging-purge";
import type { PurgeStatus } from "../status";

const purgeMs = 10_000;
/** Files of staging are measured beside all else, and for one part in so many of the time only. */
const measureMs = 60_000;
const measurePart = 50;

/** Removes what every applier of a log has said, durably, to need no more, after its retention. */
export class Purge {
  readonly status: PurgeStatus = { records: 0, files: 0, tail: null, bytes: null, heldBy: null };
  private purgeAfterMs = 0;
  private measureAfterMs = 0;
  private measuring = false;

  constructor(
    private readonly store: ObjectStore,
    private readonly logId: string,
    private readonly retentionMs: number,
  ) {}

  get isDue(): boolean {
    return performance.now() >= this.purgeAfterMs;
  }

  /** To be called once this applier's own progress is durable. Never throws. */
  async run(head: number): Promise<void> {
    try {
      const { sequence, by } = neededAfter(await readAllProgress(this.store, this.logId));
      const beforeMs = Date.now() - this.retentionMs;
      const { records, files, tail, isHeld } = await purgeStaged(this.store, {
        appliedSequence: sequence,
        head,
        beforeMs,
        tail: this.status.tail ?? 0,
      });
      this.status.records += records;
      this.status.files += files;
      this.status.tail = tail;
      this.status.heldBy = isHeld ? by : null;
    } catch (error) {
      log("warning", "purge-failed", { staging: this.store.location, error: describeError(error) });
    }
    this.purgeAfterMs = performance.now() + purgeMs;
    void this.measure();
  }

  private async measure(): Promise<void> {
    const startedMs = performance.now();
    if (this.measuring || startedMs < this.measureAfterMs) return;
    this.measuring = true;
    try {
      this.status.bytes = await this.store.usedBytes("data");
    } catch (error) {
      log("warning", "staging-unmeasured", { staging: this.store.location, error: describeError(error) });
    }
    this.measuring = false;
    this.measureAfterMs = performance.now() + Math.max(measureMs, (performance.now() - startedMs) * measurePart);
  }
}

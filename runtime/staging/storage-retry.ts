import { setTimeout as delay } from "node:timers/promises";
import { describeError } from "../errors";
import { faultOf, retryAfterMsOf, storageRetryDelayMs } from "./storage-fault";

export interface StorageRetryOptions {
  /** how long a transient fault is tried again; a full disk is waited for without end */
  retryMsMax: number;
  /** once aborted nothing is waited for longer than `stopMsMax` */
  signal: AbortSignal;
  /** default 3,000 */
  stopMsMax?: number;
  /** What is waited for has changed; null when nothing is. */
  onTrouble?: (reason: string | null) => void;
  /** Tells each trouble when it begins, now and then, and when it is over. */
  onEvent?: (level: "info" | "warning" | "error", event: string, detail: Record<string, unknown>) => void;
  random?: () => number;
}

/** However long the object store asks to wait. */
const retryAfterMsMax = 60_000;

/** Tries what the object store refuses again, and knows what is being waited for. */
export class StorageRetry {
  private readonly waiting = new Map<object, string>();

  constructor(private readonly options: StorageRetryOptions) {}

  /** Why something waits for the object store; null when nothing does. */
  get trouble(): string | null {
    return this.waiting.values().next().value ?? null;
  }

  /**
   * The action may have had its effect although it failed: it must bear being run again.
   * @throws the action's last error
   */
  async run<T>(action: () => Promise<T>): Promise<T> {
    const { retryMsMax, signal, stopMsMax = 3_000, random = Math.random } = this.options;
    const startedMs = Date.now();
    const call = {};
    try {
      for (let attempt = 1; ; attempt++) {
        try {
          return await action();
        } catch (error) {
          const fault = faultOf(error);
          const backoffMs = storageRetryDelayMs(fault, attempt, Date.now() - startedMs, retryMsMax, random());
          if (backoffMs === null) throw error;
          const delayMs = Math.min(Math.max(backoffMs, retryAfterMsOf(error)), retryAfterMsMax);
          this.note(call, attempt, fault, error, delayMs);
          if (signal.aborted && Date.now() - startedMs > stopMsMax) throw error;
          // A stop cuts the wait short once; then short waits, until its deadline.
          await (signal.aborted
            ? delay(Math.min(delayMs, 200))
            : delay(delayMs, undefined, { signal }).catch(() => {}));
        }
      }
    } finally {
      if (this.waiting.delete(call)) {
        this.options.onEvent?.("info", "staging-retry-over", { waitedMs: Date.now() - startedMs });
        this.options.onTrouble?.(this.trouble);
      }
    }
  }

  private note(call: object, attempt: number, fault: string, error: unknown, retryMs: number): void {
    const reason = describeError(error);
    if (attempt === 1 || attempt % 20 === 0) {
      const detail = { error: reason, attempt, retryMs };
      this.options.onEvent?.(fault === "full" ? "error" : "warning", `staging-${fault}`, detail);
    }
    this.waiting.set(call, reason);
    if (attempt === 1) this.options.onTrouble?.(this.trouble);
  }
}

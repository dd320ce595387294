import { isTransient, type SluiceError } from "../errors";
import { faultOf } from "../staging/storage-fault";

/** Why a table isn't applied, and when that is tried again. */
export interface TableFailure {
  error: SluiceError;
  /** failed attempts in a row */
  count: number;
  failedAtMs: number;
  retryAtMs: number;
  /** set when it is left alone but for a rare attempt: it needs somebody, or a new snapshot */
  quarantinedAtMs: number | null;
}

/** Attempts before an error that nobody foresaw counts as one that doesn't pass. */
const unforeseenMax = 3;
/** Attempts of one run at a table whose trouble may pass. */
export const runAttemptsMax = 5;
/** A quarantined table is tried again, at last every ten minutes, as somebody may have mended what was wrong. */
const quarantineRetryMs = { min: 10_000, max: 600_000 };

/**
 * Pure: what follows a failed attempt. The error's kind decides: what may pass is tried again, else quarantine, since
 * `quarantinedSinceMs`: now, or when it began.
 */
export function afterFailure(
  previous: TableFailure | null,
  error: SluiceError,
  nowMs: number,
  quarantinedSinceMs: number,
): TableFailure {
  const count = (previous?.count ?? 0) + 1;
  const mayPass =
    isTransient(error.kind) ||
    faultOf(error) !== "permanent" ||
    // Such as a library's own error, which has no kind.
    (error.kind === "internal" && count < unforeseenMax && previous?.quarantinedAtMs == null);
  if (mayPass) {
    const retryMs = Math.min(1_000 * 2 ** Math.min(count - 1, 20), 60_000);
    return { error, count, failedAtMs: nowMs, retryAtMs: nowMs + retryMs, quarantinedAtMs: null };
  }
  // The first attempt hasn't looked ahead in the log for a snapshot that makes the trouble needless.
  const { min, max } = quarantineRetryMs;
  const retryMs = previous === null ? 0 : Math.min(min * 2 ** Math.min(count - 2, 20), max);
  return { error, count, failedAtMs: nowMs, retryAtMs: nowMs + retryMs, quarantinedAtMs: quarantinedSinceMs };
}

/** Pure: how long until the next attempt; 0 also when the clock was set back behind the failure. */
export function retryDelayMs({ failedAtMs, retryAtMs }: TableFailure, nowMs: number): number {
  return nowMs < failedAtMs ? 0 : Math.max(0, retryAtMs - nowMs);
}

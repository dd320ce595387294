/**
 * What an error of the object store asks for: `full` is waited for until there is room, `transient` is tried again
 * within a deadline, `permanent` needs somebody.
 */
export type StorageFault = "full" | "transient" | "permanent";

const full = new Set(["ENOSPC", "EDQUOT"]);
const transient = new Set([
  "EIO",
  "EAGAIN",
  "EBUSY",
  "EINTR",
  "EMFILE",
  "ENFILE",
  "ENOBUFS",
  "ENOMEM",
  "ESTALE",
  "ETIMEDOUT",
  "ECONNRESET",
  "ECONNREFUSED",
  "ECONNABORTED",
  "ENOTFOUND",
  "ERR_STREAM_PREMATURE_CLOSE",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENETDOWN",
  "EPIPE",
  "EAI_AGAIN",
]);
const causesMax = 8;

/** Pure: by the system's error code, or by the HTTP status in `statusCode`, of the error or of what caused it. */
export function faultOf(error: unknown): StorageFault {
  for (const at of causesOf(error)) {
    if ("fault" in at && (at.fault === "full" || at.fault === "transient" || at.fault === "permanent")) return at.fault;
    if ("code" in at && typeof at.code === "string") {
      if (full.has(at.code)) return "full";
      if (transient.has(at.code)) return "transient";
    }
    if ("statusCode" in at && typeof at.statusCode === "number") {
      if (at.statusCode === 507) return "full";
      if (at.statusCode >= 500 || at.statusCode === 429 || at.statusCode === 408) return "transient";
    }
  }
  return "permanent";
}

/** Pure: what the object store asks to wait, in `retryAfterMs`; 0 when it says nothing. */
export function retryAfterMsOf(error: unknown): number {
  for (const at of causesOf(error)) {
    if ("retryAfterMs" in at && typeof at.retryAfterMs === "number") return at.retryAfterMs;
  }
  return 0;
}

function* causesOf(error: unknown): Generator<object> {
  let at: unknown = error;
  for (let depth = 0; depth < causesMax && typeof at === "object" && at !== null; depth++) {
    yield at;
    at = "cause" in at ? at.cause : undefined;
  }
}

const baseMs = 100;
const delayMsMax = 5_000;

/**
 * Pure: how long to wait before the next attempt, with full jitter so that several writers don't come together; null
 * when it isn't to be tried again.
 * @param attempt failed attempts so far, from 1
 * @param random from 0 to 1
 */
export function storageRetryDelayMs(
  fault: StorageFault,
  attempt: number,
  elapsedMs: number,
  retryMsMax: number,
  random: number,
): number | null {
  const ceilingMs = Math.min(baseMs * 2 ** Math.min(attempt - 1, 20), delayMsMax);
  const delayMs = Math.round(ceilingMs * (0.5 + random / 2));
  switch (fault) {
    case "permanent":
      return null;
    case "full":
      return delayMs;
    case "transient":
      return elapsedMs + delayMs <= retryMsMax ? delayMs : null;
  }
}

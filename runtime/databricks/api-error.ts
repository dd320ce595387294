import type { ErrorKind } from "../errors";

/** What Databricks' answer says of a failed request, beside its status. */
export interface ApiErrorBody {
  /** such as `ALREADY_EXISTS`; null where the answer isn't of their shape (a proxy's, a load balancer's) */
  errorCode: string | null;
  /** google.rpc.ErrorInfo's, such as `FILES_API_DIRECTORY_IS_NOT_EMPTY` */
  reason: string | null;
  message: string;
}

const messageCharactersMax = 500;

/** Pure: an answer's body, in any of the shapes that are known: JSON, `CODE: message`, HTML, nothing. */
export function parseErrorBody(status: number, text: string): ApiErrorBody {
  const shorten = (message: string) =>
    message.length > messageCharactersMax ? `${message.slice(0, messageCharactersMax)}…` : message;
  const json = parseObject(text);
  if (json !== null) {
    // OAuth's and SCIM's errors have shapes of their own.
    const code = firstText(json.error_code, json.errorCode, json.error, json.scimType);
    const message = firstText(json.message, json.error_description, json.errorSummary, json.detail);
    return { errorCode: code, reason: reasonOf(json.details), message: shorten(message ?? `HTTP ${status}`) };
  }
  const [, errorCode, plain] = /^([A-Z][A-Z_]+): (.*)/s.exec(text) ?? [];
  if (errorCode !== undefined) return { errorCode, reason: null, message: shorten(plain) };
  const html = /<(?:pre|title)>([^<]*)</i.exec(text)?.[1];
  return { errorCode: null, reason: null, message: shorten(html?.trim() || `HTTP ${status}`) };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function firstText(...values: unknown[]): string | null {
  const found = values.find((value) => typeof value === "string" && value !== "" && value !== "null");
  return typeof found === "string" ? found : null;
}

function reasonOf(details: unknown): string | null {
  if (!Array.isArray(details)) return null;
  return firstText(...details.map((detail) => (detail as { reason?: unknown } | null)?.reason));
}

/** A request that Databricks has refused. */
export class ApiError extends Error {
  constructor(
    readonly statusCode: number,
    readonly body: ApiErrorBody,
    /** what the answer asks to wait before another attempt; null where it says nothing */
    readonly retryAfterMs: number | null = null,
  ) {
    super(`${statusCode}${body.errorCode === null ? "" : ` ${body.errorCode}`}: ${body.message}`);
    this.name = "ApiError";
  }

  /** What a store above asks of it: see `faultOf`. */
  get fault(): "full" | "transient" | "permanent" {
    if (this.statusCode === 507) return "full";
    return isTransientFailure(this) ? "transient" : "permanent";
  }
}

/** The one in a chain of causes; null when there is none. */
export function apiErrorOf(error: unknown): ApiError | null {
  let at: unknown = error;
  for (let depth = 0; depth < 8 && at instanceof Error; depth++) {
    if (at instanceof ApiError) return at;
    at = at.cause;
  }
  return null;
}

const transientStatuses = new Set([408, 425, 429, 500, 502, 503, 504]);
/** Of statuses that say something else. */
const transientCodes = new Set(["ABORTED", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TEMPORARILY_UNAVAILABLE"]);
const transientSystemCodes = new Set([
  "ECONNRESET",
  "ECONNREFUSED",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENETDOWN",
  "EAI_AGAIN",
  "ENOTFOUND",
  "ERR_STREAM_PREMATURE_CLOSE",
]);

/** Pure: whether the same request may succeed later; by status and codes only. */
export function isTransientFailure(error: unknown): boolean {
  if (error instanceof ApiError) {
    return transientStatuses.has(error.statusCode) || transientCodes.has(error.body.errorCode ?? "");
  }
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && transientSystemCodes.has(code);
}

/** Pure: the kind of ours. */
export function kindOf(error: unknown): ErrorKind {
  if (!(error instanceof ApiError)) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    if (code === "ETIMEDOUT") return "timeout";
    return /^(ERR_TLS_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|EPROTO)/.test(code) ? "tls" : "unreachable";
  }
  if (isTransientFailure(error)) return "unreachable";
  switch (error.statusCode) {
    case 401:
      return "authentication";
    case 403:
      return "permission";
    case 404:
      return "missing-object";
    case 409:
      return "conflict";
    case 501:
      return "unsupported";
    default:
      return "protocol";
  }
}

/** Pure: of the header, in seconds or as a date; null when it is neither. */
export function parseRetryAfterMs(header: string | undefined, nowMs: number): number | null {
  if (header === undefined) return null;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1_000;
  const atMs = Date.parse(header);
  return Number.isNaN(atMs) ? null : Math.max(0, atMs - nowMs);
}
